"""Who asks: an identity, and what makes one of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.types import Scope

from core.keys import ADMIN, NO_LIMITS, SCOPES, KeyLimits


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who was let in. Two are equal when they see and may do the same, whatever they came in with."""

    #: whose jobs are theirs; None where nobody needs a key
    owner: str | None
    #: some of `core.keys.SCOPES`
    scopes: frozenset[str]
    #: None where nobody needs one
    key_id: str | None = field(default=None, compare=False)
    limits: KeyLimits = field(default=NO_LIMITS, compare=False)
    #: digest of the session whose cookie was shown in place of a key
    session: str | None = field(default=None, compare=False)

    @property
    def all_jobs(self) -> bool:
        return ADMIN in self.scopes

    def may(self, scopes: frozenset[str]) -> bool:
        """Whether one of these is among theirs; without any, everybody's key will do."""
        return self.all_jobs or not scopes or not self.scopes.isdisjoint(scopes)

    def sees(self, owner: str | None) -> bool:
        """Whether the jobs of that owner are there for this one."""
        return self.all_jobs or self.owner == owner


class Authenticator(Protocol):
    """Knows people by their requests."""

    async def identify(self, request: HTTPConnection) -> Identity:
        """Raises Unauthorized, Forbidden. request: HTTP or WebSocket, its head alone"""
        ...


class Open:
    """No keys: everybody is the one local owner."""

    LOCAL = Identity(owner=None, scopes=SCOPES)

    async def identify(self, request: HTTPConnection) -> Identity:
        return self.LOCAL


def identity_of(scope: Scope) -> Identity:
    """Who asks, as `Authentication` found out. KeyError, which is a 500, on an address that is open to all."""
    identity = scope["identity"]
    assert isinstance(identity, Identity)
    return identity
