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
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from core.errors import ServiceError, ValidationFailed
from core.live.events import End, Event, Failure, Ready, event_in
from core.live.options import Start
from core.live.sending import ResumableStream, connected_anew
from core.live.sessions import RESUME_SECONDS
from parascribe.client.answers import error_of
from parascribe.client.errors import ApiError, Overloaded, ServiceUnreachable, kind_of
from parascribe.client.transport import Transport

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

READY_SECONDS = 60.0
"""How long a service may take to begin a stream."""
MOST_BREAKS = 10
"""So many connections in a row that broke before anything more was final: it is no accident."""
GOODBYE_SECONDS = 2.5
_STATUS: Final = {1008: 400, 1013: 503}
"""What HTTP would have said, by close code."""


class LiveStream:
    """One stream, made by `AsyncClient.live`: an asynchronous context manager, and an iterator over its events.

    The iterator ends behind `End`; take its events while you send, for once some hundreds wait, `send` does too. It raises ApiError when the service has broken the stream off (Overloaded: try again later), and
    ServiceUnreachable when it could not be reached anew within 30 s; so does `send`.
    """

    def __init__(self, transport: Transport[Any], options: Mapping[str, Any]) -> None:
        self._transport = transport
        self._start = {"type": "start"} | {name: value for name, value in options.items() if value is not None}
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
        after_end = ValueError("nothing may come after the end")
        self._stream = ResumableStream(wanted.stream, wanted.position, after_end=after_end)
        socket, self.ready = await self._connect()
        self._stream.ready(self.ready)
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
        await self._stream.send(audio)

    async def flush(self) -> None:
        """What has been said is an utterance, although there was no silence."""
        self._stream.flush()

    async def end(self) -> None:
        """Nothing more comes: the rest is told, then `End`."""
        self._stream.end()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._stream.next_event()) is not None:
            yield event
            if isinstance(event, End):
                return
        assert self._stream.over is not None
        raise self._stream.over

    # --- what its task does
    async def _run(self, socket: ClientConnection) -> None:
        try:
            while (end := await self._serve(socket)) is None:
                socket = await self._anew()
            self._stream.close(ValueError("the stream has ended"), end)
        except asyncio.CancelledError:
            self._stream.close(ValueError("the stream is closed"))
            raise
        except Exception as error:  # whatever it is: it is raised for who sends, and who listens
            self._stream.close(error)

    async def _serve(self, socket: ClientConnection) -> End | None:
        """How it has ended; None: the connection broke, or the service wants another. Raises ApiError."""
        try:
            async with self._stream.writing(socket):
                async for message in socket:
                    event = self._event(message)
                    if isinstance(event, Failure):
                        failed = await _failed(socket, event)
                        if event.resumable and isinstance(failed, Overloaded):
                            return None
                        raise failed
                    if isinstance(event, End):
                        self.ended = event
                        return event
                    if event is not None:
                        await self._stream.heard(event)
        except _gone():
            pass
        finally:
            await _closed(socket)
        return None

    async def _anew(self) -> ClientConnection:
        """Raises ServiceUnreachable, ApiError."""
        self._stream.breaks += 1
        self._start["from"] = self._stream.position
        given_up = self._stream.breaks > MOST_BREAKS
        socket, _ = await connected_anew(
            self._connect, seconds=0.0 if given_up else RESUME_SECONDS, missed=(Overloaded, ServiceUnreachable)
        )
        if given_up:
            await socket.close()
            raise ServiceUnreachable(f"Each connection to {self._transport.base_url} breaks soon")
        return socket

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
                first = self._event(await socket.recv())
            if isinstance(first, Failure):
                raise await _failed(socket, first)
            if not isinstance(first, Ready):
                raise self._strange()
        except _gone() as error:
            await socket.close()
            raise ServiceUnreachable(f"The connection to {base} broke: {error or type(error).__name__}") from error
        except BaseException:
            await socket.close()
            raise
        return socket, first

    def _event(self, message: str | bytes) -> Event | None:
        """Raises ApiError."""
        try:
            return event_in(message)
        except ServiceError as error:
            raise self._strange() from error

    def _strange(self) -> ApiError:
        return ApiError(
            101, "not_parascribe", f"{self._transport.base_url} answered, but not like a Parascribe service"
        )


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
