"""The job slots of a consumer, and the rule that keeps one of them for short jobs."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

from core.jobs import SHORT_SECONDS, Claim

CHOICE_SECONDS = 2.0
"""A choice takes milliseconds, or as long as the database is busy: then it is no use to hurry."""

_FREE, _SHORT, _LONG = 0, 1, 2


class Slots:
    """Made before the job processes are forked, which share it.

    A two-minute file must not wait for ten-hour ones: when all other slots hold long jobs, the last one
    takes short jobs only. With one slot there is nothing to keep.
    """

    def __init__(self, count: int, lock_file: Path) -> None:
        self._kinds = multiprocessing.RawArray("b", count)
        self._lock_file = lock_file

    @property
    def count(self) -> int:
        return len(self._kinds)

    def claim(self, index: int, take: Callable[[bool], Claim | None]) -> Claim | None:
        """Call `take(short_only)` while no other slot is choosing. The lock is the kernel's: it dies with its holder.

        One that was stopped (SIGSTOP) while it chose is not waited for longer than CHOICE_SECONDS: a slot for short jobs
        is a kindness, an empty queue is not.
        """
        fd = os.open(self._lock_file, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            deadline = time.monotonic() + CHOICE_SECONDS
            while not _locked(fd) and time.monotonic() < deadline:
                time.sleep(0.002)
            others = [kind for i, kind in enumerate(self._kinds) if i != index]
            claim = take(bool(others) and all(kind == _LONG for kind in others))
            self._kinds[index] = _FREE if claim is None else _SHORT if claim.job.short else _LONG
            return claim
        finally:
            os.close(fd)

    def is_free(self, index: int) -> bool:
        """Whether the slot has no job: true too while its process looks for one."""
        return bool(self._kinds[index] == _FREE)

    def known(self, index: int, duration: float) -> None:
        """The job's length turned out to be so many seconds."""
        self._kinds[index] = _SHORT if duration < SHORT_SECONDS else _LONG

    def free(self, index: int) -> None:
        self._kinds[index] = _FREE


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
