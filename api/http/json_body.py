"""Bodies in JSON, read as a whole: no larger than they have any reason to be, and in a time that has an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from core.errors import TooLarge, UploadTooSlow, refusal

MAX_BYTES = 64 * 1024

BODY_SECONDS = 120.0
"""How long a body may take to come."""


async def read_body(request: Request, most: int = MAX_BYTES) -> bytes:
    """All of it. Raises TooLarge before more of it is read, UploadTooSlow, ClientDisconnect."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                data += piece
                if len(data) > most:
                    raise TooLarge(f"The body is larger than the {most:,} bytes that this may have.", max_bytes=most)
    except TimeoutError:
        raise UploadTooSlow(f"Only {len(data):,} bytes came in {BODY_SECONDS:.0f} seconds.") from None
    return bytes(data)


class SmallBody(APIRoute):
    """For `route_class` of a router whose bodies the framework reads. Raises as `read_body`, and ValidationFailed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            unread = [await read_body(request)]

            async def receive() -> Message:
                if unread:
                    return {"type": "http.request", "body": unread.pop(), "more_body": False}
                return await request.receive()

            try:
                return await handle(Request(request.scope, receive))
            # how the framework says that it could not read it: no UTF-8, nested too deeply
            except HTTPException as error:
                if error.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                raise refusal({"field": "body", "message": "this is no JSON"}) from None

        return bounded
