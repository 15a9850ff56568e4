"""Requests to addresses that strangers name: downloads of their files, and messages to their servers.

No cookies, no proxies of the environment, no connection that is used twice, nothing decompressed. What an error says names
the host alone: paths and queries may hold secrets.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from ipaddress import ip_address

import httpcore
import httpx

from core.errors import TooLarge, UrlRefused, UrlUnreachable
from core.outbound.addresses import permitted
from core.outbound.connection import CheckedBackend, Patience
from core.outbound.resolver import Resolver, SystemResolver
from core.outbound.values import Answer, Rules
from core.system.cancel import Cancel

MAX_URL = 2048
HOST = re.compile(r"[a-z0-9_-][a-z0-9._-]*|[0-9a-f.]*:[0-9a-f.:]*", re.IGNORECASE)
"""A name, or a numeric address, without the zone of IPv6."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # SSL_CERT_FILE is the operator's word, and holds


class Download:
    """A file on its way. Its reader raises TooLarge, UrlUnreachable and Cancelled."""

    def __init__(self, url: str, headers: Mapping[str, str], pieces: Iterator[bytes], max_bytes: int) -> None:
        #: where it came from in the end
        self.url = url
        #: with names in lower case
        self.headers = headers
        self._pieces, self._left, self._rest = pieces, max_bytes, b""
        self._max_bytes = max_bytes

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes (-1: all), nothing at the end of the file."""
        taken = bytearray(self._rest)
        while size < 0 or len(taken) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._left -= len(piece)
            if self._left < 0:
                raise TooLarge(max_bytes=self._max_bytes)
            taken += piece
        end = len(taken) if size < 0 else size
        self._rest = bytes(taken[end:])
        return bytes(taken[:end])


class Outbound:
    """Safe to share between threads. Requests block; `cancel` ends them (Cancelled), while a connection is being made only
    when that is over (`Rules.connect_seconds`).

    agent: says who asks, as `User-Agent`
    """

    def __init__(self, rules: Rules, *, agent: str = "parascribe", resolver: Resolver | None = None) -> None:
        self.rules = rules
        self._agent = agent
        self._resolver = resolver or SystemResolver()

    def check(self, url: str) -> None:
        """What can be said of an address without asking anybody. Raises UrlRefused."""
        host = self._parsed(url).host
        with suppress(ValueError):
            if not permitted(str(ip_address(host)), allow_private=self.rules.allow_private):
                raise UrlRefused(f"{host} is not open to the public.")

    @contextmanager
    def get(self, url: str, *, cancel: Cancel | None = None) -> Iterator[Download]:
        """A file, through redirects. Raises UrlRefused, UrlUnreachable (also for any answer but a 2xx), TooLarge, Cancelled."""
        patience = Patience(self.rules.total_seconds, cancel)
        target = self._parsed(url)
        for hop in range(self.rules.redirects + 1):
            with self._exchange("GET", target, patience) as response:
                headers = _headers(response)
                if response.status in REDIRECTS and "location" in headers:
                    if hop == self.rules.redirects:
                        break
                    target = self._parsed(headers["location"], base=target)
                    continue
                if not 200 <= response.status < 300:
                    raise UrlUnreachable(f"{target.host} answered with {response.status}.", status=response.status)
                if (encoding := headers.get("content-encoding", "identity")) != "identity":
                    raise UrlUnreachable(f"{target.host} has packed the file ({encoding[:20]!r}), unasked.")
                if _length(headers) > self.rules.max_bytes:
                    raise TooLarge(max_bytes=self.rules.max_bytes)
                yield Download(str(target), headers, _pieces(response, target.host), self.rules.max_bytes)
                return
        raise UrlRefused(f"{target.host} sends us elsewhere more than {self.rules.redirects} times.")

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, cancel: Cancel | None = None) -> Answer:
        """Send, once; a redirect is an answer like others. Raises UrlRefused, UrlUnreachable, Cancelled."""
        patience = Patience(self.rules.total_seconds, cancel)
        with self._exchange("POST", self._parsed(url), patience, body, headers) as response:
            got = bytearray()
            for piece in _pieces(response, httpx.URL(url).host):
                got += piece
                if len(got) >= self.rules.max_bytes:
                    break
            return Answer(status=response.status, headers=_headers(response), body=bytes(got[: self.rules.max_bytes]))

    def _parsed(self, url: str, *, base: httpx.URL | None = None) -> httpx.URL:
        """Raises UrlRefused."""
        try:
            parsed = httpx.URL(url) if base is None else base.join(url)
            parsed.host  # noqa: B018 (it is read here, where it may fail: `xn--` and what is no name behind it)
        except (httpx.InvalidURL, ValueError):
            raise UrlRefused("That is no address.") from None
        if len(url) > MAX_URL:
            raise UrlRefused(f"The address has more than {MAX_URL} characters.")
        if parsed.scheme not in ("http", "https") or not HOST.fullmatch(parsed.raw_host.decode("ascii")):
            raise UrlRefused("An address begins with http:// or https:// and the name of a host.")
        if parsed.userinfo:
            raise UrlRefused("The address holds a name or a password: that is not for an address.")
        port = {"http": 80, "https": 443}[parsed.scheme] if parsed.port is None else parsed.port
        if not 0 < port < 65536:
            raise UrlRefused("That is no port.")
        if self.rules.ports is not None and port not in self.rules.ports:
            raise UrlRefused(f"Port {port} is not among {', '.join(map(str, sorted(self.rules.ports)))}.")
        return parsed.copy_with(fragment=None)

    @contextmanager
    def _exchange(
        self,
        method: str,
        url: httpx.URL,
        patience: Patience,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpcore.Response]:
        rules = self.rules
        sent = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": self._agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **(headers or {}),
        }
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        timeouts = {"connect": rules.connect_seconds, "read": rules.read_seconds, "write": rules.read_seconds}
        backend = CheckedBackend(self._resolver, patience, allow_private=rules.allow_private)
        pool = httpcore.ConnectionPool(rules.tls or _tls(), max_keepalive_connections=0, network_backend=backend)
        with (
            _told(url.host),
            pool,
            pool.stream(
                method, target, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}
            ) as response,
        ):
            yield response


@contextmanager
def _told(host: str) -> Iterator[None]:
    """What goes wrong on the way, in our words."""
    try:
        yield
    except httpcore.TimeoutException:
        raise UrlUnreachable(f"{host} did not answer in time.") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise UrlUnreachable(f"{host} could not be reached, or hung up: {reason}") from None


def _pieces(response: httpcore.Response, host: str) -> Iterator[bytes]:
    with _told(host):
        yield from response.iter_stream()


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _length(headers: Mapping[str, str]) -> int:
    """What the server says, which it need not keep to; 0 when it does not."""
    said = headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() else 0
