"""What is done for every request: an id, safe headers, a log line, figures; HEAD; and a body nobody read."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import internal
from core.system import logs, tracing

log = logging.getLogger(__name__)

REQUEST_ID, TRACEPARENT = "X-Request-ID", "traceparent"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

LINGER_SECONDS, LINGER_IDLE, LINGER_BYTES = 10.0, 2.0, 64 << 20
"""How long, how patiently and how much of an unread body is read after the answer (as nginx's lingering_close)."""

Observe = Callable[[str, str, int, float], None]
"""(method or WEBSOCKET, route template, status, seconds to the first byte of the answer)"""


class RequestLog:
    """Outermost but one: no exception passes it, every response gets its headers and its log line."""

    def __init__(self, app: ASGIApp, *, observe: Observe) -> None:
        self._app, self._observe = app, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        start = time.perf_counter()
        status, seconds = 0, 0.0

        async def send_on(message: Message) -> None:
            nonlocal status, seconds
            if not status and (status := _status_of(message)):
                seconds = time.perf_counter() - start
                if message["type"] != "websocket.close":
                    _add_headers(MutableHeaders(scope=message), request_id, scope["path"])
            await send(message)

        caller = Headers(scope=scope).get(TRACEPARENT)
        traced = tracing.span(method, {"request_id": request_id}, kind="server", parent=caller)
        with logs.bound(request_id=request_id), traced as span:
            try:
                await self._app(scope, receive, send_on)
            except Exception:
                log.exception("%s %s failed (request %s)", method, scope["path"], request_id)
                # half an answer is out, or a WebSocket is open or refused: the server has to break the connection
                if status or scope["type"] == "websocket":
                    raise
                await internal(scope["path"])(scope, receive, send_on)
            finally:
                seconds = seconds or time.perf_counter() - start  # nobody was there any more
                route = getattr(scope.get("route"), "path", "unmatched")
                # a client that follows its job asks many times a minute
                level = logging.DEBUG if method in ("GET", "HEAD") and status < 400 else logging.INFO
                log.log(level, "%s %s -> %d in %.3f s (request %s)", method, scope["path"], status, seconds, request_id)
                self._observe(method, route, status, seconds)
                span.http(method, route, status)


def _status_of(message: Message) -> int:
    """What a message to the client says of the outcome; 0 = nothing. A WebSocket is 101 or, refused without a word, 403."""
    known = {"websocket.accept": 101, "websocket.close": 403}
    return int(message.get("status", known.get(message["type"], 0)))


def _add_headers(headers: MutableHeaders, request_id: str, path: str) -> None:
    headers[REQUEST_ID] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Cache-Control", "no-store")
    if not path.startswith("/docs"):  # the documentation page loads scripts
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")


HEAD_ONLY = "parascribe.head_only"
"""In the scope of a GET that was a HEAD: for routes whose content is too long to be made for nobody."""


class HeadAsGet:
    """HEAD wherever GET is (RFC 9110 §9.3.2): the same answer with the same headers; the server leaves out the content.

    The framework knows HEAD only of routes that name it, so what is behind this sees a GET; what has no end finds `head` in
    the scope.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # a copy: by the method in its own the server knows that no content goes out
        asked = {**scope, "method": "GET", HEAD_ONLY: True}
        try:
            await self._app(asked, receive, send)
        finally:
            if "route" in asked:  # for log and figures
                scope["route"] = asked["route"]


class LingeringClose:
    """Answers that come before the body has been read reach ordinary clients.

    A client that is still sending does not look at the answer, and if the server just closes, the
    connection is reset under it and the answer may be lost. So the answer goes out at once and in full,
    the rest of the body is read for a while and thrown away, and only then the connection is closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        ended = asked = False

        async def receive_on() -> Message:
            nonlocal ended, asked
            asked = True
            message = await receive()
            ended = ended or message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def send_on(message: Message) -> None:
            if ended:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                # who asked before sending (Expect: 100-continue) and was not told to go on sends nothing
                if asked or not Headers(scope=scope).get("expect"):
                    await _linger(receive_on, lambda: ended)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, receive_on, send_on)


async def _linger(receive: Receive, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LINGER_SECONDS
    left = LINGER_BYTES
    while not ended() and left > 0 and (patience := min(LINGER_IDLE, deadline - time.monotonic())) > 0:
        try:
            async with asyncio.timeout(patience):
                message = await receive()
        except TimeoutError:
            return
        left -= len(message.get("body", b""))


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
