"""Room on a SQLite database's disk that is kept for what makes room: a full disk must not stop a deletion.

A transaction writes to the write-ahead log before anything is freed, so with no byte left nothing could be deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

SIZE = 4 << 20
"""Bytes: the log's own size between two checkpoints (SQLite's wal_autocheckpoint, 1000 pages)."""


class Reserve:
    """A file of SIZE bytes beside the database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-reserve")

    def keep(self) -> None:
        """Make the file unless it is there; not when that would fill the disk. Never raises."""
        with contextlib.suppress(OSError):
            if (self._path.exists() and self._path.stat().st_size == SIZE) or shutil.disk_usage(
                self._path.parent
            ).free < 2 * SIZE:
                return
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, SIZE)

    def release(self) -> bool:
        """Give the room back to the disk; False if there is none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
