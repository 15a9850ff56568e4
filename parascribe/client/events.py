"""The service's streams of events, opened anew when they break."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

from parascribe.client.answers import error_of, unreachable
from parascribe.client.errors import Overloaded, ServiceUnreachable
from parascribe.client.transport import Transport

OUTAGE_SECONDS = 60.0
"""How long `wait` bears a service that does not answer: a restart takes less."""
POLL_FIRST, POLL_LAST = 0.25, 5.0
"""Seconds between two looks at a job: after a change, and when nothing has changed for long."""
SILENCE_SECONDS = 40.0
"""A stream in which nothing comes for so long is broken: the service says something every 15."""

OPEN = "open"
"""An event of ours: the stream is open, for the first time or anew."""


class NotOffered(Exception):
    """The service has no events, or something in between lets none through."""


async def events_of(
    transport: Transport[Any], path: str, last: str, *, until: float = float("inf")
) -> AsyncGenerator[ServerSentEvent, None]:
    """Those of a stream, which is opened anew when it breaks; ends when the service says that all has been had.

    One without data is a sign of life: an id alone, or a comment.

    last: id of an event. until: on `time.monotonic`; then it ends too, at the next event or when it would be opened anew.
    Raises NotOffered, ServiceUnreachable, ApiError.
    """
    lost, pause, any_came = None, POLL_FIRST, False
    while True:
        fault: Exception | None = None
        opened = time.monotonic()
        patience = httpx.Timeout(10.0, read=max(1.0, min(SILENCE_SECONDS, until - opened)))
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"} | (
            {"Last-Event-ID": last} if last else {}
        )
        try:
            async with transport.stream("GET", path, headers=headers, timeout=patience) as answer:
                await _check_stream(answer)
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
                yield ServerSentEvent(event=OPEN)
                async with aclosing(EventSource(answer).aiter_sse()) as events:
                    async for event in events:
                        lost, pause, any_came, last = None, POLL_FIRST, True, event.id
                        yield event
                        if time.monotonic() > until:
                            return
        except Overloaded as error:
            fault, pause = error, max(pause, error.retry_after or 0.0)
        except httpx.TransportError as error:
            if isinstance(error, httpx.ReadTimeout) and not any_came:
                raise NotOffered("Nothing came of the job's events; is a proxy collecting them?") from error
            fault = ServiceUnreachable(unreachable(transport.base_url, error))
            if isinstance(error, httpx.UnsupportedProtocol):
                raise fault from error
        now = time.monotonic()
        if fault is None and now - opened > POLL_LAST:  # a stream in which nothing happened is none that was lost
            lost, pause = None, POLL_FIRST
        lost = lost or now
        if now + pause > until:
            return
        if now - lost > OUTAGE_SECONDS:
            raise fault or ServiceUnreachable(f"{transport.base_url} ends each stream of events at once")
        await transport.sleep(pause)
        pause = min(POLL_LAST, 2 * pause)


async def _check_stream(answer: httpx.Response) -> None:
    """Raises ApiError, NotOffered."""
    if not answer.is_success:
        await answer.aread()
        error = error_of(answer)
        if error.code in ("not_found", "http_404"):
            raise NotOffered("This service tells no events")
        raise error
    if answer.status_code != httpx.codes.NO_CONTENT and "text/event-stream" not in answer.headers.get(
        "Content-Type", ""
    ):
        raise NotOffered("What answered tells no events")
