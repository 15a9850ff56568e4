"""The job slots of a consumer, and the rule that keeps one of them for short jobs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from core.jobs.job import SHORT_SECONDS, Claim

CHOICE_SECONDS = 2.0
"""A choice takes milliseconds, or as long as the database is busy: then it is no use to hurry."""

TAKEN_SECONDS = 0.05
"""A slot that is still locked after so long has a job; somebody who only looks has gone by then."""

_LONG = b"L"


class Slots:
    """Up to `count` jobs at once, over all pools of a consumer: while the broker is away there are two.

    A slot is a file in `folder`, locked by the process that has a job in it; the lock is the kernel's and dies with its
    holder. A two-minute file must not wait for ten-hour ones: when all other slots hold long jobs, the last one takes
    short jobs only. With one slot there is nothing to keep.
    """

    def __init__(self, count: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.count = count
        self._files = [folder / str(index) for index in range(count)]
        self._choice = folder / "choice"
        self._held: dict[int, int] = {}

    def claim(self, index: int, take: Callable[[bool], Claim | None]) -> Claim | None:
        """Call `take(short_only)` while no other slot is choosing; None also while the slot has a job.

        One that was stopped (SIGSTOP) while it chose is not waited for longer than CHOICE_SECONDS: a slot for short jobs
        is a kindness, an empty queue is not.
        """
        choice = _opened(self._choice)
        slot = _opened(self._files[index])
        try:
            _lock(choice, seconds=CHOICE_SECONDS)
            if not _lock(slot, seconds=TAKEN_SECONDS):
                return None
            others = [self._is_long(other) for other in range(self.count) if other != index]
            claim = take(bool(others) and all(others))
            if claim is not None:
                self._held[index], slot = slot, -1
                self._note(index, long=not claim.job.short)
            return claim
        finally:
            for fd in (choice, slot):
                if fd >= 0:
                    os.close(fd)

    def is_free(self, index: int) -> bool:
        """Whether the slot has no job: true too while a process looks for one."""
        fd = _opened(self._files[index])
        try:
            return _locked(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def known(self, index: int, duration: float) -> None:
        """The length of the job in this process's slot turned out to be so many seconds."""
        self._note(index, long=duration >= SHORT_SECONDS)

    def free(self, index: int) -> None:
        """The job in this process's slot has ended."""
        if (fd := self._held.pop(index, None)) is not None:
            os.close(fd)

    def _note(self, index: int, *, long: bool) -> None:
        os.pwrite(self._held[index], _LONG if long else b"S", 0)

    def _is_long(self, index: int) -> bool:
        return not self.is_free(index) and self._files[index].read_bytes() == _LONG


def _opened(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)


def _lock(fd: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (locked := _locked(fd, fcntl.LOCK_EX)) and time.monotonic() < deadline:
        time.sleep(0.002)
    return locked


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
