"""Requests to a service that the operator has named: JSON both ways, bounded in time and size, tried again where that may help."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from core.errors import TranslationFailed
from core.system.cancel import Cancel, raise_if_cancelled, wait
from core.system.retry import retry

if TYPE_CHECKING:
    import ssl

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try."""
MOST_PAUSE = 30.0
"""What a service may ask for by `Retry-After`."""
MOST_BYTES = 8 << 20
AT_ONCE = 4
"""Requests of one process to one service."""
_LOOK_SECONDS = 0.1
_CONNECT_SECONDS = 10.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Away(TranslationFailed):
    """It may answer a moment later."""

    @property
    def retry_after(self) -> float | None:
        found: float | None = self.details.get("retry_after")
        return found


def _away(message: str, **more: Any) -> _Away:
    return _Away(message, away=True, **more)


class Web:
    """One service. Safe from many threads, and in forked children.

    name: what it is called in messages; headers: with each request
    seconds: for one try, from connecting to the last byte
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        pauses: Sequence[float] = PAUSES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._name, self._url = name, url
        self._headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
        self._seconds, self._pauses, self._most = seconds, pauses, most_bytes
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def get(self, path: str, *, seconds: float) -> Any:
        """One try. Raises TranslationFailed."""
        return asyncio.run(self._within("GET", path, None, None, seconds))

    def post(self, path: str, body: Mapping[str, Any], cancel: Cancel | None) -> Any:
        """Raises TranslationFailed (`away` among its details where the service could not be reached), Cancelled."""
        while not self._room.acquire(timeout=_LOOK_SECONDS):
            raise_if_cancelled(cancel)
        try:
            return retry(
                lambda: asyncio.run(self._within("POST", path, body, cancel, self._seconds)),
                pauses=self._pauses,
                retryable=lambda error: isinstance(error, _Away),
                wait=lambda seconds: wait(seconds, cancel),
            )
        finally:
            self._room.release()

    async def _within(
        self, method: str, path: str, body: Mapping[str, Any] | None, cancel: Cancel | None, seconds: float
    ) -> Any:
        raise_if_cancelled(cancel)
        asked = asyncio.create_task(self._ask(method, path, body))
        try:
            async with asyncio.timeout(seconds):
                while not (await asyncio.wait({asked}, timeout=_LOOK_SECONDS))[0]:
                    raise_if_cancelled(cancel)
            return asked.result()
        except TimeoutError:
            raise _away(f"{self._name} did not answer within {seconds:g} s.") from None
        finally:
            asked.cancel()
            await asyncio.wait({asked})
            if not asked.cancelled():
                asked.exception()  # looked at, so that nobody misses it

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        import httpx  # late: who translates nothing need not load it

        limits = httpx.Timeout(self._seconds, connect=min(self._seconds, _CONNECT_SECONDS))
        client = httpx.AsyncClient(
            verify=_tls(), trust_env=False, follow_redirects=False, timeout=limits, headers=self._headers
        )
        try:
            async with client, client.stream(method, self._url + path, json=body) as response:
                data = bytearray()
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > self._most:
                        raise TranslationFailed(f"{self._name} answered with more than {self._most:,} bytes.")
                status, after = response.status_code, response.headers.get("retry-after", "")
        except (httpx.HTTPError, OSError) as error:
            raise _away(f"{self._name} cannot be reached: {str(error) or type(error).__name__}.") from error
        except httpx.InvalidURL as error:
            raise TranslationFailed(f"The address of {self._name} cannot be used.", away=True) from error
        if status in _AGAIN:
            pause = min(float(after), MOST_PAUSE) if after.isdecimal() else None
            raise _away(f"{self._name} answered {status}{_said(data)}.", retry_after=pause)
        if status != 200:
            refused = {"away": True} if status in (401, 403, 404) or 300 <= status < 400 else {}
            raise TranslationFailed(f"{self._name} answered {status}{_said(data)}.", status=status, **refused)
        try:
            return json.loads(data)
        except ValueError:
            raise _away(f"{self._name} answered with something that is no JSON.") from None


def _said(data: bytearray) -> str:
    """What an error's body says, as far as it is a message."""
    try:
        body = json.loads(data)
        found = body.get("error", body.get("detail"))
        message = found.get("message") if isinstance(found, dict) else found
    except (ValueError, AttributeError):
        return ""
    return f": {message[:200]}" if isinstance(message, str) and message.isprintable() else ""


@cache
def _tls() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()  # SSL_CERT_FILE is the operator's word, and holds
