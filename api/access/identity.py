"""Who asks: an identity, and what makes one of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.types import Scope

from core.errors import Unauthorized

ADMIN = "admin"
"""The scope that sees everybody's jobs, and the figures."""

SCOPES = frozenset({"jobs", "models", ADMIN})
"""All there are."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who was let in."""

    #: whose jobs are theirs; None where nobody needs a key
    owner: str | None
    #: some of SCOPES
    scopes: frozenset[str]

    @property
    def all_jobs(self) -> bool:
        return ADMIN in self.scopes

    def sees(self, owner: str | None) -> bool:
        """Whether the jobs of that owner are there for this one."""
        return self.all_jobs or self.owner == owner


class Authenticator(Protocol):
    """Knows people by their requests."""

    async def identify(self, request: HTTPConnection) -> Identity:
        """Raises Unauthorized. request: HTTP or WebSocket, its head alone"""
        ...


class Open:
    """No keys: everybody is the one local owner."""

    LOCAL = Identity(owner=None, scopes=SCOPES)

    async def identify(self, request: HTTPConnection) -> Identity:
        return self.LOCAL


class Tokens:
    """A table in memory of who has which token, given as `Authorization: Bearer` or `X-API-Key`."""

    def __init__(self, table: Mapping[str, Identity]) -> None:
        # by digest: how long a look takes says nothing of a token that is nearly right
        self._known = {_digest(token): identity for token, identity in table.items()}

    async def identify(self, request: HTTPConnection) -> Identity:
        identity = self._known.get(_digest(token_of(request)))
        if identity is None:
            raise Unauthorized
        return identity


def token_of(request: HTTPConnection) -> str:
    """Raises Unauthorized when the request carries none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if key := request.headers.get("x-api-key", ""):
        return key
    raise Unauthorized


def identity_of(scope: Scope) -> Identity:
    """Who asks, as `Authentication` found out. KeyError, which is a 500, on an address that is open to all."""
    identity = scope["identity"]
    assert isinstance(identity, Identity)
    return identity


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
