"""A connection to a live process, until it says that the stream can begin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import WebSocketException

from api.access.identity import Identity
from api.live.closing import error_of
from api.live.where import Place
from core.errors import LiveUnavailable
from core.live.events import Failure, Ready, event_in
from core.live.wire import OWNER_HEADER

OPEN_SECONDS = 5.0
"""For connection and handshake."""
EVENT_BYTES = 1 << 20
"""Of one message from the process: a final with its words is 10 KB."""

GONE: Final = (OSError, EOFError, WebSocketException, TimeoutError)
"""What a connection raises that cannot be had, or is broken."""


async def dial(
    place: Place, message: Mapping[str, Any], who: Identity, seconds: float
) -> tuple[ClientConnection, Ready]:
    """Begin a stream there. Raises LiveUnavailable when it does not answer, and what it refuses the stream for."""
    headers = {"Authorization": f"Bearer {place.token}"}
    if who.owner is not None:
        headers[OWNER_HEADER] = quote(who.owner, safe="")
    options: dict[str, Any] = {
        "additional_headers": headers,
        "compression": None,
        "max_size": EVENT_BYTES,
        "open_timeout": OPEN_SECONDS,
        "close_timeout": 1.0,
        "ping_interval": None,  # one that waits for its engine reads nothing, and answers none; it tells something all the while
    }
    try:
        if place.path is not None:
            socket = await unix_connect(place.path, "ws://localhost/", **options)
        else:
            socket = await connect(f"ws://{place.address}/", proxy=None, **options)
    except GONE as error:
        raise LiveUnavailable(str(error) or type(error).__name__) from error
    try:
        async with asyncio.timeout(seconds):
            await socket.send(json.dumps({"type": "start"} | dict(message)))
            first = event_in(await socket.recv())
        if isinstance(first, Failure):
            # a database that is away comes back, and a process that stops has neighbours
            raise LiveUnavailable(first.message) if first.resumable else error_of(first)
        if not isinstance(first, Ready):
            raise LiveUnavailable("It does not say `ready`.")
    except GONE as error:
        await socket.close()
        raise LiveUnavailable(str(error) or type(error).__name__) from error
    except BaseException:
        await socket.close()
        raise
    return socket, first
