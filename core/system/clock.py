"""The clock of leases. A lease must not depend on the wall clock, which people and NTP move.

PostgreSQL brings its own (`clock_timestamp()` of the one server all consumers ask). On one host with
SQLite it is CLOCK_BOOTTIME, which all processes share and which counts sleep too; it starts again at
each boot, so the boot's identity belongs to it.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol

from core.system.identity import boot_id


class LeaseClock(Protocol):
    """Never goes back while `boot` stays the same."""

    @property
    def boot(self) -> str:
        """Identity of the timeline: times taken under another boot mean nothing now."""
        ...

    def now(self) -> float:
        """Seconds on this timeline, above 0."""
        ...


class BootClock:
    """The host's own clock."""

    def __init__(self) -> None:
        self._boot = boot_id()

    @property
    def boot(self) -> str:
        return self._boot

    def now(self) -> float:
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()


class ManualClock:
    """Stands still until told otherwise: lets tests expire leases without waiting."""

    def __init__(self, *, now: float = 1000.0, boot: str = "boot-1") -> None:
        self._now, self._boot = now, boot

    @property
    def boot(self) -> str:
        return self._boot

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds
