"""Waiting for what comes next. Nothing is queued: who comes back from sending finds what is so now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic, TypeVar

from starlette.types import Message, Receive, Scope

from core.errors import RequestError, TransientError

log = logging.getLogger(__name__)

S = TypeVar("S")

READMIT_SECONDS = 10.0
"""How often it is looked whether who follows may still come in: streams have no end."""


@contextlib.contextmanager
def meanwhile(work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """It goes on as long as the block lasts, at most."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


class Source(Generic[S]):
    """Something that changes, and who follows it. seen: as it is now, replaced by another object at each change"""

    def __init__(self, seen: S) -> None:
        self.seen = seen
        self.followers: set[Follower[S]] = set()

    def publish(self, seen: S) -> None:
        self.seen = seen
        for follower in self.followers:
            follower.wake()

    @contextlib.contextmanager
    def follow(self, scope: Scope) -> Iterator[Follower[S]]:
        """As long as the block lasts. scope: of the request, which ends when the server stops (`api.http.protocol`), or when
        its key is good no more (`api.access.authentication`)
        """
        follower = Follower(self)
        when_stopping: list[Callable[[], None]] = scope.get("when_stopping", [])
        self.followers.add(follower)
        when_stopping.append(follower.close)
        try:
            with meanwhile(follower.leave_with_key(scope.get("readmit"))):
                yield follower
        finally:
            when_stopping.remove(follower.close)
            self.followers.discard(follower)


class Follower(Generic[S]):
    """One who waits. closed: the client or the server goes"""

    def __init__(self, source: Source[S]) -> None:
        self._source = source
        self._wake = asyncio.Event()
        self.closed = False

    @property
    def now(self) -> S:
        return self._source.seen

    async def wait(self, seen: S, seconds: float) -> bool:
        """Until there is something newer, or this is closed; False when the time was over first."""
        self._wake.clear()
        if self.closed or self.now is not seen:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    @contextlib.asynccontextmanager
    async def closing(self, receive: Receive, *others: Follower[S]) -> AsyncIterator[None]:
        """Closed, and others with it, when the client goes, as long as the block lasts.

        receive: of an HTTP request whose body nobody reads
        """
        with meanwhile(self._close_with(receive, others)):
            yield

    async def leave_with_key(self, readmit: Callable[[], Awaitable[object]] | None) -> None:
        """Closed when that says that the request would be refused now. None: nobody asks"""
        while readmit is not None and not self.closed:
            await asyncio.sleep(READMIT_SECONDS)
            try:
                await readmit()
            except TransientError:  # nobody can tell now
                continue
            except RequestError as error:
                log.info("Somebody follows no longer: %s", error.message)
                self.close()

    async def _close_with(self, receive: Receive, others: Sequence[Follower[S]]) -> None:
        message: Message = {"type": "http.request"}
        while message["type"] != "http.disconnect":
            message = await receive()
        for follower in (self, *others):
            follower.close()

    def wake(self) -> None:
        self._wake.set()

    def close(self) -> None:
        self.closed = True
        self._wake.set()
