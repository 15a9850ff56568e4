"""Nobody gets past this without an identity: it stands before every route and every short way to an answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import partial

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.identity import Authenticator
from api.http.problems import Told, refused, told
from core.errors import Forbidden, ServiceError

OPEN = frozenset({"/", "/favicon.ico", "/healthz", "/readyz", "/version", "/docs", "/openapi.json"})
"""Open to all."""

OPEN_FILES = ("/docs/static/", "/page/")
"""What the pages /docs and / are made of."""

METRICS = "/metrics"
"""For this machine, and for administrators."""


class Authentication:
    """Puts `identity` and `told` (the shape of errors) into the scope, or answers 401. What lasts finds `readmit` there: awaited,
    it raises when the request would be refused by now.

    foreign: the shapes of errors of other people's interfaces, by the path that they have or lie under
    """

    def __init__(
        self, app: ASGIApp, *, authenticator: Authenticator, foreign: Mapping[str, Told] | None = None
    ) -> None:
        self._app, self._authenticator = app, authenticator
        self._foreign = foreign or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = _below_root(scope)
            scope["told"] = next(
                (tell for place, tell in self._foreign.items() if path == place or path.startswith(f"{place}/")), told
            )
            try:
                await self._admit(scope)
            except ServiceError as error:
                return await refused(scope, receive, send, error)
        return await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        path = _below_root(scope)
        if path in OPEN or path.startswith(OPEN_FILES) or (path == METRICS and _is_local(scope)):
            return
        scope["readmit"] = partial(self._authenticator.identify, HTTPConnection(scope))
        identity = scope["identity"] = await scope["readmit"]()
        if path == METRICS and not identity.all_jobs:
            raise Forbidden


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
