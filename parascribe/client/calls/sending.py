"""One request and its answer, again where that may be: under every call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx

from parascribe.client.answers import error_of, form_text, unreachable
from parascribe.client.errors import ServiceUnreachable
from parascribe.client.transport import Transport

ATTEMPTS = 5
"""How often a request that may be repeated is sent when the connection breaks."""


class Sending:
    """Calls of one service. Every one may raise ServiceUnreachable or ApiError (`parascribe.client.errors`)."""

    def __init__(self, transport: Transport[Any]) -> None:
        self._transport = transport

    @property
    def base_url(self) -> str:
        """The service's address."""
        return self._transport.base_url

    async def _send(
        self, method: str, path: str, *, repeat: bool = True, done: str = "", **options: Any
    ) -> httpx.Response:
        return await self._attempt(lambda: self._transport.request(method, path, **options), repeat=repeat, done=done)

    async def _attempt(
        self, send: Callable[[], Awaitable[httpx.Response]], *, repeat: bool = True, done: str = ""
    ) -> httpx.Response:
        """Send, and send again when the connection broke or our own key is still being received.

        done: the error code that says, to what is sent again, that it was done the first time
        """
        broke = False
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not repeat
            pause = 0.25 * 2**attempt
            try:
                answer = await send()
            except httpx.TransportError as error:
                refused = isinstance(error, httpx.ConnectError) and attempt == 1
                unusable = isinstance(error, httpx.UnsupportedProtocol)
                if last or refused or unusable:
                    raise ServiceUnreachable(unreachable(self.base_url, error)) from error
                broke = True
            else:
                if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
                    return answer
                error_ = error_of(answer)
                if broke and error_.code == done:
                    return answer
                if last or error_.code != "idempotency_in_flight" or attempt == 1:
                    raise error_
                pause = max(pause, error_.retry_after or 0.0)
            await self._transport.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")


def path_of(*parts: str) -> str:
    """Path of what has these names, which may have any letters: `path_of("jobs", job_id, "result")`."""
    return "/".join(["/api/v1", *(quote(part, safe="", errors="replace") for part in parts)])


def query_of(**given: object) -> dict[str, str]:
    """Those that are not None, as queries have them."""
    return {name: form_text(value) for name, value in given.items() if value is not None}
