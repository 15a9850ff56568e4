"""Work folders of running jobs, and what killed processes leave of them.

Each run has a folder of its own, named by job and fence: an owner that was frozen past its lease and
wakes up must not tear down the folder of its successor. While it lives it holds a lock on it, which
the kernel drops with the process; so anybody can tell a dead folder from a live one, across
containers too, and without a clock. The lock is on the directory itself: a process killed at any
moment, while it makes or removes the folder too, leaves nothing that a sweep would not take for dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from core.jobs.job import ID_PATTERN

# nothing looser: WORK_DIR may be a folder that others use too, and what nobody holds a lock on is removed
_NAME = re.compile(rf"(?:local-)?{ID_PATTERN}\.[0-9]+")


@contextlib.contextmanager
def work_folder(work: Path, job_id: str, fence: int) -> Iterator[Path]:
    """A fresh folder for one run, removed at the end.

    job_id: a UUID, perhaps behind `local-`; `remove_dead` would not know another folder for one of ours
    Raises OSError.
    """
    folder = work / f"{job_id}.{fence}"
    lock = _make(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_dead(work: Path) -> int:
    """Remove the folders of runs (`<job id>.<fence>`) whose process has died; returns how many. Others are left alone."""
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for folder in work.iterdir():
            if _NAME.fullmatch(folder.name):
                removed += _remove_if_dead(folder)
    return removed


def _make(folder: Path) -> int:
    """The folder and a lock on it; made anew as long as a sweep takes it away before it is locked."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(lock), folder.stat()):
                    return lock
            except OSError:
                os.close(lock)
                raise
            os.close(lock)


def _remove_if_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False  # removed by somebody else
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock), folder.stat()):
            return False  # another sweep took what was opened here, and the path is somebody's new folder
    except OSError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
