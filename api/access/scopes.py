"""What a route is for: each says which scope it needs, once, where it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi.params import Depends as Declared
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from api.access.identity import Identity, identity_of
from core.errors import Forbidden

Check = Callable[[HTTPConnection], Awaitable[None]]

_DECLARED: dict[object, frozenset[str]] = {}


def needs(*scopes: str) -> Declared:
    """For `dependencies` of a route or a router: one of these scopes; without any, any key will do. Raises Forbidden."""
    wanted = frozenset(scopes)

    async def check(request: HTTPConnection) -> None:
        check_scope(identity_of(request.scope), wanted)

    _DECLARED[check] = wanted
    return Declared(dependency=check)


def check_scope(who: Identity, scopes: frozenset[str]) -> None:
    """Raises Forbidden."""
    if not who.may(scopes):
        raise Forbidden(f"This needs a key with the scope {' or '.join(sorted(scopes))}.")


def declared(route: BaseRoute) -> frozenset[str] | None:
    """What a route has said it needs; None when it has said nothing."""
    said = [_DECLARED[one.dependency] for one in getattr(route, "dependencies", ()) if one.dependency in _DECLARED]
    return said[-1] if said else None
