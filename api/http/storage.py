"""What the installation keeps, counted now and then: that goes through all jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from core.store.protocols import StoredSizes

SECONDS = 60.0
"""How old a count may be that is shown again..."""

SHARE = 0.03
"""...and older where counting would take more of the time than this: with a million jobs it takes seconds."""


class KeptSizes:
    """Counts at most once a minute, and once for all who ask meanwhile. clock: in seconds"""

    def __init__(self, count: Callable[[], StoredSizes], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._clock = count, clock
        self._lock = threading.Lock()
        self._until = 0.0
        self._found: tuple[StoredSizes, datetime] | None = None

    def look(self) -> tuple[StoredSizes, datetime]:
        """The sizes, and when they were counted. Raises DatabaseUnavailable."""
        with self._lock:
            begun = self._clock()
            if self._found is None or begun > self._until:
                self._found = self._count(), datetime.now(UTC)
                now = self._clock()
                self._until = now + max(SECONDS, (now - begun) / SHARE)
            return self._found
