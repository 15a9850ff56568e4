"""Many transcripts as one zip file, made while it is sent: no more than one of them is in memory.

A file is compressed whole (`zipfile.ZipFile.writestr`) into a sink that cannot seek, so that its size follows its content
(APPNOTE.TXT 4.4.4, bit 3). What stays is the list of names that a zip file ends with.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from core.errors import ServiceError, TransientError
from core.jobs.job import Job, JobStatus

ERRORS = "errors.json"
"""What in the archive names the files without a transcript, and why; only if there are any."""

BLOCK_BYTES = 64 * 1024

STEM_BYTES = 200

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def archive(jobs: Iterable[Job], render: Callable[[Job], str], name: Callable[[Job], str]) -> Iterator[bytes]:
    """The bytes of the archive.

    render: a job's transcript; what it raises is an entry in ERRORS, unless it may pass: then the archive breaks off
    name: what the transcript of a job is to be called, if that is still free and safe
    """
    sink, names, errors = _Sink(), Names(ERRORS), list[dict[str, Any]]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as made:
        for job in jobs:
            try:
                text = _text(job, render)
            except TransientError:
                raise
            except ServiceError as error:
                said = {"job": job.id, "filename": job.source.filename, "status": job.status}
                errors.append(said | {"code": error.code, "message": error.message})
                continue
            made.writestr(_entry(names.take(name(job)), job.finished_at), text)
            if sink.size >= BLOCK_BYTES:
                yield sink.taken()
        if errors:
            made.writestr(_entry(ERRORS, None), json.dumps(errors, ensure_ascii=False, indent=1))
    yield sink.taken()


def _without(code: str, message: str) -> ServiceError:
    """Why a job has no transcript."""
    error = ServiceError(message)
    error.code = code  # type: ignore[misc]
    return error


def _text(job: Job, render: Callable[[Job], str]) -> bytes:
    if job.error is not None:
        raise _without(job.error.code, job.error.message)
    if job.status is JobStatus.CANCELLED:
        raise _without("cancelled", "The job was cancelled.")
    try:
        return render(job).encode()
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ServiceError("The stored result cannot be read.") from error


def _entry(name: str, when: datetime | None) -> zipfile.ZipInfo:
    # seconds of the day in UTC; the format knows no zone
    entry = zipfile.ZipInfo(name, (when or datetime.now(UTC)).timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


class Names:
    """Names of files, each once, that every system takes: also those that do not tell `A` from `a`."""

    def __init__(self, *taken: str) -> None:
        self._next = {self._key(name): 2 for name in taken}

    def take(self, wanted: str) -> str:
        """The name, which has an extension, or one like it: `talk (2).srt`."""
        stem, dot, extension = unicodedata.normalize("NFC", _UNSAFE.sub("_", wanted)).rpartition(".")
        # room for a number, within the 255 bytes that names may have
        stem = stem.encode()[:STEM_BYTES].decode(errors="ignore").rstrip(". ") or "file"
        name = f"{'_' if _DEVICE.fullmatch(stem) else ''}{stem}{dot}{extension}"
        tried, key = name, self._key(name)
        while self._key(tried) in self._next:
            number = self._next[key]
            self._next[key] = number + 1
            tried = f"{name.removesuffix(dot + extension)} ({number}){dot}{extension}"
        self._next[self._key(tried)] = 2
        return tried

    @staticmethod
    def _key(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()


class _Sink(io.RawIOBase):
    """Takes what is written, and gives it away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._parts.append(block)
        self.size += len(block)
        return len(block)

    def taken(self) -> bytes:
        parts, self._parts, self.size = self._parts, [], 0
        return b"".join(parts)
