"""Streams passed on to live processes, and carried over to another one when theirs dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection

from api.access.identity import Identity
from api.http.metrics import LiveMetrics
from api.live.closing import error_of, failure_of, is_for_client
from api.live.dialing import GONE, dial
from api.live.where import Place, Places
from core.errors import LiveFull, LiveProtocol, LiveSessionEnded, LiveUnavailable, ServiceError, TransientError
from core.live.events import End, Event, Failure, Ready, event_in
from core.live.options import Start
from core.live.sending import ResumableStream, connected_anew
from core.live.sessions import RESUME_SECONDS

log = logging.getLogger(__name__)

FIRST_SECONDS = 30.0
"""How long a process may take to begin a stream."""
AGAIN_SECONDS = 10.0
"""The same of one that goes on: others can be asked."""
SILENT_SECONDS = 15.0
"""A process that tells nothing for so long hangs: how it gets on is told every three (`worker.live.serving.parts.Pace.stats`)."""
MOST_DEATHS = 5
"""So many processes in a row that died of a stream, or left it, before anything more of it was final."""


class RelayLinks:
    """check: of options of a job, raises as `Intake.check`; blocks

    again_seconds: how long a stream looks for another process; silent_seconds: how long one may tell nothing
    """

    def __init__(
        self,
        places: Places,
        *,
        check: Callable[[Mapping[str, Any]], object],
        metrics: LiveMetrics,
        again_seconds: float = RESUME_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.places, self.metrics = places, metrics
        self.again_seconds, self.silent_seconds = again_seconds, silent_seconds
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
        self._stream = ResumableStream(
            wanted.stream, wanted.position, after_end=LiveProtocol("Nothing may come after `end`.")
        )
        self._stream.ready(ready)
        links.metrics.opened()
        self._task = asyncio.create_task(self._run(), name=f"live {ready.session}")

    async def send(self, audio: bytes) -> None:
        await self._stream.send(audio)
        self._links.metrics.received(len(audio))

    async def flush(self) -> None:
        self._stream.flush()

    async def end(self) -> None:
        self._stream.end()

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._stream.next_event()) is not None:
            yield event

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._shut()  # a task that was cancelled before it began does nothing

    # --- what the task does
    async def _run(self) -> None:
        try:
            while (last := await self._serve()) is None:
                await self._take_over()
            self._finish(error_of(last) if isinstance(last, Failure) else LiveSessionEnded(), last)
        except ServiceError as error:
            self._finish(error, failure_of(error, resumable=error.retryable))
        finally:
            await self._shut()

    async def _shut(self) -> None:
        self._finish(LiveSessionEnded("This stream was closed."))
        await self._leave(1001)

    def _finish(self, error: ServiceError, last: Event | None = None) -> None:
        if self._stream.over is None:
            self._links.metrics.closed()
        self._stream.close(error, last)

    async def _serve(self) -> End | Failure | None:
        """Pass on until the stream is over; None: its process is gone, or has left it to another. Raises ServiceError."""
        assert self._at is not None
        socket = self._at[1]
        try:
            async with self._stream.writing(socket):
                while True:
                    async with asyncio.timeout(self._links.silent_seconds):
                        message = await socket.recv()
                    event = event_in(message)
                    if isinstance(event, Failure) and not is_for_client(event):
                        log.warning("A live process gives a stream away: %s: %s", event.code, event.message)
                        return None
                    if isinstance(event, End | Failure):
                        return event
                    if event is not None:
                        await self._stream.heard(event)
        except GONE as error:
            log.warning("The live process of a stream is gone: %s", error or type(error).__name__)
        return None

    async def _take_over(self) -> None:
        """Go on with another process, or the same one anew: what is not acked is sent again. Raises ServiceError."""
        await self._leave(1000)
        self._stream.breaks += 1
        if self._stream.breaks > MOST_DEATHS:
            raise LiveUnavailable("The processes that served this stream have died of it, one after the other.")
        message = self._start | {"from": self._stream.position}
        place, socket, _ = await connected_anew(
            lambda: self._links.find(message, self._who, AGAIN_SECONDS),
            seconds=self._links.again_seconds,
            missed=(LiveFull, LiveUnavailable, TransientError),
        )
        self._at = place, socket
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
