"""A client that streams and is told meanwhile: what other people's live protocols have in common."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from api.live.conversation import READMIT_SECONDS, STALL_SECONDS
from core.errors import ServiceError, TransientError

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

    async def stay(self) -> None:
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


Work = Coroutine[Any, Any, None]


async def both_ways(*, hear: Work, tell: Work, stay: Work) -> None:
    """Until one of them has ended; raises what that has raised, and the error of a `StreamOver`.

    Of a stream that has a last word, `tell` is waited for, which has it.
    """
    hearing, telling, staying = tasks = [asyncio.create_task(work) for work in (hear, tell, stay)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(task for task in (telling, hearing, staying) if task.done())
        try:
            await first
        except StreamOver as over:
            if over.last_word:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STALL_SECONDS):
                        await telling
            raise over.error from over
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Whole:
    """Samples in any pieces, cut so that no frame is torn. frame: bytes of one sample of every channel"""

    def __init__(self, frame: int) -> None:
        self._frame, self._rest = frame, b""

    def of(self, audio: bytes) -> bytes:
        """What can be passed on now."""
        audio = self._rest + audio
        end = len(audio) - len(audio) % self._frame
        self._rest = audio[end:]
        return audio[:end]


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object of a message; None for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class Growing:
    """A text of which more and more is certain: gives what is new, so that the pieces put together are the text."""

    def __init__(self) -> None:
        self.told = ""

    def more(self, text: str) -> str:
        """What follows what was told; nothing where it was told otherwise."""
        if not text.startswith(self.told):
            return ""
        new, self.told = text[len(self.told) :], text
        return new
