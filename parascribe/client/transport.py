"""What a client waits for: the network, the clock, files. Blocking, or in an event loop; all else is written once above it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Generic, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from parascribe.client.errors import ServiceUnreachable

DEFAULT_URL = "http://127.0.0.1:8000"

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class Transport(ABC, Generic[H]):
    """The connections to one service; http: what holds them.

    base_url: else `PARASCRIBE_URL`, else `DEFAULT_URL`. api_key: else `PARASCRIBE_API_KEY`. timeout: seconds of silence in one
    request (connect: at most 10). Raises ServiceUnreachable for what is no address or no key.
    """

    def __init__(self, kind: type[H], base_url: str | None, *, api_key: str | None, timeout: float) -> None:
        self.base_url = (base_url or os.environ.get("PARASCRIBE_URL") or DEFAULT_URL).rstrip("/")
        key = (api_key or os.environ.get("PARASCRIBE_API_KEY") or "").strip()
        if not key.isascii() or not key.isprintable():
            raise ServiceUnreachable("PARASCRIBE_API_KEY is no key: a key is psk_..., in plain letters and digits")
        # a proxy from the environment is for the outside world, never for this machine
        try:
            address = urlsplit(self.base_url)
            local = address.hostname in ("127.0.0.1", "::1", "localhost")
            plain = address.scheme == "http"  # and stays so, for no redirect is followed
            self.http: H = kind(
                base_url=self.base_url,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
                trust_env=not local,
                # reading the certificates of the world takes longer than many a request
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
                # who follows many jobs at once has as many streams: none waits for another's end
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise ServiceUnreachable(f"{self.base_url!r} is no address of a service: {error}") from error

    @abstractmethod
    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The whole answer. options: as `httpx.Client.request` has them. Raises httpx.TransportError."""

    @abstractmethod
    def stream(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        """The answer as it comes, to be read by `aread`, `aiter_bytes` and the like. Raises httpx.TransportError."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...

    @abstractmethod
    async def blocking_io(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work`, which reads or writes files, returns or raises; in a thread where there is a loop."""

    @abstractmethod
    def callback(self, told: Callable[P, None]) -> Callable[P, None]:
        """For `blocking_io` to call: `told`, called in the thread in which the client is used."""

    @contextlib.asynccontextmanager
    async def entering(self, opened: AbstractContextManager[T]) -> AsyncIterator[T]:
        """What it gives; entering it may block."""
        with contextlib.ExitStack() as stack:
            yield await self.blocking_io(stack.enter_context, opened)


class BlockingTransport(Transport[httpx.Client]):
    """Each call returns when it is done: its coroutines never wait for an event loop (`parascribe.client.blocking`)."""

    def __init__(self, base_url: str | None, *, api_key: str | None, timeout: float) -> None:
        super().__init__(httpx.Client, base_url, api_key=api_key, timeout=timeout)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.http.request(method, path, **options)

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        with self.http.stream(method, path, **options) as answer:
            blocks = _Blocks(cast("Iterable[bytes]", answer.stream))
            yield httpx.Response(answer.status_code, headers=answer.headers, stream=blocks, request=answer.request)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (there is no loop)

    async def blocking_io(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)

    def callback(self, told: Callable[P, None]) -> Callable[P, None]:
        return told


class AsyncioTransport(Transport[httpx.AsyncClient]):
    """Of the event loop (asyncio) in which it is used first. A task that is cancelled closes its connection."""

    def __init__(self, base_url: str | None, *, api_key: str | None, timeout: float) -> None:
        super().__init__(httpx.AsyncClient, base_url, api_key=api_key, timeout=timeout)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        request = self.http.build_request(method, path, **options)
        if not isinstance(request.stream, httpx.ByteStream):  # it comes out of a file
            request.stream = _Blocks(cast("Iterable[bytes]", request.stream), in_thread=True)
        return await self.http.send(request)

    def stream(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        return self.http.stream(method, path, **options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def blocking_io(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(work, *args, **kwargs)

    def callback(self, told: Callable[P, None]) -> Callable[P, None]:
        loop = asyncio.get_running_loop()

        def tell(*args: P.args, **kwargs: P.kwargs) -> None:
            loop.call_soon_threadsafe(functools.partial(told, *args, **kwargs))

        return tell


class _Blocks(httpx.AsyncByteStream):
    """A body by blocks. in_thread: each is waited for in one, so that the loop goes on"""

    def __init__(self, blocks: Iterable[bytes], *, in_thread: bool = False) -> None:
        self._blocks, self._in_thread = blocks, in_thread

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = iter(self._blocks)
        while (
            block := await asyncio.to_thread(next, blocks, None) if self._in_thread else next(blocks, None)
        ) is not None:
            yield block
