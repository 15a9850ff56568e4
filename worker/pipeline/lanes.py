"""Threads by what their tasks wait for, so that one kind does not hold up the others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from worker.context.stage import Lane

T = TypeVar("T")

MANY = 32
"""Threads of a lane whose tasks mostly wait for one another or for the net; they are made as they are needed."""


class Lanes:
    """engine: calls of the engine at once. on_end: told when a task has ended, whichever way."""

    def __init__(self, *, engine: int, on_end: Callable[[], None]) -> None:
        self._width = {Lane.IO: MANY, Lane.CPU: MANY, Lane.ENGINE: engine, Lane.GPU: 1}
        self._pools: dict[Lane, ThreadPoolExecutor] = {}
        self._running: dict[Future[Any], Lane] = {}
        self._on_end = on_end

    def room(self, lane: Lane) -> bool:
        return sum(other is lane for other in self._running.values()) < self._width[lane]

    def start(self, lane: Lane, run: Callable[..., T], *args: Any) -> Future[T]:
        future = self.pool(lane).submit(run, *args)
        self._running[future] = lane
        future.add_done_callback(lambda _: self._on_end())
        return future

    def ended(self) -> list[Future[Any]]:
        """Those that have ended since this was last asked, in the order in which they were started."""
        done = [future for future in self._running if future.done()]
        for future in done:
            del self._running[future]
        return done

    def pool(self, lane: Lane) -> Executor:
        if lane not in self._pools:
            self._pools[lane] = ThreadPoolExecutor(self._width[lane], thread_name_prefix=lane.value)
        return self._pools[lane]

    def close(self) -> None:
        """Wait for all threads; what they do must have been told to stop."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
