"""Getting the bytes of one model file: a `.part` file that can be resumed, and one HTTP source for it."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import queue
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self
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
CONNECT_SECONDS = 3.0
"""After so long without a byte a source that does not answer is given up: there are others."""
_BLOCK = 1 << 18
_POLL = 0.1


class _NotNow(Exception):
    """The server is there, but has too much to do."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a fetch may go on.

    deadline: `time.monotonic()` at which to give up
    """

    deadline: float
    cancel: Cancel | None = None

    def check(self) -> None:
        """Raises Cancelled, ModelUnavailable (deadline)."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("The download was cancelled.")
        if time.monotonic() > self.deadline:
            raise ModelUnavailable("the download took too long")

    def pause(self, seconds: float) -> None:
        """Wait before another try. Raises as `check`."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
            self.check()


class PartFile:
    """An unfinished download, hashed as it grows. Also the writer that a mirror copies into.

    total: bytes expected (None = unknown): one byte more raises ModelInvalid
    progress: called with the bytes here and in all
    """

    def __init__(self, path: Path, *, total: int | None, patience: Patience, progress: Progress | None) -> None:
        self.path = path
        self.total = total
        self.patience = patience
        self.progress = progress
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise disk_error(error, path) from error
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
        self.patience.check()
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
            raise disk_error(error, self.path) from error
        self._hash.update(data)
        self.size += len(data)
        if self.progress is not None:
            self.progress(self.size, self.total)
        return len(data)

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
            raise disk_error(error, target) from error


class Writer(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> int: ...


class WholeCopy:
    """Writes a part from its beginning, for sources without ranges. What lay in it goes only when bytes come."""

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._begun = False

    def begin(self) -> None:
        if not self._begun:
            self._part.restart()
            self._begun = True

    def write(self, data: bytes) -> int:
        self.begin()
        return self._part.write(data)


def fetch_url(client: httpx.Client, url: str, part: PartFile, *, pauses: Sequence[float] = PAUSES) -> None:
    """Bring `part` up to the end of what `url` serves, resuming after broken connections.

    pauses: see PAUSES. A source that has brought nothing yet, and does not say that it is busy either, gets no try that
        would begin later than CONNECT_SECONDS

    Raises ModelUnavailable (unreachable, an error status, broken off, too slow), ModelInvalid, DiskFull, Cancelled.
    """
    import httpx

    fruitless, anew, answers = 0, False, False
    silent_until = time.monotonic() + CONNECT_SECONDS
    while True:
        before = part.size
        try:
            _connect(url, part.patience, CONNECT_SECONDS if answers else silent_until - time.monotonic())
            if _fetch_once(client, url, part):
                return
            reason, answers = f"it ended after {part.size} bytes", True
        except httpx.TimeoutException:
            reason = "nothing came in time"
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ModelUnavailable(str(error)) from error
        except _NotNow as error:
            reason, answers = str(error), True
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        except OSError as error:  # of _connect: the part's own are told apart already
            reason = f"no connection: {error.strerror or error}"
        answers = answers or part.size > before
        if part.size < before and not anew:  # what lay here did not fit: the source has not had its try yet
            anew = True
            continue
        fruitless = 0 if part.size > before else fruitless + 1
        if fruitless > len(pauses):
            raise ModelUnavailable(reason)
        pause = pauses[fruitless - 1] if fruitless else 0.0
        if not answers and time.monotonic() + pause >= silent_until:
            raise ModelUnavailable(reason)
        log.info("Download of %s stopped at %d bytes (%s), trying again in %.0f s", part.path.name, part.size, reason, pause)
        part.patience.pause(pause)


def _connect(url: str, patience: Patience, seconds: float) -> None:
    """Find out whether the server of an address, or the proxy before it, can be connected at all.

    In a thread of its own: neither the resolver nor the way through all addresses of a name has a time limit otherwise.

    Raises OSError when there is no connection within `seconds`; Cancelled, ModelUnavailable (deadline).
    """
    if (server := _server(url)) is None:
        return
    outcome: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

    def probe() -> None:
        try:
            socket.create_connection(server, timeout=seconds).close()
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    end = time.monotonic() + seconds
    threading.Thread(target=probe, name="connect", daemon=True).start()
    while (left := end - time.monotonic()) > 0:
        patience.check()
        try:
            error = outcome.get(timeout=min(left, _POLL))
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return
    raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s")


def _server(url: str) -> tuple[str, int] | None:
    """Host and port that a request for `url` connects to; None when that is for httpx to say."""
    try:
        parts = urlsplit(url)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy and not urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = parts.port or {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


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


def disk_error(error: OSError, path: Path) -> DiskFull | ModelUnavailable:
    """What a failure to write `path` is to us."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"There is no space left for the model file {path}.", path=str(path))
    return ModelUnavailable(f"the model file {path} cannot be written: {error.strerror}")
