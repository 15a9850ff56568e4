"""What a follower of one job is sent: events whose ids say what it has had, so that any process can go on from there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected, WebSocketState

from api.access.identity import Identity
from api.events.follower import Follower, meanwhile
from api.events.hub import Hub, Seen
from api.events.overview import MOST, Overview
from api.events.status import Asked, Status
from api.http.middleware import HEAD_ONLY
from core.errors import ServiceError, Unauthorized, ValidationFailed, refusal
from core.jobs.job import Job

log = logging.getLogger(__name__)

QUIET_SECONDS = 15.0
"""After so long without an event a comment shows, to proxies too, that the stream lives."""

STALL_SECONDS = 30.0
"""A client that takes nothing for so long is dropped; it can go on where it was."""

DELETED = "deleted"
"""What `end` says of a job that is no more."""

Kind = Literal["job", "segments", "end"]

_ID = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})(\.end)?")


@dataclass(frozen=True, kw_only=True)
class Position:
    """What a client has had of a job."""

    #: version of the job's last body
    version: int = 0
    #: how many segments
    segments: int = 0
    #: all of it
    ended: bool = False

    @staticmethod
    def parse(last_event_id: str | None) -> Position:
        """None and "": nothing. Raises ValidationFailed."""
        if not last_event_id:
            return Position()
        found = _ID.fullmatch(last_event_id)
        if found is None:
            raise _no_id()
        return Position(version=int(found[1]), segments=int(found[2]), ended=found[3] is not None)

    def __str__(self) -> str:
        return f"{self.version}.{self.segments}{'.end' if self.ended else ''}"


def _no_id() -> ValidationFailed:
    return refusal({"field": "Last-Event-ID", "message": "is no id of an event of this stream"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """data: JSON of one line. id: says all that the client has had with it"""

    kind: Kind
    id: str
    data: str

    def as_sse(self) -> bytes:
        """By the HTML standard, 9.2 (server-sent events)."""
        return f"id: {self.id}\nevent: {self.kind}\ndata: {self.data}\n\n".encode()

    def as_message(self) -> str:
        """For a WebSocket: JSON with the same."""
        return f'{{"event": "{self.kind}", "id": "{self.id}", "data": {self.data}}}'


@dataclass(frozen=True, kw_only=True)
class Mark:
    """An id without an event: what there was before is told. Browsers keep the id, and nothing else happens there."""

    id: str

    def as_sse(self) -> bytes:
        """By the HTML standard, 9.2: without data no event is dispatched."""
        return f"id: {self.id}\n\n".encode()


async def events(hub: Hub, follower: Follower[Seen], at: Position) -> AsyncIterator[Event | None]:
    """All that comes behind `at`, until the job or the follower ends. None: nothing for QUIET_SECONDS."""
    while not follower.closed:
        seen = follower.now
        if seen.version > at.version:
            at = replace(at, version=seen.version)
            yield Event(kind="job", id=str(at), data=seen.status.body.decode())
        while at.segments < seen.part.total and (part := await hub.segments(seen, at.segments)).segments:
            first, at = at.segments, replace(at, segments=part.end)
            yield Event(kind="segments", id=str(at), data=f'{{"from": {first}, "segments": {part.body(first)}}}')
        if seen.ended:
            status = DELETED if seen.gone else seen.status.job.status
            yield Event(kind="end", id=str(replace(at, ended=True)), data=_end(seen.status.job.id, status))
            return
        if not await follower.wait(seen, QUIET_SECONDS):
            yield None


async def all_events(
    overview: Overview, follower: Follower[Mapping[str, Status]], since: float
) -> AsyncIterator[Event | Mark | None]:
    """Bodies of all jobs that have not ended, and of what has since then (seconds since the epoch), and a mark behind them; then
    each that changes. Behind the last one of a job comes its `end`.

    The id is the time: after a break the states of then are told again, so that none is missed. None: as in `events`.
    """
    told: dict[str, Job] = {}
    marked = False
    seen = await overview.since(since)
    while not follower.closed:
        now = str(int(time.time() * 1000))
        for job_id in sorted(seen):  # ids sort by the time they were made
            job = seen[job_id].job
            if job_id not in told or told[job_id].version < job.version:
                told[job_id] = job
                yield Event(kind="job", id=now, data=seen[job_id].body.decode())
                if job.terminal:
                    yield Event(kind="end", id=now, data=_end(job_id, job.status))
        missing = [job_id for job_id in told.keys() - seen.keys() if not told[job_id].terminal]
        for job_id in await overview.deleted(missing) if missing else ():
            del told[job_id]
            yield Event(kind="end", id=now, data=_end(job_id, DELETED))
        if not marked:
            marked = True
            yield Mark(id=now)
        if len(told) > 10 * MOST:
            told = {job_id: job for job_id, job in told.items() if job_id in seen or not job.terminal}
        while not await follower.wait(seen, QUIET_SECONDS):
            yield None
        seen = follower.now


def _end(job_id: str, status: str) -> str:
    return json.dumps({"id": job_id, "status": status})


def since_of(last_event_id: str | None) -> float:
    """Seconds since the epoch, now without an id. Raises ValidationFailed."""
    if not last_event_id:
        return time.time()
    if not re.fullmatch(r"[0-9]{1,14}", last_event_id):
        raise _no_id()
    return min(time.time(), int(last_event_id) / 1000)


class Sendable(Protocol):
    """An event, of whatever kind."""

    def as_sse(self) -> bytes: ...


Opened = contextlib.AbstractAsyncContextManager[tuple[Follower[Any], AsyncIterator[Sendable | None]]]
"""A follower, and its events; None: a comment instead."""


class EventStream(Response):
    """Server-sent events. A client that goes, or takes nothing for `stall` seconds, costs nothing from then on.

    opened: gives the follower and its events, for the scope of a request
    """

    media_type = "text/event-stream"

    def __init__(self, opened: Callable[[Scope], Opened], *, stall: float = STALL_SECONDS) -> None:
        # a proxy that collects the answer (nginx, unless told so) would make a burst of it
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._opened, self._stall = opened, stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opened(scope) as (follower, found), follower.closing(receive):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                if not scope.get(HEAD_ONLY):
                    async for event in found:
                        piece = b":\n\n" if event is None else event.as_sse()
                        async with asyncio.timeout(self._stall):
                            await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                scope.get("abort", lambda: None)()
                await asyncio.sleep(0)  # until the server has noticed
            except ServiceError as error:  # it ends, and who comes back is told what is wrong
                log.warning("A stream of events ends: %s", error.message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def stream_of(hub: Hub, asked: Asked, at: Position) -> EventStream:
    """The events of one job."""

    @contextlib.asynccontextmanager
    async def opened(scope: Scope) -> AsyncIterator[tuple[Follower[Seen], AsyncIterator[Event | None]]]:
        async with hub.follow(asked, scope) as follower:
            yield follower, events(hub, follower, at)

    return EventStream(opened)


def stream_of_all(hub: Hub, who: Identity, base: str, since: float) -> EventStream:
    """The events of all jobs of who asks."""

    @contextlib.asynccontextmanager
    async def opened(scope: Scope) -> AsyncIterator[tuple[Follower[Any], AsyncIterator[Event | Mark | None]]]:
        async with hub.follow_all(who, base, scope) as (overview, follower):
            yield follower, all_events(overview, follower, since)

    return EventStream(opened)


async def send_messages(hub: Hub, socket: WebSocket, asked: Asked, at: Position) -> None:
    """The events of one job over a WebSocket: accept, send, close. Raises JobNotFound, DatabaseUnavailable before it accepts.

    The server's pings take the place of comments. A client that sends anything is told that nothing is expected.
    """
    async with hub.follow(asked, socket.scope) as follower:
        await socket.accept()
        # the client may go at any moment; one that takes nothing is left alone, and the server closes
        gone = contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected, TimeoutError)
        with meanwhile(_expect_nothing(socket, follower)), gone:
            try:
                async for event in events(hub, follower, at):
                    if event is not None:
                        async with asyncio.timeout(STALL_SECONDS):
                            await socket.send_text(event.as_message())
            except ServiceError as error:
                await socket.close(code=1013, reason=error.code)  # try again later
            if not follower.closed:
                await socket.close()
            elif socket.client_state is socket.application_state is WebSocketState.CONNECTED:
                await socket.close(code=1008, reason=Unauthorized.code)  # its key is good no more


async def _expect_nothing(socket: WebSocket, follower: Follower[Seen]) -> None:
    message = await socket.receive()
    if message["type"] == "websocket.receive":
        with contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected):
            await socket.close(code=1003, reason="nothing is expected")
    follower.close()
