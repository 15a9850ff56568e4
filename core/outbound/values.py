"""Rules and answers, for those who do without the client until they need it: it loads httpx."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.system.cancel import Cancel


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is allowed, in seconds and bytes."""

    #: also loopback, private and shared networks; never link-local ones, multicast or a cloud's metadata
    allow_private: bool = False
    #: None: any
    ports: frozenset[int] | None = None
    #: how many a download follows, each checked like the first address
    redirects: int = 0
    connect_seconds: float = 10.0
    #: of silence
    read_seconds: float = 15.0
    #: for all of it
    total_seconds: float = 15.0
    #: of the answer's body: a download that has more is refused, of what a POST gets the rest is not read
    max_bytes: int = 64 * 1024
    #: certificates that are trusted; None: those that browsers trust
    tls: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """To a POST. body: its beginning"""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Post(Protocol):
    """What sends messages (`core.outbound.client.Outbound`)."""

    def check(self, url: str) -> None:
        """What can be said of an address without asking anybody. Raises UrlRefused."""
        ...

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, cancel: Cancel | None = None) -> Answer:
        """Send, once; a redirect is an answer like others. Raises UrlRefused, UrlUnreachable, Cancelled."""
        ...
