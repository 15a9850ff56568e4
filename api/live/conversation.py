"""A client's WebSocket and its stream: what comes goes on, what is told goes back, and whoever is done ends both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Never

from fastapi.concurrency import run_in_threadpool
from starlette.websockets import WebSocket

from api.access.identity import Identity
from api.live.client import GONE, Client, StreamOver, both_ways, parsed
from api.live.closing import NORMAL, close_code, failure_of
from api.live.link import LiveLink, LiveLinks
from core.errors import LiveIdle, LiveProtocol, ServiceError, refusal
from core.live.events import End, Failure
from core.live.options import Start

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""How long a client may be connected without having said what it wants."""


async def converse(socket: WebSocket, links: LiveLinks, who: Identity, admit: Callable[[Start], None]) -> None:
    """The whole of it, from an accepted connection to a closed one.

    admit: raises when this one may not begin that stream; in a thread
    """
    client = Client(socket)
    with contextlib.suppress(*GONE):  # the client may go at any moment
        try:
            message = await _first(client)
            await run_in_threadpool(admit, Start.of(message))
            link = await links.open(message, who)
        except ServiceError as error:
            await _close(socket, client, failure_of(error))
            return
        try:
            await client.say(link.ready.to_dict())
            last = await both_ways(hear=_hear(client, link), tell=_tell(client, link), stay=client.stay())
        except ServiceError as error:
            last = failure_of(error)
        finally:
            await link.close()
        if isinstance(last, Failure):
            await _close(socket, client, last)
        elif last is not None:
            await socket.close(NORMAL)


async def _first(client: Client) -> dict[str, Any]:
    """Raises LiveIdle, LiveProtocol; WebSocketDisconnect."""
    try:
        async with asyncio.timeout(START_SECONDS):
            message = await client.hear()
    except TimeoutError:
        raise LiveIdle("Nothing has come: the first message is `start`.") from None
    said = _said(message) if isinstance(message, str) else {}
    if said.get("type") != "start":
        raise LiveProtocol("The first message is `start`, as JSON.")
    return said


async def _hear(client: Client, link: LiveLink) -> Never:
    """Until the client goes. Raises LiveProtocol and ValidationFailed for what no client may say, StreamOver when no more is taken."""
    ended = False
    while True:
        message = await client.hear()
        if ended:
            raise LiveProtocol("Nothing may come after `end`.")
        word = _word(message) if isinstance(message, str) else None
        try:
            if isinstance(message, bytes):
                if message:
                    await link.send(message)
            elif word == "flush":
                await link.flush()
            else:
                ended = True
                await link.end()
        except ServiceError as error:
            raise StreamOver(error, last_word=True) from error


async def _tell(client: Client, link: LiveLink) -> End | Failure | None:
    """What is told of the stream, up to its last event; a failure is left to be told."""
    async for event in link.events():
        if isinstance(event, Failure):
            return event
        await client.say(event.to_dict())
        if isinstance(event, End):
            return event
    return None


def _word(text: str) -> str:
    """What is said between audio: "flush" or "end". Raises LiveProtocol, ValidationFailed."""
    said = _said(text)
    word = said.get("type")
    if word not in ("flush", "end"):
        raise LiveProtocol(f"There is no message of the type {word!r} within a stream.")
    if more := sorted(said.keys() - {"type"}):
        raise refusal(*({"field": name, "message": "Extra inputs are not permitted"} for name in more))
    return str(word)


def _said(text: str) -> dict[str, Any]:
    said = parsed(text)
    if said is None:
        raise LiveProtocol("Messages are JSON objects, or audio as binary ones.")
    return said


async def _close(socket: WebSocket, client: Client, failure: Failure) -> None:
    if failure.code == ServiceError.code:
        log.warning("A live stream failed: %s", failure.message)
    await client.say(failure.to_dict())
    await socket.close(close_code(failure), reason=failure.code)
