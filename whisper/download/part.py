"""The bytes of a model on their way: an unfinished file that can be resumed, and how long it may take."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from core.errors import Cancelled, DiskFull, ModelInvalid, ModelUnavailable
from core.system.cancel import Cancel
from core.system.disk import is_full
from whisper.models.ggml import MAGIC

Progress = Callable[[int, int | None], None]
"""Called with the bytes here so far and the bytes in all (None = unknown)."""

LARGEST_MODEL = 8 << 30
"""Bytes. More than twice the largest published model: beyond this an unpinned answer is not a model."""

_BEGINNING = MAGIC.to_bytes(4, "little")
_BLOCK = 1 << 18
_POLL = 0.1


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
        if self.size == 0 and not data.startswith(_BEGINNING[: len(data)]):
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


def disk_error(error: OSError, path: Path) -> DiskFull | ModelUnavailable:
    """What a failure to write `path` is to us."""
    if is_full(error):
        return DiskFull(f"There is no space left for the model file {path}.", path=str(path))
    return ModelUnavailable(f"the model file {path} cannot be written: {error.strerror}")
