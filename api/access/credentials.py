"""What a request shows: a key in a header, or the cookie of a browser that has shown its key before."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from core.errors import Forbidden, Unauthorized

COOKIE = "parascribe_session"

SUBPROTOCOL = "openai-insecure-api-key."
"""Before a key, where one is offered as the subprotocol of a WebSocket."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing (RFC 9110 §9.2.1)."""


class Credential(NamedTuple):
    """cookie: whether it is that of a session; else it is a key"""

    text: str
    cookie: bool = False


def credential_of(request: HTTPConnection) -> Credential:
    """`Authorization: Bearer` (or Deepgram's `Token`), else `X-API-Key`, else what a WebSocket of a page can say, else the cookie.

    Raises Unauthorized when there is none. What a browser sends by itself counts only for reading, or when our own page has sent it: raises Forbidden.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token") and token.strip():
        return Credential(token.strip())
    if key := request.headers.get("x-api-key", ""):
        return Credential(key)
    if key := _offered(request):
        return Credential(key)
    if cookie := request.cookies.get(COOKIE, ""):
        if request.scope.get("method") not in SAFE_METHODS and not from_own_page(request):
            raise Forbidden("With a cookie this is done from the service's own page only; programs send their key.")
        return Credential(cookie, cookie=True)
    raise Unauthorized


def _offered(request: HTTPConnection) -> str:
    """The key among the subprotocols that a WebSocket's client offers: a page's script can set no header.

    As OpenAI's clients do it (`openai-insecure-api-key.KEY`), and Deepgram's (`token, KEY` or `bearer, KEY`).
    """
    if request.scope["type"] != "websocket":
        return ""
    offered: list[str] = request.scope.get("subprotocols", [])
    named = (one.removeprefix(SUBPROTOCOL) for one in offered if one.startswith(SUBPROTOCOL))
    if len(offered) == 2 and offered[0].lower() in ("token", "bearer"):
        return offered[1]
    return next(named, "")


def for_this_machine(request: HTTPConnection) -> bool:
    """Whether the address asked for is one of this machine's own names, and no other page's script asks.

    A page of the internet can have its own name resolve to 127.0.0.1 (DNS rebinding), and any page can send forms here.
    """
    host, origin = request.headers.get("host"), request.headers.get("origin")
    if host is None:  # HTTP/1.0: no browser
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
        known = name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
    return known and (origin is None or from_own_page(request))


def from_own_page(request: HTTPConnection) -> bool:
    """Whether `Origin` names this service. TLS may end before us (https there, http here), but never the other way round."""
    origin = request.headers.get("origin", "")
    host = request.headers.get("host", "")
    if not host or origin in ("", "null"):
        return False
    secure = request.scope.get("scheme") in ("https", "wss")
    try:
        given = urlsplit(origin)
    except ValueError:  # half an IPv6 address
        return False
    return given.netloc.lower() == host.lower() and given.scheme in (("https",) if secure else ("http", "https"))
