"""Bodies in JSON, which the framework reads as a whole: no larger than they have any reason to be."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from core.errors import TooLarge, refusal

MAX_BYTES = 64 * 1024


class SmallBody(APIRoute):
    """For `route_class` of a router: larger bodies are refused before more of them is read. Raises TooLarge, ValidationFailed."""

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

            try:
                return await handle(Request(request.scope, receive))
            except (
                HTTPException
            ) as error:  # how the framework says that it could not read it: no UTF-8, nested too deeply
                if error.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                raise refusal({"field": "body", "message": "this is no JSON"}) from None

        return bounded
