"""Bodies in JSON, which the framework reads as a whole: no larger than they have any reason to be."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from core.errors import TooLarge

MAX_BYTES = 64 * 1024


class SmallBody(APIRoute):
    """For `route_class` of a router: larger bodies are refused before more of them is read. Raises TooLarge."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            body = bytearray()
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BYTES:
                    raise TooLarge(f"The body is larger than {MAX_BYTES:,} bytes.", max_bytes=MAX_BYTES)
            unread = [bytes(body)]

            async def receive() -> Message:
                if unread:
                    return {"type": "http.request", "body": unread.pop(), "more_body": False}
                return await request.receive()

            return await handle(Request(request.scope, receive))

        return bounded
