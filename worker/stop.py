"""The wish to stop, shared by a consumer's processes: once = finish what is in flight, twice = at once."""

from __future__ import annotations

import multiprocessing
from typing import Protocol


class Stopping(Protocol):
    """The wish that the process hands its job back: `Stop`."""

    def is_set(self) -> bool:
        """Finish the chunks in flight, start no more."""
        ...

    def hurried(self) -> bool:
        """Do not even finish those."""
        ...


class Stop:
    """A counter in memory that forked children share. Setting it needs no lock, so a signal handler may."""

    def __init__(self) -> None:
        self._count = multiprocessing.RawValue("i", 0)

    def set(self) -> None:
        self._count.value += 1

    def is_set(self) -> bool:
        return bool(self._count.value > 0)

    def hurried(self) -> bool:
        return bool(self._count.value > 1)
