"""The checks behind `/readyz`: each with a time limit of its own, none able to pile up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from core.errors import DiskFull, InsufficientStorage, ModelInvalid, ModelUnavailable, ServiceError, UnknownModel

log = logging.getLogger(__name__)

Check = Callable[[], object]
"""Returns when the part works, raises when it does not."""

SECONDS = 2.0


class Readiness:
    """required: without these no job can be accepted; advisory: told, no more."""

    def __init__(
        self, required: Mapping[str, Check], advisory: Mapping[str, Check], *, seconds: float = SECONDS
    ) -> None:
        self._required, self._advisory, self._seconds = dict(required), dict(advisory), seconds
        self._running: dict[str, asyncio.Future[str]] = {}

    async def look(self) -> tuple[bool, dict[str, str]]:
        """(can a job be accepted, what each check says: ok, missing, full, timeout or unavailable)."""
        checks = self._required | self._advisory
        said = dict(zip(checks, await asyncio.gather(*(self._one(n, c) for n, c in checks.items())), strict=True))
        return all(said[name] == "ok" for name in self._required), said

    async def _one(self, name: str, check: Check) -> str:
        # a check that hangs is waited for again, never started twice
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = self._start(name, check)
            running.add_done_callback(lambda _: self._running.pop(name))  # the next look wants a new verdict
        done, _ = await asyncio.wait([running], timeout=self._seconds)
        return running.result() if done else "timeout"

    def _start(self, name: str, check: Check) -> asyncio.Future[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def settle(said: str) -> None:
            if not answer.done():
                answer.set_result(said)

        def run() -> None:
            said = _verdict(name, check)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, said)

        # daemon: a check that hangs for good must not stop a shutdown
        threading.Thread(target=run, name=f"check-{name}", daemon=True).start()
        return answer


def _verdict(name: str, check: Check) -> str:
    try:
        check()
    except (ModelUnavailable, ModelInvalid, UnknownModel):
        return "missing"
    except Exception as error:  # whatever it is, the part does not work
        why = error.message if isinstance(error, ServiceError) else type(error).__name__
        log.warning("Not ready: %s: %s", name, why)
        return "full" if isinstance(error, DiskFull | InsufficientStorage) else "unavailable"
    return "ok"
