"""A live stream: audio goes, text comes while it is spoken, and a connection that breaks is made anew without a gap or a repeat.

async with AsyncClient() as client, client.live(language="en") as stream:
    async def speak():
        async for pcm in microphone:  # 16-bit samples at 16 kHz
            await stream.send(pcm)
        await stream.end()
    speaking = asyncio.create_task(speak())
    async for event in stream:
        if event.type == "final":
            print(event.text)
    print(stream.job)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from core.errors import ValidationFailed
from core.live.events import Ack, End, Event, Failure, Ready, event_of
from core.live.options import Start
from core.live.resuming import Backlog, Told
from core.live.sessions import RESUME_SECONDS
from parascribe.client.answers import error_of
from parascribe.client.errors import ApiError, Overloaded, ServiceUnreachable, kind_of
from parascribe.client.transport import Transport

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

READY_SECONDS = 60.0
"""How long a service may take to begin a stream."""
PAUSE_FIRST, PAUSE_LAST = 0.1, 2.0
"""Seconds between two tries to connect anew."""
MOST_BREAKS = 10
"""So many connections in a row that broke before anything more was final: it is no accident."""
WAITING_EVENTS = 256
GOODBYE_SECONDS = 2.5
_STATUS: Final = {1008: 400, 1013: 503}
"""What HTTP would have said, by close code."""


class LiveStream:
    """One stream, made by `AsyncClient.live`: an asynchronous context manager, and an iterator over its events.

    The iterator ends behind `End`. It raises ApiError when the service has broken the stream off (Overloaded: try again later), and
    ServiceUnreachable when it could not be reached anew within 30 s; so does `send`.
    """

    def __init__(self, transport: Transport[Any], options: Mapping[str, Any]) -> None:
        self._transport = transport
        self._start = {"type": "start"} | {name: value for name, value in options.items() if value is not None}
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_EVENTS)
        self._told = Told()
        self._ending, self._breaks = False, 0
        self._over: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        #: how the service has begun it, with what it does not honour in `warnings`
        self.ready = Ready(session="")
        #: how it has ended
        self.ended: End | None = None

    async def __aenter__(self) -> Self:
        """Raises ApiError, Overloaded where no more streams are taken, ServiceUnreachable."""
        try:
            wanted = Start.of(self._start)
        except ValidationFailed as error:
            raise ApiError(422, error.code, error.message, {"errors": error.details["errors"]}) from error
        self._backlog = Backlog(wanted.stream, wanted.position)
        socket, self.ready = await self._connect()
        self._told.news(self.ready)
        self._start["session"] = self.ready.session
        self._task = asyncio.create_task(self._run(socket))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection. A stream that was not ended before is ended by the service, after half a minute."""
        assert self._task is not None
        if self.ended is not None:  # it is saying goodbye, or waits to tell what nobody wants to hear
            await asyncio.wait({self._task}, timeout=GOODBYE_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def session(self) -> str:
        return self.ready.session

    @property
    def job(self) -> str | None:
        """Id of the job that the stream has become: None before its end, and without `save`."""
        return self.ended.job if self.ended else None

    async def send(self, audio: bytes) -> None:
        """The next audio, of any length; waits while more than a minute of it is not acked."""
        while self._over is None and self._backlog.full:
            self._room.clear()
            await self._room.wait()
        if self._over is not None:
            raise self._over
        if self._ending:
            raise ValueError("nothing may come after the end")
        self._backlog.add(audio)
        self._more.set()

    async def flush(self) -> None:
        """What has been said is an utterance, although there was no silence."""
        self._backlog.add_flush()
        self._more.set()

    async def end(self) -> None:
        """Nothing more comes: the rest is told, then `End`."""
        self._ending = True
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not (self._over is not None and self._events.empty()):
            event = await self._events.get()
            if event is None:
                break
            yield event
            if isinstance(event, End):
                return
        if self._over is not None:
            raise self._over

    # --- what its task does
    async def _run(self, socket: ClientConnection) -> None:
        try:
            while not await self._serve(socket):
                socket = await self._anew()
            self._over = ValueError("the stream has ended")
        except (ApiError, ServiceUnreachable) as error:
            self._over = error
        except asyncio.CancelledError:
            self._over = ValueError("the stream is closed")
            raise
        finally:
            self._room.set()
            with contextlib.suppress(asyncio.QueueFull):
                self._events.put_nowait(None)

    async def _serve(self, socket: ClientConnection) -> bool:
        """Whether it has come to its end; else the connection broke, or the service wants another. Raises ApiError."""
        writing = asyncio.create_task(self._write(socket))
        try:
            async for message in socket:
                event = event_of(json.loads(message))
                if isinstance(event, Failure):
                    failed = await _failed(socket, event)
                    if event.resumable and isinstance(failed, Overloaded):
                        return False
                    raise failed
                if isinstance(event, Ack):
                    self._backlog.drop(event.position)
                    self._room.set()
                    self._breaks = 0
                if event is not None and (news := self._told.news(event)) is not None:
                    if isinstance(news, End):
                        self.ended = news
                    await self._events.put(news)
                if self.ended:
                    return True
        except _gone():
            pass
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await _closed(socket)
        return False

    async def _write(self, socket: ClientConnection) -> None:
        ended = False
        with contextlib.suppress(*_gone()):  # who reads notices too
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

    async def _anew(self) -> ClientConnection:
        """Raises ServiceUnreachable, ApiError."""
        self._breaks += 1
        until, pause = time.monotonic() + RESUME_SECONDS, PAUSE_FIRST
        while True:
            self._start["from"] = self._backlog.position
            try:
                socket, _ = await self._connect()
            except (Overloaded, ServiceUnreachable):
                if self._breaks > MOST_BREAKS or time.monotonic() + pause > until:
                    raise
            else:
                if self._breaks > MOST_BREAKS:
                    await socket.close()
                    raise ServiceUnreachable(f"Each connection to {self._transport.base_url} breaks soon")
                self._backlog.rewind()
                return socket
            await asyncio.sleep(pause)
            pause = min(PAUSE_LAST, 2 * pause)

    async def _connect(self) -> tuple[ClientConnection, Ready]:
        """Raises ApiError, ServiceUnreachable."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus

        base = self._transport.base_url
        if not base.startswith(("http://", "https://")):
            raise ServiceUnreachable(f"{base!r} is no address of a service: it begins with http:// or https://")
        # as the requests: a proxy from the environment is for the outside world
        options: dict[str, Any] = {} if self._transport.http.trust_env else {"proxy": None}
        if base.startswith("https:"):
            options["ssl"] = httpx.create_ssl_context()
        headers = {
            name: self._transport.http.headers[name]
            for name in ("Authorization",)
            if name in self._transport.http.headers
        }
        try:
            socket = await connect(
                f"ws{base.removeprefix('http')}/api/v1/live",
                additional_headers=headers,
                compression=None,
                max_size=None,
                open_timeout=10.0,
                close_timeout=2.0,
                ping_interval=5.0,
                ping_timeout=10.0,
                **options,
            )
        except InvalidStatus as error:
            answer = error.response
            raise error_of(
                httpx.Response(
                    answer.status_code, headers=list(answer.headers.raw_items()), content=bytes(answer.body or b"")
                )
            ) from error
        except _gone() as error:
            number = (error.errno or 0) if isinstance(error, OSError) else 0
            said = os.strerror(number) if number > 0 else str(error)
            said = said or type(error).__name__
            raise ServiceUnreachable(
                f"Cannot reach {base} ({said}). Is the service running? Start it with: parascribe serve"
            ) from error
        try:
            async with asyncio.timeout(READY_SECONDS):
                await socket.send(json.dumps(self._start))
                first = event_of(json.loads(await socket.recv()))
            if isinstance(first, Failure):
                raise await _failed(socket, first)
            if not isinstance(first, Ready):
                raise ApiError(101, "not_parascribe", f"{base} answered, but not like a Parascribe service")
        except _gone() as error:
            await socket.close()
            raise ServiceUnreachable(f"The connection to {base} broke: {error or type(error).__name__}") from error
        except BaseException:
            await socket.close()
            raise
        return socket, first


async def _closed(socket: ClientConnection) -> None:
    try:
        await socket.close()
    except asyncio.CancelledError:
        socket.transport.abort()
        raise


async def _failed(socket: ClientConnection, failure: Failure) -> ApiError:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            await socket.wait_closed()
    status = 404 if failure.code == "live_session_not_found" else _STATUS.get(socket.close_code or 0, 500)
    problem = {"errors": failure.errors} if failure.errors else {}
    return kind_of(status)(status, failure.code, failure.message, problem)


def _gone() -> tuple[type[Exception], ...]:
    from websockets.exceptions import WebSocketException

    return OSError, EOFError, WebSocketException, TimeoutError
