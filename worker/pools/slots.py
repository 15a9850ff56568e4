"""The job slots of a consumer: one is kept for short jobs, and one is there for interactive jobs alone."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from core.jobs.job import SHORT_SECONDS, Claim
from core.jobs.turns import Only

CHOICE_SECONDS = 2.0
"""A choice takes milliseconds, or as long as the database is busy: then it is no use to hurry."""

TAKEN_SECONDS = 0.05
"""A slot that is still locked after so long has a job; somebody who only looks has gone by then."""

_LONG, _SHORT, _EXTRA = b"L", b"S", b"X"

Take = Callable[[Only], Claim | None]


class Slots:
    """Up to `count` jobs at once, and one interactive job more, over all pools of a consumer: there may be several.

    A slot is a file in `folder`, locked by the process that has a job in it; the lock is the kernel's and dies with its
    holder. There are count + 1. While `count` of them hold jobs, the one left takes interactive jobs only, so that somebody
    who waits does not wait for bulk work to end; such a job does not count among the others.
    A two-minute file must not wait for ten-hour ones either: when all others of the `count` hold long jobs, the last one
    takes short jobs only. With one slot there is nothing to keep.
    """

    def __init__(self, count: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.count = count
        self._files = [folder / str(index) for index in range(count + 1)]
        self._choice = folder / "choice"
        self._held: dict[int, int] = {}

    def claim(self, index: int, take: Take, *, extra: bool = False) -> Claim | None:
        """Call `take` while no other slot is choosing; None also while the slot has a job.

        extra: this slot is there for the one interactive job more, whatever the others do
        One that was stopped (SIGSTOP) while it chose is not waited for longer than CHOICE_SECONDS: a slot for short jobs
        is a kindness, an empty queue is not.
        """
        choice = _opened(self._choice)
        slot = _opened(self._files[index])
        try:
            _lock(choice, seconds=CHOICE_SECONDS)
            if not _lock(slot, seconds=TAKEN_SECONDS):
                return None
            for only in self._kinds([self._note_of(other) for other in range(self.count + 1) if other != index], extra):
                if (claim := take(only)) is not None:
                    self._held[index], slot = slot, -1
                    kind = _SHORT if claim.job.short else _LONG
                    self._note(index, _EXTRA if only is Only.INTERACTIVE else kind)
                    return claim
            return None
        finally:
            for fd in (choice, slot):
                if fd >= 0:
                    os.close(fd)

    def _kinds(self, others: list[bytes], extra: bool) -> list[Only]:
        """Which jobs to ask for, one kind after the other. others: what the other slots hold, empty ones nothing"""
        usual = [note for note in others if note in (_LONG, _SHORT)]
        kinds = []
        if not extra and len(usual) < self.count:
            kept = self.count > 1 and usual.count(_LONG) >= self.count - 1
            kinds.append(Only.SHORT if kept else Only.ANY)
        if kinds != [Only.ANY] and _EXTRA not in others:
            kinds.append(Only.INTERACTIVE)
        return kinds

    def is_free(self, index: int) -> bool:
        """Whether the slot has no job: true too while a process looks for one."""
        fd = _opened(self._files[index])
        try:
            return _locked(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def known(self, index: int, duration: float) -> None:
        """The length of the job in this process's slot turned out to be so many seconds."""
        if self._note_of(index) != _EXTRA:
            self._note(index, _LONG if duration >= SHORT_SECONDS else _SHORT)

    def free(self, index: int) -> None:
        """The job in this process's slot has ended."""
        if (fd := self._held.pop(index, None)) is not None:
            os.close(fd)

    def _note(self, index: int, note: bytes) -> None:
        os.pwrite(self._held[index], note, 0)

    def _note_of(self, index: int) -> bytes:
        """What a slot holds, nothing if it is free. Whoever has just locked it has a job, or is about to look for one."""
        return b"" if self.is_free(index) else self._files[index].read_bytes()


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
