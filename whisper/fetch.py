"""Getting the bytes of one model file: a `.part` file that can be resumed, and one HTTP source for it."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable
from whisper.types import Cancel

if TYPE_CHECKING:  # 15 MB, in processes that hardly ever fetch anything
    import httpx

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes here so far and the bytes in all (None = unknown)."""

LARGEST_MODEL = 8 << 30
"""Bytes. More than twice the largest published model: beyond this an unpinned answer is not a model."""

MAGIC = b"lmgg"
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try of a source that brought no new byte; after the last it is given up."""
_BLOCK = 1 << 18
_POLL = 0.1


class _NotNow(Exception):
    """The server is there, but has too much to do."""


class PartFile:
    """An unfinished download, hashed as it grows. Also the writer that a mirror copies into.

    total: bytes expected (None = unknown): one byte more raises ModelInvalid
    deadline: `time.monotonic()` at which to give up
    """

    def __init__(
        self, path: Path, *, total: int | None, deadline: float, progress: Progress | None, cancel: Cancel | None
    ) -> None:
        self.path = path
        self.total = total
        self.deadline = deadline
        self._progress = progress
        self._cancel = cancel
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise _disk_error(error, path) from error
        self.size = 0
        self._hash = hashlib.sha256()
        here = os.fstat(self._file.fileno()).st_size
        if here > (LARGEST_MODEL if total is None else total):
            self.restart()
            here = 0
        self._file.seek(0)
        while self.size < here and (block := self._file.read(_BLOCK)):
            self._hash.update(block)
            self.size += len(block)
        self.resumed = self.size > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def restart(self) -> None:
        """Forget what is there."""
        if os.fstat(self._file.fileno()).st_size:
            self._file.truncate(0)
        self._hash = hashlib.sha256()
        self.size = 0
        self.resumed = False

    def write(self, data: bytes) -> int:
        """Append. Raises ModelInvalid (not a model, too long), DiskFull, Cancelled, ModelUnavailable (deadline)."""
        self._check()
        if self.size == 0 and not data.startswith(MAGIC[: len(data)]):
            page = data.lstrip()[:1] == b"<"
            raise ModelInvalid("the answer is a web page, not a model" if page else "the answer is not a ggml model")
        if self.size + len(data) > (LARGEST_MODEL if self.total is None else self.total):
            raise ModelInvalid("the answer is longer than the model")
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise _disk_error(error, self.path) from error
        self._hash.update(data)
        self.size += len(data)
        if self._progress is not None:
            self._progress(self.size, self.total)
        return len(data)

    def pause(self, seconds: float) -> None:
        """Wait before another try. Raises Cancelled, ModelUnavailable (deadline)."""
        end = time.monotonic() + seconds
        self._check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
            self._check()

    def _check(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("The download was cancelled.")
        if time.monotonic() > self.deadline:
            raise ModelUnavailable("the download took too long")

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def commit(self, target: Path) -> None:
        """Give the complete file its final name, durably."""
        try:
            os.fsync(self._file.fileno())
            os.replace(self.path, target)
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _disk_error(error, target) from error


def fetch_url(client: httpx.Client, url: str, part: PartFile, *, pauses: Sequence[float] = PAUSES) -> None:
    """Bring `part` up to the end of what `url` serves, resuming after broken connections.

    pauses: see PAUSES

    Raises ModelUnavailable (unreachable, an error status, broken off, too slow), ModelInvalid, DiskFull, Cancelled.
    """
    import httpx

    fruitless, anew = 0, False
    while True:
        before = part.size
        try:
            if _fetch_once(client, url, part):
                return
            reason = f"it ended after {part.size} bytes"
        except httpx.TimeoutException:
            reason = "nothing came in time"
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ModelUnavailable(str(error)) from error
        except (httpx.HTTPError, _NotNow) as error:
            reason = str(error) or type(error).__name__
        if part.size < before and not anew:  # what lay here did not fit: the source has not had its try yet
            anew = True
            continue
        fruitless = 0 if part.size > before else fruitless + 1
        if fruitless > len(pauses):
            raise ModelUnavailable(reason)
        pause = pauses[fruitless - 1] if fruitless else 0.0
        log.info("Download of %s stopped at %d bytes (%s), trying again in %.0f s", part.path.name, part.size, reason, pause)
        part.pause(pause)


def _fetch_once(client: httpx.Client, url: str, part: PartFile) -> bool:
    """One request; True when the file is complete. Raises _NotNow too."""
    if part.total is not None and part.size == part.total:
        return True
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:  # what lies here is not the beginning of what is served
            part.restart()
            return False
        if response.status_code not in (200, 206):
            answer = f"the server answered {response.status_code} {response.reason_phrase}"
            raise _NotNow(answer) if response.status_code == 429 or response.status_code >= 500 else ModelUnavailable(answer)
        if "text/html" in response.headers.get("content-type", ""):
            raise ModelInvalid("the answer is a web page, not a model")
        if response.status_code == 206:
            served = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", ""))
            if served is None or int(served[1]) != part.size:
                part.restart()
                return False
            total = None if served[2] == "*" else int(served[2])
        else:
            part.restart()
            length = response.headers.get("content-length", "")
            total = int(length) if length.isdigit() else None
        if total is not None and part.total is not None and total != part.total:
            raise ModelInvalid(f"the file there has {total} bytes instead of {part.total}")
        part.total = total if part.total is None else part.total
        for block in response.iter_raw():
            part.write(block)
    return part.total is None or part.size == part.total


def shown(url: str) -> str:
    """The address without user, password and query, fit for logs and messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _disk_error(error: OSError, path: Path) -> DiskFull | ModelUnavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"There is no space left for the model file {path}.", path=str(path))
    return ModelUnavailable(f"the model file {path} cannot be written: {error.strerror}")
