"""The object store: bytes by key. A folder on one host, S3 in a cluster, memory in tests."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ObjectStore(Protocol):
    """Keys are slash-separated ASCII (see `check_key`; others raise ValueError). All methods raise
    StorageUnavailable when the store cannot be reached (bounded by the adapter's own timeouts) and
    DiskFull when it has no space.
    """

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        """Store a stream of unknown length, replacing the key; returns the bytes written.

        Durable and complete when it returns, or nothing is left under the key. `data.read(n)` may raise:
        the object is then aborted and the error passes through.
        """
        ...

    def open(self, key: str, *, offset: int = 0) -> BinaryIO:
        """Readable stream, to be closed by the caller. Raises KeyError when missing.

        offset: bytes that are left out; fewer than there are
        """
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the bytes lie as a plain local file, or None where they never do (S3, whether the key is there or not).

        Raises KeyError when the file is missing.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove; a missing key is fine."""
        ...

    def keys(self, prefix: str, *, older_than: float = 0.0) -> Iterator[str]:
        """Keys under a prefix last written more than `older_than` seconds ago. What others put there and is no key is left out."""
        ...

    def abort_stale(self, older_than: float) -> int:
        """Drop unfinished uploads (temp files, multipart uploads) older than that many seconds; returns how many."""
        ...

    def ping(self) -> None:
        """Raises StorageUnavailable unless the store answers and can be written to."""
        ...


def check_key(key: str) -> str:
    """The key itself. Raises ValueError unless it is safe as a path below a folder and as an S3 key:
    letters, digits, `._-` between slashes, no part beginning with a dot, at most 512 characters.
    """
    if not is_key(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


def is_key(name: str) -> bool:
    """See `check_key`."""
    return len(name) <= 512 and _KEY.fullmatch(name) is not None


def job_folder(job_id: str) -> str:
    """What all keys of a job's objects begin with."""
    return f"jobs/{job_id}/"


def source_key(job_id: str) -> str:
    return f"{job_folder(job_id)}source"


def brought_key(job_id: str, fence: int) -> str:
    """Of a file that an owner of the job has brought; like `result_key`, one for each owner."""
    return f"{job_folder(job_id)}source.{fence}"


def samples_key(job_id: str) -> str:
    """Of the samples of a job's known speakers."""
    return f"{job_folder(job_id)}samples"


def upload_folder(upload_id: str) -> str:
    """What the keys of an upload's parts begin with."""
    return f"uploads/{upload_id}/"


def part_key(upload_id: str, start: int, fence: int) -> str:
    """Of the part from that byte on; one for each lease, so that a late writer overwrites nothing."""
    return f"{upload_folder(upload_id)}{start}.{fence}"


def upload_of(key: str) -> str | None:
    """The upload to whose parts an object belongs; None for others."""
    folder, _, rest = key.partition("/")
    return rest.partition("/")[0] if folder == "uploads" and "/" in rest else None


def stream_folder(session_id: str) -> str:
    """What the keys of a live stream's pieces begin with."""
    return f"live/{session_id}/"


def piece_key(session_id: str, start: int, fence: int) -> str:
    """Of a live stream's bytes from that one on; one for each lease, so that a late process overwrites nothing."""
    return f"{stream_folder(session_id)}{start}.{fence}"


def stream_of(key: str) -> str | None:
    """The session of the live stream to which an object belongs; None for others."""
    folder, _, rest = key.partition("/")
    return rest.partition("/")[0] if folder == "live" and "/" in rest else None


def result_key(job_id: str, fence: int) -> str:
    """One for each owner (fencing token): a late one overwrites nothing."""
    return f"{job_folder(job_id)}result.{fence}.json"


REVISION = "revision."
"""What the names of edited transcripts begin with, in the folder of their job."""


def revision_key(job_id: str, number: int) -> str:
    """Another one each time: of two who edit at once, one overwrites nothing."""
    return f"{job_folder(job_id)}{REVISION}{number}.{secrets.token_hex(8)}.json"


RENDITION = "audio."
"""What the names of a job's audio in other forms begin with, in its folder."""


def rendition_key(job_id: str, sha256: str, size: int, form: str) -> str:
    """A source in another form. Its size is in its name: a store does not tell it."""
    return f"{rendition_prefix(job_id, sha256)}{size}.{form}"


def rendition_prefix(job_id: str, sha256: str) -> str:
    """What the keys of one source's forms begin with."""
    return f"{job_folder(job_id)}{RENDITION}{sha256[:16]}."


CHECKPOINT = "checkpoint."
"""What the names of unfinished work begin with that the job's next owner goes on from."""


def checkpoint_prefix(job_id: str, identity: str) -> str:
    """identity: of the stage's task, so that nothing is taken over from another version."""
    return f"{job_folder(job_id)}{CHECKPOINT}{identity[:16]}."


def job_of(key: str) -> str | None:
    """The job in whose folder an object lies; None for what belongs to no job."""
    folder, _, rest = key.partition("/")
    return rest.partition("/")[0] if folder == "jobs" and "/" in rest else None
