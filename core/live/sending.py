"""The sending end of a stream, whatever becomes of its connections: the API's relay, and the client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from core.live.events import Ack, Event, Ready
from core.live.options import StreamOptions
from core.live.resuming import Backlog, Told

WAITING_EVENTS = 256
"""Events that nobody has taken; then the connection is not read, and its other end closes it after a while."""

PAUSE_FIRST, PAUSE_LAST = 0.1, 2.0
"""Seconds between two tries to connect anew."""

T = TypeVar("T")


class Connection(Protocol):
    """What is sent over: text as `str`, audio as `bytes`; raises something when it is broken."""

    async def send(self, message: str | bytes, /) -> None: ...


class ResumableStream:
    """The sending end of one stream, whichever connection it has: what is sent waits for one, what is told for who takes it.

    position: of the first byte that will be sent; after_end: raised by who sends behind `end`
    """

    def __init__(self, options: StreamOptions, position: int = 0, *, after_end: Exception) -> None:
        self._backlog, self._told = Backlog(options, position), Told()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_EVENTS)
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._after_end, self._ending = after_end, False
        self._last: Event | None = None
        #: why nothing more can be sent
        self.over: Exception | None = None
        #: connections in a row that broke before more of it was final; counted by who makes them
        self.breaks = 0
        self._settled = 0

    @property
    def position(self) -> int:
        """Up to where everything is acked: `from` of the next connection."""
        return self._backlog.position

    # --- of who has the audio
    async def send(self, audio: bytes) -> None:
        """The next audio, of any length; waits while too much is not acked. Raises `over`, and `after_end`."""
        self._check()
        while self._backlog.full:
            self._room.clear()
            await self._room.wait()
            self._check()
        self._backlog.add(audio)
        self._more.set()

    def flush(self) -> None:
        """Raises as `send`."""
        self._check()
        self._backlog.add_flush()
        self._more.set()

    def end(self) -> None:
        self._ending = True
        self._more.set()

    async def next_event(self) -> Event | None:
        """None: it is over, and all is told."""
        if (self.over is None or not self._events.empty()) and (event := await self._events.get()) is not None:
            return event
        last, self._last = self._last, None
        return last

    def _check(self) -> None:
        if self.over is not None:
            raise self.over
        if self._ending:
            raise self._after_end

    # --- of who has the connection
    @contextlib.asynccontextmanager
    async def writing(self, connection: Connection) -> AsyncIterator[None]:
        """Meanwhile all that is not acked goes over it, and then what comes. Who reads from it notices that it is broken."""
        task = asyncio.create_task(self._write(connection))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def heard(self, event: Event) -> None:
        """To be told, unless it has been; waits while too much is not taken."""
        if isinstance(event, Ack):
            self._backlog.drop(event.position)
            self._room.set()
            self._more.set()
            if event.samples > self._settled:  # of a container what is stored is acked too, which gets nobody further
                self._settled, self.breaks = event.samples, 0
        if (news := self._told.news(event)) is not None:
            await self._events.put(news)

    def ready(self, event: Ready) -> None:
        """It has begun: nobody is told so by another connection."""
        self._told.news(event)

    def close(self, reason: Exception, last: Event | None = None) -> None:
        """It is over: who goes on sending has that raised, and who takes events gets the last one behind all others. Once."""
        if self.over is None:
            self.over, self._last = reason, last
        self._room.set()
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(None)

    async def _write(self, connection: Connection) -> None:
        self._backlog.rewind()
        ended = False
        while True:
            piece = self._backlog.next()
            if piece is not None:
                await connection.send('{"type": "flush"}' if piece == "flush" else piece)
                continue
            if self._ending and not ended and self._backlog.all_sent:
                ended = True
                await connection.send('{"type": "end"}')
            self._more.clear()
            await self._more.wait()


async def connected_anew(
    connect: Callable[[], Awaitable[T]], *, seconds: float, missed: tuple[type[Exception], ...]
) -> T:
    """The first connection there is. Raises what is not `missed` at once, and that once so many seconds have passed."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + seconds, PAUSE_FIRST
    while True:
        try:
            return await connect()
        except missed:
            if loop.time() + pause > until:
                raise
        await asyncio.sleep(pause)
        pause = min(PAUSE_LAST, 2 * pause)
