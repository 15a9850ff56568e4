"""An upload as a local file: what ffmpeg reads from, and what goes wrong with disks on the way."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.errors import SourceMissing
from core.system.cancel import Cancel, raise_if_cancelled


def write_all(out: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:  # a raw file may take less than it is given when the disk fills up
        view = view[out.write(view) :]


@contextmanager
def regular_file(source: BinaryIO | Path, folder: Path, cancel: Cancel | None) -> Iterator[BinaryIO]:
    """The source as a seekable local file, at its start."""
    if isinstance(source, Path):
        try:
            file = source.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise SourceMissing from error
        with file:
            yield file
    elif _is_regular(source):
        os.lseek(source.fileno(), 0, os.SEEK_SET)  # a buffered reader that sniffed is ahead of its own position
        yield source
    else:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as copy:
            while data := source.read(1024 * 1024):
                raise_if_cancelled(cancel)
                write_all(copy, data)
            copy.seek(0)
            yield copy


def _is_regular(source: BinaryIO) -> bool:
    """Whether the stream is a plain local file (a network response has a descriptor too: its socket)."""
    try:
        return stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return False
