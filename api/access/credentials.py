"""What a request shows: a key in a header, or the cookie of a browser that has shown its key before."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from core.errors import Forbidden, Unauthorized

COOKIE = "parascribe_session"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing (RFC 9110 §9.2.1)."""


class Credential(NamedTuple):
    """cookie: whether it is that of a session; else it is a key"""

    text: str
    cookie: bool = False


def credential_of(request: HTTPConnection) -> Credential:
    """`Authorization: Bearer`, else `X-API-Key`, else the cookie. Raises Unauthorized when there is none.

    What a browser sends by itself counts only for reading, or when our own page has sent it: raises Forbidden.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return Credential(token.strip())
    if key := request.headers.get("x-api-key", ""):
        return Credential(key)
    if cookie := request.cookies.get(COOKIE, ""):
        if request.scope.get("method") not in SAFE_METHODS and not from_own_page(request):
            raise Forbidden("With a cookie this is done from the service's own page only; programs send their key.")
        return Credential(cookie, cookie=True)
    raise Unauthorized


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
