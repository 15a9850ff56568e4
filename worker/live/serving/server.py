"""Live streams over WebSockets: who may come in, what is said first, and how it is said that no more comes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import json
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from core.errors import HandedBack, LiveProtocol, ServiceError, TransientError, ValidationFailed
from core.live.events import Event
from core.live.options import Start
from core.live.wire import MESSAGE_BYTES, OWNER_HEADER
from worker.context.figures import LiveCounted, Tell, nobody
from worker.live.serving.closing import close_code, failure_of
from worker.live.serving.parts import ClientGone
from worker.live.serving.queues import Command
from worker.live.serving.streams import Streams

log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)  # who knocks with something that is no WebSocket is no error of ours

START_SECONDS = 10.0
"""For handshake and first message, each."""

PING_SECONDS = 15.0
"""Between two pings, and for the answer: a peer that is dead is found out within twice that."""

CLOSE_SECONDS = 2.0

ROOM = 4 * MESSAGE_BYTES
"""Larger messages are not even read; of those below, who sent more than MESSAGE_BYTES is told why he is refused."""

COMMANDS = {"flush": Command.FLUSH, "end": Command.END}


class LiveServer:
    """token: what every connection has to show, as `Authorization: Bearer`"""

    def __init__(self, streams: Streams, token: str, *, tell: Tell = nobody) -> None:
        self._streams, self._token, self._tell = streams, token, tell
        self._servers: list[Server] = []

    async def listen(self, path: Path | None = None, sock: socket.socket | None = None) -> None:
        """Take streams at a Unix socket, or at one that listens already. Raises OSError."""
        options: dict[str, Any] = {
            "process_request": self._admit,
            "compression": None,
            "max_size": ROOM,
            "max_queue": 4,
            "open_timeout": START_SECONDS,
            "ping_interval": PING_SECONDS,
            "ping_timeout": PING_SECONDS,
            "close_timeout": CLOSE_SECONDS,
            "server_header": None,
            "logger": _quiet,
        }
        if path is not None:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 (of a process before this one; nothing else runs yet)
            self._servers.append(await unix_serve(self._handle, path, **options))
        if sock is not None:
            self._servers.append(await serve(self._handle, sock=sock, **options))

    async def stop(self) -> None:
        """Take no more streams, and let go of those that there are."""
        for server in self._servers:
            server.close(close_connections=False)
        await self._streams.stop()
        for server in self._servers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS + 1):
                    await server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(errors="replace"), f"Bearer {self._token}".encode()):
            return None
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "This needs the token of this live process.\n")

    async def _handle(self, connection: ServerConnection) -> None:
        client = _WebSocket(connection)
        try:
            failure = await self._serve(connection, client)
            with contextlib.suppress(ConnectionClosed):
                await connection.close(close_code(failure), getattr(failure, "code", ""))
        except Exception:
            log.exception("A live connection failed")
            await connection.close(close_code(ServiceError()))

    async def _serve(self, connection: ServerConnection, client: _WebSocket) -> BaseException | None:
        assert connection.request is not None
        owner = connection.request.headers.get(OWNER_HEADER)
        try:
            try:
                async with asyncio.timeout(START_SECONDS):
                    start = await client.start()
            except TimeoutError:
                raise LiveProtocol("Nothing has come: a stream begins with a message of the type `start`.") from None
            stream = await self._streams.begin(start, unquote(owner) if owner is not None else None)
        except ClientGone as gone:
            return gone
        except Exception as error:
            self._tell(LiveCounted(what="refusal", code=getattr(error, "code", "internal")))
            with contextlib.suppress(ClientGone):
                await client.send(failure_of(error, resumable=isinstance(error, HandedBack | TransientError)))
            return error
        return await self._streams.attend(stream, client)


class _WebSocket:
    """A `worker.live.serving.parts.Client`."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def start(self) -> Start:
        """Raises LiveProtocol, ValidationFailed, ClientGone."""
        message = await self._receive()
        if isinstance(message, bytes):
            raise LiveProtocol("Audio has come before a message of the type `start`.")
        said = _said(message)
        if said.get("type") != "start":
            raise LiveProtocol("A stream begins with a message of the type `start`.")
        return Start.of(said)

    async def receive(self) -> bytes | Command:
        message = await self._receive()
        if isinstance(message, bytes):
            return message
        said = _said(message)
        command = COMMANDS.get(str(said.get("type")))
        if command is None:
            raise LiveProtocol(
                "A stream begins once." if said.get("type") == "start" else "The type of a message is `flush` or `end`."
            )
        if said.keys() != {"type"}:
            raise ValidationFailed(f"Nothing can be said with `{said['type']}`.")
        return command

    async def send(self, event: Event) -> None:
        try:
            await self._connection.send(json.dumps(event.to_dict(), ensure_ascii=False))
        except ConnectionClosed as error:
            raise ClientGone from error

    async def _receive(self) -> str | bytes:
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise ClientGone from error
        if len(message) > MESSAGE_BYTES:
            raise LiveProtocol(f"A message has {MESSAGE_BYTES} bytes at most.")
        return message


def _said(message: str) -> Mapping[str, Any]:
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise LiveProtocol("A text message is a JSON object.")
    return said
