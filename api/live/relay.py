"""Streams passed on to live processes, and carried over to another one when theirs dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection

from api.access.identity import Identity
from api.http.metrics import LiveMetrics
from api.live.closing import error_of, failure_of, is_for_client
from api.live.dialing import GONE, dial, heard
from api.live.where import Place, Places
from core.errors import LiveFull, LiveProtocol, LiveSessionEnded, LiveUnavailable, ServiceError, TransientError
from core.live.events import Ack, End, Event, Failure, Ready
from core.live.options import Start
from core.live.resuming import Backlog, Told
from core.live.sessions import RESUME_SECONDS

log = logging.getLogger(__name__)

FIRST_SECONDS = 30.0
"""How long a process may take to begin a stream."""
AGAIN_SECONDS = 10.0
"""The same of one that goes on: others can be asked."""
PAUSE_FIRST, PAUSE_LAST = 0.1, 2.0
"""Seconds between two rounds over all processes."""
MOST_DEATHS = 5
"""So many processes in a row that died of a stream, or left it, before anything more of it was final."""
WAITING_EVENTS = 256
"""Events that the client has not taken; then the process is not read, and it closes the stream after a while."""


class RelayLinks:
    """check: of options of a job, raises as `Intake.check`; blocks. again_seconds: how long a stream looks for another process"""

    def __init__(
        self,
        places: Places,
        *,
        check: Callable[[Mapping[str, Any]], object],
        metrics: LiveMetrics,
        again_seconds: float = RESUME_SECONDS,
    ) -> None:
        self.places, self.metrics, self.again_seconds = places, metrics, again_seconds
        self._check = check

    async def open(self, start: Mapping[str, Any], who: Identity) -> RelayLink:
        """As `api.live.link.LiveLinks.open`."""
        try:
            wanted = Start.of(start)
            if wanted.session is None:
                await asyncio.to_thread(self._check, wanted.job)
            place, socket, ready = await self.find(start, who, FIRST_SECONDS)
        except ServiceError as error:
            self.metrics.refused(error.code)
            raise
        return RelayLink(self, dict(start), wanted, who, (place, socket), ready)

    async def find(
        self, message: Mapping[str, Any], who: Identity, seconds: float
    ) -> tuple[Place, ClientConnection, Ready]:
        """The first process that takes the stream. Raises LiveFull, LiveUnavailable, and what a process refuses it for."""
        full: LiveFull | None = None
        known = await asyncio.to_thread(self.places.known)
        for place in self.places.order(known, message.get("session")):
            try:
                socket, ready = await dial(place, message, who, seconds)
            except LiveFull as error:
                full = error
            except LiveUnavailable as error:
                log.info("The live process of %s does not answer: %s", place.consumer, error.message)
            else:
                self.places.begun(place, ready.session)
                return place, socket, ready
        raise full or LiveUnavailable


class RelayLink:
    """One stream (`api.live.link.LiveLink`), made by `RelayLinks`; a task of its own passes on what comes and goes."""

    def __init__(
        self,
        links: RelayLinks,
        start: dict[str, Any],
        wanted: Start,
        who: Identity,
        at: tuple[Place, ClientConnection],
        ready: Ready,
    ) -> None:
        self.ready = ready
        self._links, self._who = links, who
        self._at: tuple[Place, ClientConnection] | None = at
        self._start = start | {"session": ready.session}
        self._backlog = Backlog(wanted.stream, wanted.position)
        self._told = Told()
        self._told.news(ready)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_EVENTS)
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._ending = False
        self._over: ServiceError | None = None
        self._deaths = 0
        links.metrics.opened()
        self._task = asyncio.create_task(self._run(), name=f"live {ready.session}")

    async def send(self, audio: bytes) -> None:
        self._check()
        while self._backlog.full:
            self._room.clear()
            await self._room.wait()
            self._check()
        self._backlog.add(audio)
        self._links.metrics.received(len(audio))
        self._more.set()

    async def flush(self) -> None:
        self._check()
        self._backlog.add_flush()
        self._more.set()

    async def end(self) -> None:
        if self._over is None:
            self._ending = True
            self._more.set()

    async def events(self) -> AsyncIterator[Event]:
        while not (self._over and self._events.empty()):
            event = await self._events.get()
            if event is None:
                return
            yield event

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._shut()  # a task that was cancelled before it began does nothing

    def _check(self) -> None:
        if self._over is not None:
            raise self._over
        if self._ending:
            raise LiveProtocol("Nothing may come after `end`.")

    # --- what the task does
    async def _run(self) -> None:
        try:
            while (last := await self._serve()) is None:
                await self._take_over()
            self._finish(error_of(last) if isinstance(last, Failure) else LiveSessionEnded())
            await self._events.put(last)
        except ServiceError as error:
            self._finish(error)
            await self._events.put(failure_of(error, resumable=error.retryable))
        finally:
            await self._shut()

    async def _shut(self) -> None:
        self._finish(LiveSessionEnded("This stream was closed."))
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(None)
        await self._leave(1001)

    def _finish(self, error: ServiceError) -> None:
        """What whoever goes on sending is told. Once."""
        if self._over is None:
            self._over = error
            self._links.metrics.closed()
            self._room.set()

    async def _serve(self) -> End | Failure | None:
        """Pass on until the stream is over; None: its process is gone, or has left it to another. Raises ServiceError."""
        assert self._at is not None
        socket = self._at[1]
        writing = asyncio.create_task(self._write(socket))
        try:
            async for message in socket:
                event = heard(message)
                match event:
                    case None:
                        continue
                    case Failure() if not is_for_client(event):
                        log.warning("A live process gives a stream away: %s: %s", event.code, event.message)
                        return None
                    case End() | Failure():
                        return event
                    case Ack():
                        self._backlog.drop(event.position)
                        self._room.set()
                        self._deaths = 0
                if (news := self._told.news(event)) is not None:
                    await self._events.put(news)
        except GONE as error:
            log.warning("The live process of a stream is gone: %s", error or type(error).__name__)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return None

    async def _write(self, socket: ClientConnection) -> None:
        ended = False
        with contextlib.suppress(*GONE):  # who reads notices too
            while True:
                piece = self._backlog.next()
                if piece == "flush":
                    await socket.send('{"type": "flush"}')
                elif piece is not None:
                    await socket.send(piece)
                else:
                    if self._ending and not ended:
                        ended = True
                        await socket.send('{"type": "end"}')
                    self._more.clear()
                    await self._more.wait()

    async def _take_over(self) -> None:
        """Go on with another process, or the same one anew: what is not acked is sent again. Raises ServiceError."""
        await self._leave(1000)
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            raise LiveUnavailable("The processes that served this stream have died of it, one after the other.")
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._links.again_seconds, PAUSE_FIRST
        while True:
            message = self._start | {"from": self._backlog.position}
            try:
                place, socket, _ = await self._links.find(message, self._who, AGAIN_SECONDS)
                break
            except (LiveFull, LiveUnavailable, TransientError):
                if loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(PAUSE_LAST, 2 * pause)
        self._at = place, socket
        self._backlog.rewind()
        self._links.metrics.taken_over()
        log.info("Stream %s goes on at %s", self.ready.session, place.consumer)

    async def _leave(self, code: int) -> None:
        if self._at is not None:
            (place, socket), self._at = self._at, None
            self._links.places.ended(place)
            try:
                await socket.close(code)
            except asyncio.CancelledError:
                socket.transport.abort()
                raise
