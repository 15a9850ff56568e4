"""A stream's row as the process that serves it holds it: each write under its fence, one after another, off the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from core.errors import DatabaseUnavailable, StorageUnavailable
from core.live.sessions import LiveSessions, Session, SessionLease, StoredUtterance

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSES = (0.1, 0.3, 1.0, 2.0, 4.0)
"""Seconds before each further try where database or object store is away for a moment; then the stream is given back to its client."""


async def again(attempt: Callable[[], Awaitable[T]], *, what: str) -> T:
    """What it gives in the end. Raises what the last try raised: DatabaseUnavailable, StorageUnavailable, or at once any other."""
    for pause in PAUSES:
        try:
            return await attempt()
        except (DatabaseUnavailable, StorageUnavailable) as error:
            log.warning("%s: %s; trying again in %g s", what, error.message, pause)
            await asyncio.sleep(pause)
    return await attempt()


class Hold:
    """All methods raise LeaseLost where another process serves the stream by now, and DatabaseUnavailable."""

    def __init__(self, sessions: LiveSessions, lease: SessionLease, threads: Executor, *, lease_seconds: float) -> None:
        self._sessions, self._lease, self._threads, self._lease_seconds = sessions, lease, threads, lease_seconds
        self._one_at_a_time = asyncio.Lock()

    @property
    def session(self) -> Session:
        """As it was last written."""
        return self._lease.session

    @property
    def fence(self) -> int:
        return self._lease.fence

    async def renew(self) -> None:
        await self._do(lambda lease: self._sessions.renew_session(lease, lease_seconds=self._lease_seconds))

    async def keep(self, utterances: list[StoredUtterance], *, acked: int) -> None:
        """See `LiveSessions.keep_utterances`."""
        await self._write(lambda lease: self._sessions.keep_utterances(lease, utterances, acked=acked))

    async def keep_translation(self, number: int, translation: Mapping[str, Any]) -> None:
        await self._do(lambda lease: self._sessions.keep_translation(lease, number, translation))

    async def keep_piece(self, *, start: int, size: int, key: str) -> None:
        """See `LiveSessions.keep_piece`."""
        await self._write(lambda lease: self._sessions.keep_piece(lease, start=start, size=size, key=key))

    async def leave(self, seconds: float) -> None:
        await self._do(lambda lease: self._sessions.leave_session(lease, seconds=seconds))

    async def end(self, seconds: float) -> str | None:
        """Id of the job that the stream has become. seconds: in which its client may still ask what it has missed"""
        return await self._do(lambda lease: self._sessions.end_session(lease, seconds=seconds))

    async def _write(self, write: Callable[[SessionLease], SessionLease]) -> None:
        async with self._one_at_a_time:
            self._lease = await again(partial(self._off_the_loop, write), what="A live stream cannot be stored")

    async def _do(self, act: Callable[[SessionLease], T]) -> T:
        async with self._one_at_a_time:
            return await again(partial(self._off_the_loop, act), what="A live stream's row cannot be written")

    async def _off_the_loop(self, act: Callable[[SessionLease], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, self._lease)
