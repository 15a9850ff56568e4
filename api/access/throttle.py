"""So many requests a minute, by key."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.identity import Identity
from api.http.problems import rate_headers, refused
from core.errors import RateLimited

if TYPE_CHECKING:
    from limits.aio.storage import Storage
    from limits.aio.strategies import MovingWindowRateLimiter
    from redis.asyncio import ConnectionPool

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.5
"""How long a request waits for Redis."""

AWAY_SECONDS = 5.0
"""How long Redis is left alone after it has not answered."""


class Counted(NamedTuple):
    """allowed: the request was counted, and may pass. reset: seconds until one more may"""

    allowed: bool
    limit: int
    remaining: int
    reset: int


class RequestLimiter:
    """Counts the requests of the last minute, by key: in Redis where there is one, so that all API processes count together;
    else, and while it is away, in this process.

    broker: redis://, rediss:// or unix:// address
    """

    def __init__(self, broker: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker, self._clock = broker, clock
        self._here: MovingWindowRateLimiter | None = None
        self._shared: MovingWindowRateLimiter | None = None
        self._connections: ConnectionPool | None = None
        self._away_until = 0.0

    async def count(self, key_id: str, most: int) -> Counted:
        """One more request of that key, of which so many may come in a minute. One that is refused is not counted."""
        if self._broker is not None and self._clock() >= self._away_until:
            try:
                if self._shared is None:
                    self._connections = _connections(self._broker)
                    self._shared = _limiter(_redis(self._connections))
                return await _count(self._shared, key_id, most)
            except Exception as error:  # redis and socket errors have no common base
                self._away_until = self._clock() + AWAY_SECONDS
                log.warning(
                    "Requests are counted in this process: the broker does not answer (%s)", type(error).__name__
                )
        if self._here is None:
            from limits.aio.storage import MemoryStorage

            self._here = _limiter(MemoryStorage())
        return await _count(self._here, key_id, most)

    async def close(self) -> None:
        """Leave Redis."""
        if self._connections is not None:
            await self._connections.disconnect()


class Throttle:
    """Stands behind `Authentication`: a key that has sent too much is told when to come again."""

    def __init__(self, app: ASGIApp, *, limiter: RequestLimiter) -> None:
        self._app, self._limiter = app, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who: Identity | None = scope.get("identity")
        if who is None or who.key_id is None or not who.limits.requests_per_minute:
            return await self._app(scope, receive, send)
        counted = await self._limiter.count(who.key_id, who.limits.requests_per_minute)
        if not counted.allowed:
            error = RateLimited(
                f"This key may send {counted.limit} requests a minute; the next one in {counted.reset} s.",
                limit=counted.limit,
                remaining=0,
                reset=counted.reset,
                retry_after=counted.reset,
            )
            return await refused(scope, receive, send, error)

        async def send_on(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                headers = MutableHeaders(scope=message)
                for name, value in rate_headers(counted._asdict()).items():
                    headers.setdefault(name, value)
            await send(message)

        return await self._app(scope, receive, send_on)


def _limiter(storage: Storage) -> MovingWindowRateLimiter:
    from limits.aio.strategies import MovingWindowRateLimiter  # late: most services have no such limits

    return MovingWindowRateLimiter(storage)


def _connections(broker: str) -> ConnectionPool:
    from redis.asyncio import ConnectionPool

    return ConnectionPool.from_url(
        broker, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS, retry=None
    )


def _redis(connections: ConnectionPool) -> Storage:
    from limits.aio.storage import RedisStorage

    return RedisStorage(
        "async+redis://",  # as the connections say
        implementation="redispy",
        key_prefix="parascribe-limits",
        connection_pool=connections,  # type: ignore[arg-type]
    )


async def _count(limiter: MovingWindowRateLimiter, key_id: str, most: int) -> Counted:
    from limits import RateLimitItemPerMinute

    item = RateLimitItemPerMinute(most)
    allowed = await limiter.hit(item, key_id)
    stats = await limiter.get_window_stats(item, key_id)
    reset = max(1, math.ceil(stats.reset_time - time.time()))
    return Counted(allowed, most, max(0, stats.remaining), reset)
