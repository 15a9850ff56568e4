"""A client's WebSocket and its stream: what comes goes on, what is told goes back, and whoever is done ends both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from api.access.identity import Identity
from api.live.closing import NORMAL, close_code, failure_of
from api.live.link import LiveLink, LiveLinks
from core.errors import LiveIdle, LiveProtocol, ServiceError, TransientError
from core.live.events import End, Failure
from core.live.options import Start

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""How long a client may be connected without having said what it wants."""
STALL_SECONDS = 30.0
"""A client that takes nothing for so long is dropped; it can go on with its session."""
READMIT_SECONDS = 10.0
"""How often it is looked whether its key is still good."""

_GONE = (WebSocketDisconnect, WebSocketDisconnected, TimeoutError)


async def converse(socket: WebSocket, links: LiveLinks, who: Identity, admit: Callable[[Start], None]) -> None:
    """The whole of it, from an accepted connection to a closed one.

    admit: raises when this one may not begin that stream; in a thread
    """
    with contextlib.suppress(*_GONE):  # the client may go at any moment
        try:
            message = await _first(socket)
            await run_in_threadpool(admit, Start.of(message))
            link = await links.open(message, who)
        except ServiceError as error:
            await _close(socket, failure_of(error))
            return
        try:
            await _say(socket, link.ready.to_dict())
            last = await _both_ways(socket, link)
        finally:
            await link.close()
        if isinstance(last, Failure):
            await _close(socket, last)
        elif last is not None:
            await socket.close(NORMAL)


async def _both_ways(socket: WebSocket, link: LiveLink) -> End | Failure | None:
    """How it ended; None: the client is gone."""
    receiving = asyncio.create_task(_receive(socket, link))
    telling = asyncio.create_task(_tell(socket, link))
    staying = asyncio.create_task(_stay(socket.scope.get("readmit")))
    tasks = {receiving, telling, staying}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(task for task in (telling, receiving, staying) if task.done())
        try:
            ended = await first
        except LiveProtocol as error:
            return failure_of(error)
        except ServiceError as error:
            if first is receiving:  # the stream has failed: its own last word says why
                async with asyncio.timeout(STALL_SECONDS):
                    return await telling or failure_of(error)
            return failure_of(error)
        return ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first(socket: WebSocket) -> dict[str, Any]:
    """Raises LiveIdle, LiveProtocol; WebSocketDisconnect."""
    try:
        async with asyncio.timeout(START_SECONDS):
            message = await socket.receive()
    except TimeoutError:
        raise LiveIdle("Nothing has come: the first message is `start`.") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    said = _said(message.get("text"))
    if said.get("type") != "start":
        raise LiveProtocol("The first message is `start`, as JSON.")
    return said


async def _receive(socket: WebSocket, link: LiveLink) -> None:
    """Until the client goes. Raises LiveProtocol for what no client may say, and what the stream has failed for."""
    ended = False
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        audio = message.get("bytes")
        if ended:
            raise LiveProtocol("Nothing may come after `end`.")
        if audio is not None:
            if audio:
                await link.send(audio)
            continue
        match _said(message.get("text")):
            case {"type": "flush"}:
                await link.flush()
            case {"type": "end"}:
                ended = True
                await link.end()
            case other:
                raise LiveProtocol(f"There is no message of the type {other.get('type')!r} within a stream.")


async def _tell(socket: WebSocket, link: LiveLink) -> End | Failure | None:
    """What is told of the stream, up to its last event; a failure is left to be told."""
    async for event in link.events():
        if isinstance(event, Failure):
            return event
        await _say(socket, event.to_dict())
        if isinstance(event, End):
            return event
    return None


async def _stay(readmit: Callable[[], Awaitable[object]] | None) -> None:
    """Raises when a request of this client's would be refused by now."""
    while True:
        await asyncio.sleep(READMIT_SECONDS)
        if readmit is not None:
            with contextlib.suppress(TransientError):  # nobody can tell now
                await readmit()


def _said(text: str | None) -> dict[str, Any]:
    try:
        said = json.loads(text or "")
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise LiveProtocol("Messages are JSON objects, or audio as binary ones.")
    return said


async def _say(socket: WebSocket, message: dict[str, Any]) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await socket.send_text(json.dumps(message, ensure_ascii=False))


async def _close(socket: WebSocket, failure: Failure) -> None:
    if failure.code == ServiceError.code:
        log.warning("A live stream failed: %s", failure.message)
    await _say(socket, failure.to_dict())
    await socket.close(close_code(failure), reason=failure.code)
