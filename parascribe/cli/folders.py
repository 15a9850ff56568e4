"""Media files in folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

MEDIA = frozenset(
    "3gp aac ac3 aif aiff amr asf avi caf flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpeg mpg mts mxf oga ogg ogv "
    "opus ts vob wav webm wma wmv".split()
)
"""Extensions that are sent of a folder's files; what else there is has to be named itself."""


def media_in(given: Sequence[Path], *, recursive: bool) -> Iterator[Path]:
    """The files to send: those that are named, and those of the folders, in order and each once."""
    seen = set()
    for path in given:
        inside = (file for file, _ in files_in(path, recursive=recursive)) if path.is_dir() else (path,)
        for file in inside:
            if (real := file.absolute()) not in seen:
                seen.add(real)
                yield file


def files_in(
    folder: Path, *, recursive: bool, on_error: Callable[[OSError], None] | None = None
) -> Iterator[tuple[Path, os.stat_result]]:
    """The media files of a folder in order, without hidden ones and what is in hidden folders.

    on_error: told of folders that cannot be read
    """
    for place, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(names):
            if name.startswith(".") or Path(name).suffix.lower().removeprefix(".") not in MEDIA:
                continue
            file = Path(place, name)
            try:
                found = file.stat()
            except OSError:  # a link into nowhere, or gone meanwhile
                continue
            if stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its writer
                yield file, found
