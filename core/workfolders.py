"""Work folders of running jobs, and what killed processes leave of them.

Each run has a folder of its own, named by job and fence: an owner that was frozen past its lease and
wakes up must not tear down the folder of its successor. While it lives it holds a lock in it, which
the kernel drops with the process; so anybody can tell a dead folder from a live one, across
containers too, and without a clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"
_NAME = re.compile(r"[A-Za-z0-9_-]+\.\d+")


@contextlib.contextmanager
def work_folder(work: Path, job_id: str, fence: int) -> Iterator[Path]:
    """A fresh folder for one run, removed at the end. Raises OSError."""
    folder = work / f"{job_id}.{fence}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = os.open(folder / f"{_LOCK}.new", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{_LOCK}.new").rename(folder / _LOCK)  # nobody sees a lock that is not held yet
            yield folder
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_dead(work: Path) -> int:
    """Remove the folders whose process has died; returns how many."""
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for folder in work.iterdir():
            if _NAME.fullmatch(folder.name) and _dead(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def _dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False  # just being made, or removed by somebody else
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)
