"""Nobody gets past this without an identity: it stands before every route and every short way to an answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.identity import Authenticator
from api.http.problems import told
from core.errors import Forbidden, ServiceError, Unauthorized

Told = Callable[[str, str, ServiceError], Response]
"""As `api.http.problems.told`."""

OPEN = frozenset({"/healthz", "/readyz", "/version", "/docs", "/openapi.json"})
"""Open to all."""

OPEN_FILES = "/docs/static/"
"""What the page /docs is made of."""

METRICS = "/metrics"
"""For this machine, and for administrators."""


class Authentication:
    """Puts `identity` into the scope, or answers 401. WebSockets are refused before they are accepted.

    foreign: the shapes of errors of other people's interfaces, by the path under which they lie
    """

    def __init__(
        self, app: ASGIApp, *, authenticator: Authenticator, foreign: Mapping[str, Told] | None = None
    ) -> None:
        self._app, self._authenticator = app, authenticator
        self._foreign = foreign or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            try:
                await self._admit(scope)
            except ServiceError as error:
                path = _below_root(scope)
                shapes = [tell for prefix, tell in self._foreign.items() if path.startswith(f"{prefix}/")]
                return await refuse(scope, receive, send, error, *shapes[:1])
        return await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        path = _below_root(scope)
        if path in OPEN or path.startswith(OPEN_FILES):
            return
        try:
            identity = scope["identity"] = await self._authenticator.identify(HTTPConnection(scope))
        except Unauthorized:
            if path == METRICS and _is_local(scope):
                return
            raise
        if path == METRICS and not identity.all_jobs and not _is_local(scope):
            raise Forbidden


async def refuse(scope: Scope, receive: Receive, send: Send, error: ServiceError, tell: Told = told) -> None:
    """Answer with an error: a WebSocket before it is accepted."""
    if scope["type"] == "websocket":
        await receive()  # the wish to connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            return await send({"type": "websocket.close", "code": 1008, "reason": error.code})
    return await tell(scope.get("method", "WEBSOCKET"), scope["path"], error)(scope, receive, send)


def _below_root(scope: Scope) -> str:
    """The path as the router matches it, where a proxy serves a sub-path."""
    root, path = scope.get("root_path", ""), str(scope["path"])
    return path[len(root) :] if path.startswith(f"{root}/") else path


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
