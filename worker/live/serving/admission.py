"""How many streams at once: as many as the operator says, or as the engine's workers can keep up with."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from core.errors import LiveFull

SHARE = 0.8
"""Of the workers' time that streams may take; the rest is for what comes at the same moment, and for jobs."""

MEMORY_SECONDS = 120.0
"""What was measured counts half after so long."""

ESTIMATE_SECONDS = 30.0
"""An estimate weighs as much as so much measured audio."""

LEAST = 0.5
"""Streams that are silent cost nothing, and will not stay so: less than this part of the estimate is not believed."""

PARTIAL_SECONDS, LONGEST_STEP = 0.5, 1.2
"""A partial is asked for after each half second of new audio, or 1.2 times what the last one took."""

PARTIALS = 1 / 6
"""Of what partials take, so much counts: they are asked for less often where streams are many, and finals go first. With a
sixth, what a lone stream costs lets in 6 in all, where 11 were found to keep up (L3 in docs/explanation/live.md); with a third, 4."""


def estimate(seconds: float, audio: float) -> float:
    """What a second of one stream costs, in seconds of a worker, where a decode of so much audio takes so many.

    Each second is heard once in a final; and a partial is asked for in each step, of the utterance so far: half of one.
    """
    partial = 0.5 * seconds
    return min(1.0, seconds / audio + PARTIALS * partial / max(PARTIAL_SECONDS, LONGEST_STEP * partial))


class Admission:
    """most: MAX_LIVE_STREAMS, 0: from what is measured; workers: of the engine

    Until anything is known, one stream per worker. Safe from many threads.
    """

    def __init__(self, *, most: int, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._workers, self._clock = most, workers, clock
        #: that have a client now
        self.streams = 0
        self._estimate: float | None = None
        self._heard = self._worked = 0.0
        self._at = clock()
        self._lock = threading.Lock()

    def estimated(self, cost: float) -> None:
        """What a second of a stream costs by `estimate`."""
        self._estimate = cost

    def heard(self, seconds: float) -> None:
        """So much audio of a stream has come."""
        with self._lock:
            self._forget()
            self._heard += seconds

    def worked(self, seconds: float, *, partial: bool = False) -> None:
        """An engine worker has worked so long for a stream."""
        with self._lock:
            self._forget()
            self._worked += PARTIALS * seconds if partial else seconds

    @property
    def cost(self) -> float | None:
        """Seconds of a worker for a second of a stream; None: not known."""
        with self._lock:
            self._forget()
            heard, worked, guess = self._heard, self._worked, self._estimate
        if guess is None:
            return worked / heard if heard > ESTIMATE_SECONDS else None
        return max(LEAST * guess, (worked + guess * ESTIMATE_SECONDS) / (heard + ESTIMATE_SECONDS))

    @property
    def room(self) -> int:
        """How many streams there may be. One is always taken."""
        if self._most:
            return self._most
        cost = self.cost
        return self._workers if cost is None else max(1, math.floor(SHARE * self._workers / max(cost, 1e-3) + 1e-6))

    @property
    def fair_share(self) -> float:
        """Of a worker, for each stream that there is now."""
        return self._workers / max(1, self.streams)

    def check(self, there: int) -> None:
        """Whether one more may come. Raises LiveFull."""
        if there >= self.room:
            why = "MAX_LIVE_STREAMS" if self._most else "as its speed allows"
            raise LiveFull(f"{there} live streams run on this consumer ({why}); try again later.")

    def _forget(self) -> None:
        now = self._clock()
        left = 0.5 ** ((now - self._at) / MEMORY_SECONDS)
        self._heard, self._worked, self._at = self._heard * left, self._worked * left, now
