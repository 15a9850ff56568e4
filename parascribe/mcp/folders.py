"""The files that an assistant may name: those in folders that the user has allowed, and no others."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from parascribe.mcp.refusals import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait for who writes into it


class Folders:
    """Allowed folders. Raises NotADirectoryError for what is none, and ValueError for the root of the file system."""

    def __init__(self, given: Sequence[Path]) -> None:
        for folder in given:
            if not folder.is_dir():
                raise NotADirectoryError(f"{folder} is no folder")
        self.roots = tuple(dict.fromkeys(folder.resolve() for folder in given))
        if Path("/") in self.roots:
            raise ValueError("/ would allow every file of this machine; name folders with recordings")

    @contextlib.contextmanager
    def opened(self, given: str) -> Iterator[BinaryIO]:
        """A file in one of them; a relative path is looked for in each, in their order.

        Symbolic links count as what they lead to. Raises Refused (`path_outside`, `unreadable`).
        """
        try:
            file = self._open(os.path.expanduser(given))
        except OSError as error:
            raise Refused("unreadable", f"{given}: {error.strerror}") from None
        except ValueError:  # a NUL in it
            raise Refused("unreadable", f"{given!r} cannot be a path") from None
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused("unreadable", f"{given} is no file")
            yield file

    def _open(self, path: str) -> BinaryIO:
        fault: OSError | None = None
        for folder in self.roots:
            real = Path(os.path.realpath(folder / path))
            for root in self.roots:
                if real.is_relative_to(root):
                    try:
                        return _inside(root, real.relative_to(root))
                    except OSError as error:
                        fault = fault or error
        if fault:
            raise fault
        allowed = ", ".join(map(str, self.roots))
        raise Refused("path_outside", f"{path} is not in a folder that may be read from: {allowed}")


def _inside(root: Path, path: Path) -> BinaryIO:
    """The file at a path without links, step by step: what is put in its way meanwhile leads nowhere else."""
    folder = os.open(root, _FOLDER)
    try:
        for part in path.parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.fdopen(os.open(path.name or ".", _FILE, dir_fd=folder), "rb")
    finally:
        os.close(folder)
