"""A client's WebSocket, whichever protocol it speaks: what it says and is told at the same time, as long as it may."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Never, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from core.errors import ServiceError, TransientError

STALL_SECONDS = 30.0
"""A client that takes nothing for so long is dropped; it can go on with its session."""
READMIT_SECONDS = 10.0
"""How often it is looked whether its key is still good."""

T = TypeVar("T")

GONE = (WebSocketDisconnect, WebSocketDisconnected, TimeoutError)
"""What is raised when a client has gone, or takes nothing for so long that it counts as gone."""


class Client:
    """A client's WebSocket: text and bytes come, JSON goes, one message at a time."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket, self._one = socket, asyncio.Lock()

    async def hear(self) -> str | bytes:
        """The next message. Raises WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | None = message.get("text")
        return text if text is not None else bytes(message.get("bytes") or b"")

    async def say(self, message: Mapping[str, Any]) -> None:
        """Raises TimeoutError when the client takes nothing."""
        async with asyncio.timeout(STALL_SECONDS), self._one:
            await self._socket.send_text(json.dumps(message, ensure_ascii=False))

    async def stay(self) -> Never:
        """Raises Unauthorized and the like when a request of this client's would be refused by now."""
        readmit: Callable[[], Awaitable[object]] | None = self._socket.scope.get("readmit")
        while True:
            await asyncio.sleep(READMIT_SECONDS)
            if readmit is not None:
                with contextlib.suppress(TransientError):  # nobody can tell now
                    await readmit()


class StreamOver(Exception):
    """The stream takes no more. last_word: whether it will say so itself, among what it tells"""

    def __init__(self, error: ServiceError, *, last_word: bool) -> None:
        super().__init__(error.message)
        self.error, self.last_word = error, last_word


async def both_ways(
    *, hear: Coroutine[Any, Any, Never], tell: Coroutine[Any, Any, T], stay: Coroutine[Any, Any, Never]
) -> T | None:
    """What `tell` comes to; raises what one of them raises first, and the error of a `StreamOver`.

    Of a stream that has a last word, `tell` is waited for, which has it.
    """
    hearing, telling, staying = asyncio.create_task(hear), asyncio.create_task(tell), asyncio.create_task(stay)
    tasks = (telling, hearing, staying)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        try:
            return await next(task for task in tasks if task.done())
        except StreamOver as over:
            if over.last_word:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STALL_SECONDS):
                        if (last := await telling) is not None:
                            return last
            raise over.error from over
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object of a message; None for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
