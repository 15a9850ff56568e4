"""A stream's client: what it sends waits to be heard, what it is told waits to be read, and who does neither is told why that was all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from core.errors import LiveClientSlow, LiveIdle, LiveProtocol, ServiceError
from core.live.events import Event, Final, Partial
from worker.context.figures import StageDone, Tell
from worker.live.serving.closing import failure_of, may_go_on
from worker.live.serving.parts import Client, ClientGone, Pace
from worker.live.serving.queues import Command, Inbox, Outbox

LAST_WORD_SECONDS = 1.0
"""For why a stream has failed, where a client does not read."""


class Connection:
    """Made before its client is there, and left by it: what is told then goes nowhere, for who goes on is told it again.

    inbox: what the client has sent; None behind the last of it
    decoded: as of `Inbox`
    """

    def __init__(self, pace: Pace, tell: Tell, *, decoded: bool = False) -> None:
        self._pace, self._figures = pace, tell
        self.inbox, self._outbox = Inbox(decoded=decoded), Outbox(seconds=pace.slow)
        self._interrupted, self._reason = asyncio.Event(), ServiceError()
        self._tasks: list[asyncio.Task[None]] = []
        self._writing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Events that are not told yet."""
        return self._outbox.waiting

    def begin(self, client: Client) -> None:
        """It is told what there is to tell; `serve` hears it."""
        self._writing = self._task(self._write(client))
        self._client = client

    async def serve(self, *parts: asyncio.Task[None], ended: Callable[[], bool]) -> BaseException | None:
        """Hear the client until it is gone (ClientGone), all is said (None), or it or one of the parts has failed: what it was."""
        assert self._writing is not None
        own = (self._task(self._receive(self._client)), self._task(self._until_interrupted()))
        waiting, failure = {self._writing, *own, *parts}, None
        while failure is None and not ended() and waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            failure = next((task.exception() for task in done if not task.cancelled() and task.exception()), None)
        return failure

    def interrupt(self, reason: ServiceError) -> None:
        """Have `serve` return that, as soon as may be."""
        if not self._interrupted.is_set():
            self._reason = reason
            self._interrupted.set()

    async def say(self, event: Event) -> None:
        """In order; waits while the client does not read, and interrupts one that goes on so: it is told nothing more, but why."""
        if self._interrupted.is_set():
            return
        try:
            await self._outbox.put(event)
        except LiveClientSlow as error:
            self.interrupt(error)

    async def offer(self, event: Event) -> None:
        """Of what may be left out: only where nothing else waits."""
        await self._outbox.offer(event)

    async def finish(self, last: Event) -> None:
        """Behind all that waits; nothing more is told."""
        await self._outbox.close(last)

    async def end(self, failure: BaseException | None) -> None:
        """All that waits still goes; of a stream that has failed, only the reason why nothing more comes."""
        if not isinstance(failure, ClientGone):
            last = failure_of(failure, resumable=may_go_on(failure)) if failure is not None else None
            await self._outbox.close(last, drop=failure is not None)
            if self._writing is not None:
                with contextlib.suppress(TimeoutError, ClientGone):
                    async with asyncio.timeout(self._pace.slow if failure is None else LAST_WORD_SECONDS):
                        await asyncio.shield(self._writing)
        await self.close()

    async def close(self) -> None:
        """Nothing more is heard or told."""
        self.inbox.close()
        await self._outbox.close(drop=True)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, client: Client) -> None:
        said: bytes | Command = b""
        while said is not Command.END:
            try:
                async with asyncio.timeout(self._pace.idle):
                    said = await client.receive()
            except TimeoutError:
                raise LiveIdle from None
            await self.inbox.put(said)
        await client.receive()  # ClientGone, or
        raise LiveProtocol("Nothing may come after `end`.")

    async def _write(self, client: Client) -> None:
        try:
            while (found := await self._outbox.get()) is not None:
                event, since = found
                began = time.monotonic()
                await client.send(event)
                if isinstance(event, Final | Partial):
                    done = StageDone(stage="output", waited=began - since, worked=time.monotonic() - began)
                    self._figures(done)
        except ClientGone:
            await self._outbox.close(drop=True)  # whoever waits for room waits no more
            raise

    async def _until_interrupted(self) -> None:
        await self._interrupted.wait()
        raise self._reason

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task
