"""Media to be transcribed: files, pipes and stdin, each as a file that can be read as often as need be."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import typer

STDIN = Path("-")
_STDIN_NAMES = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")

OnBytes = Callable[[int, int], None]
"""Called with (bytes read, bytes in all) while a file is read."""


class FileChanged(OSError):
    """The file was written to while it was read."""

    def __str__(self) -> str:
        return "it changed while it was read: is it still being written?"


class Steady:
    """Reads a file that shall stay as it was when this was made. `read` raises FileChanged before it has given the last byte."""

    def __init__(self, file: BinaryIO, on_bytes: OnBytes | None = None) -> None:
        self._file, self._on_bytes = file, on_bytes
        self._before = os.fstat(file.fileno())

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self._before.st_size

    def fileno(self) -> int:
        """By which httpx asks for the size."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        left = self._before.st_size - self._file.tell()
        data = self._file.read(left if size < 0 else min(size, left))
        if len(data) == left or not data:
            now = os.fstat(self.fileno())
            if len(data) < left or (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
                raise FileChanged
        if self._on_bytes:
            self._on_bytes(self._file.tell(), self._before.st_size)
        return data


def media_file(given: str) -> Path:
    """A FILE of the command line: `-` (STDIN), a file or a pipe that can be read. Raises typer.BadParameter."""
    if given in _STDIN_NAMES:
        if sys.stdin is None or sys.stdin.isatty():
            raise typer.BadParameter("stdin is a terminal: give it the audio by a pipe, or by < FILE")
        return STDIN
    path = Path(given)
    path = path.absolute() if path == STDIN else path  # `./-`
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise typer.BadParameter(f"{path} is a directory")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise typer.BadParameter(f"{path} is a device: neither a file nor a pipe")
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"{path} may not be read by you")
    return path


def called(file: Path) -> Path:
    """What the file counts as where a name is wanted: what comes out of a descriptor is at home in the current folder."""
    if file == STDIN:
        return Path("stdin")
    return Path(file.name) if file.is_relative_to("/dev") or file.is_relative_to("/proc") else file


@contextlib.contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The file from its beginning, able to seek: what cannot is copied to TMPDIR first, until its end. Raises OSError."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(os.fdopen(0, "rb", closefd=False) if file == STDIN else file.open("rb"))
        if source.seekable() and source.tell() == 0:
            yield source
            return
        import tempfile

        copy = stack.enter_context(tempfile.TemporaryFile())
        while data := source.read(1 << 20):
            try:
                copy.write(data)
                copy.flush()
            except OSError as error:
                raise OSError(
                    error.errno, f"no room for a copy in {tempfile.gettempdir()} (TMPDIR): {error.strerror}"
                ) from error
        copy.seek(0)
        yield copy


def fault(error: OSError) -> dict[str, str]:
    """Why a file was not taken: a code of `parascribe.client.errors.CODES`, and words."""
    return {"code": "file_changed" if isinstance(error, FileChanged) else "unreadable", "message": str(error)}
