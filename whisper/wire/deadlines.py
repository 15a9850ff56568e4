"""How long a request may take that came without a deadline of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SHORTEST_SECONDS = 20.0
PATIENCE = 10.0
"""A request may take this many times as long as the slowest of those before it: chunks, beams and machines differ."""
REMEMBERED = 100
"""Requests of one kind that are looked back at, so that one bad hour does not count for ever."""


class Deadlines:
    """One host's, whose model and machine stay the same. Safe from many threads.

    first: by op, seconds that are given while nothing has been measured

    Times are of one core: with n threads a request gets an n-th of them, but for the least.
    """

    def __init__(self, first: Mapping[str, float]) -> None:
        self._first = first
        self._seen: dict[str, deque[float]] = {op: deque(maxlen=REMEMBERED) for op in first}

    def note(self, op: str, seconds: float, *, threads: int) -> None:
        """A request that went well took so long."""
        self._seen[op].append(seconds * threads)

    def of(self, op: str, *, threads: int) -> float:
        """Seconds after which a request counts as stuck."""
        seen = tuple(self._seen[op])
        return max(SHORTEST_SECONDS, PATIENCE * max(seen) / threads) if seen else self._first[op]
