"""Connections to addresses that have been checked, in a time that has an end."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from core.errors import UrlRefused, UrlUnreachable
from core.outbound.addresses import permitted
from core.outbound.resolver import Resolver
from core.system.cancel import Cancel, raise_if_cancelled

LOOK_SECONDS = 0.25
"""How soon a cancel is seen by who waits for an answer."""

WRITE_BYTES = 16 * 1024


class Patience:
    """How long all of one exchange may take, redirects included."""

    def __init__(self, seconds: float, cancel: Cancel | None) -> None:
        self._seconds, self._cancel = seconds, cancel
        self._until = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, above 0. Raises UrlUnreachable, Cancelled."""
        raise_if_cancelled(self._cancel)
        left = self._until - time.monotonic()
        if left <= 0:
            raise UrlUnreachable(f"The exchange was not over after {self._seconds:g} s.")
        return left


class CheckedBackend(httpcore.NetworkBackend):
    """Asks for a host's addresses once, refuses it if a single one is not permitted, and connects to one of these.

    TLS still asks for, and checks, the host's name: that is httpcore's part.
    """

    def __init__(self, resolver: Resolver, patience: Patience, *, allow_private: bool) -> None:
        self._resolver, self._patience, self._allow_private = resolver, patience, allow_private
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, self._within(timeout))
        if not all(permitted(address, allow_private=self._allow_private) for address in addresses):
            raise UrlRefused(f"{host} leads to an address that is not open to the public.")
        failed: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                stream = self._plain.connect_tcp(address, port, self._within(timeout), local_address, socket_options)
                return _Stream(stream, self._patience)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def _within(self, timeout: float | None) -> float:
        return min(self._patience.left(), float("inf") if timeout is None else timeout)

    def _resolve(self, host: str, seconds: float) -> Sequence[str]:
        """In a thread, since nothing can interrupt getaddrinfo; one that is given up ends by itself."""
        found: list[Sequence[str]] = []

        def ask() -> None:
            try:
                found.append(self._resolver.resolve(host))
            except (OSError, UnicodeError):  # UnicodeError: a label of more than 63 letters
                pass

        asking = threading.Thread(target=ask, name="resolve", daemon=True)
        asking.start()
        until = time.monotonic() + seconds
        while asking.is_alive() and (wait := until - time.monotonic()) > 0:
            self._patience.left()
            asking.join(min(wait, LOOK_SECONDS))
        if not found or not found[0]:
            raise UrlUnreachable(f"{host} is not known, or its address could not be found out in time.")
        return found[0]


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, patience: Patience) -> None:
        self._stream, self._patience = stream, patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        silent_until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (wait := silent_until - time.monotonic()) > 0:
            try:
                return self._stream.read(max_bytes, min(wait, self._patience.left(), LOOK_SECONDS))
            except httpcore.ReadTimeout:
                continue
        raise httpcore.ReadTimeout("silent")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_BYTES):
            left = self._patience.left()
            self._stream.write(buffer[start : start + WRITE_BYTES], left if timeout is None else min(left, timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._patience.left()
        secured = self._stream.start_tls(ssl_context, server_hostname, left if timeout is None else min(left, timeout))
        return _Stream(secured, self._patience)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
