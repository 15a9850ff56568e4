"""The service's streams of events, opened anew when they break."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from parascribe.client.answers import error_of, unreachable
from parascribe.client.errors import Overloaded, ServiceUnreachable

OUTAGE_SECONDS = 60.0
"""How long `wait` bears a service that does not answer: a restart takes less."""
POLL_FIRST, POLL_LAST = 0.25, 5.0
"""Seconds between two looks at a job: after a change, and when nothing has changed for long."""
SILENCE_SECONDS = 40.0
"""A stream in which nothing comes for so long is broken: the service says something every 15."""


class NotOffered(Exception):
    """The service has no events, or something in between lets none through."""


def events_of(http: httpx.Client, base_url: str, path: str, last: str) -> Iterator[ServerSentEvent]:
    """Those of a stream, which is opened anew when it breaks; ends when the service says that all has been had.

    last: id of an event. Raises NotOffered.
    """
    lost, pause, any_came = None, POLL_FIRST, False
    patience = httpx.Timeout(10.0, read=SILENCE_SECONDS)
    while True:
        fault: Exception | None = None
        opened = time.monotonic()
        try:
            headers = {"Last-Event-ID": last} if last else {}
            with connect_sse(http, "GET", path, headers=headers, timeout=patience) as source:
                _check_stream(source.response)
                if source.response.status_code == httpx.codes.NO_CONTENT:
                    return
                for event in source.iter_sse():
                    lost, pause, any_came, last = None, POLL_FIRST, True, event.id
                    if event.data:  # a comment, which the library makes an event of once there has been an id
                        yield event
        except Overloaded as error:
            fault, pause = error, max(pause, error.retry_after or 0.0)
        except httpx.TransportError as error:
            if isinstance(error, httpx.ReadTimeout) and not any_came:
                raise NotOffered("Nothing came of the job's events; is a proxy collecting them?") from error
            fault = ServiceUnreachable(unreachable(base_url, error))
            if isinstance(error, httpx.UnsupportedProtocol):
                raise fault from error
        now = time.monotonic()
        if fault is None and now - opened > POLL_LAST:  # a stream in which nothing happened is none that was lost
            lost, pause = None, POLL_FIRST
        lost = lost or now
        if now - lost > OUTAGE_SECONDS:
            raise fault or ServiceUnreachable(f"{base_url} ends each stream of events at once")
        time.sleep(pause)
        pause = min(POLL_LAST, 2 * pause)


def _check_stream(answer: httpx.Response) -> None:
    """Raises ApiError, NotOffered."""
    if not answer.is_success:
        answer.read()
        error = error_of(answer)
        if error.code in ("not_found", "http_404"):
            raise NotOffered("This service tells no events")
        raise error
    if answer.status_code != httpx.codes.NO_CONTENT and "text/event-stream" not in answer.headers.get(
        "Content-Type", ""
    ):
        raise NotOffered("What answered tells no events")
