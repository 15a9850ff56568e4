"""A lease that is renewed as long as a request takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi.concurrency import run_in_threadpool

from core.errors import ServiceError

log = logging.getLogger(__name__)

LEASE_SECONDS = 9.0
"""What was held by a request that died with its process is free again after this, however large its body."""

RENEW_SECONDS = 3.0


@asynccontextmanager
async def renewing(renew: Callable[[], None], what: str, *, lease_seconds: float) -> AsyncIterator[None]:
    """Call `renew` three times a lease for as long as the block runs. what: is being renewed, for the log"""
    task = asyncio.create_task(_renew(renew, what, lease_seconds * RENEW_SECONDS / LEASE_SECONDS))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _renew(renew: Callable[[], None], what: str, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await run_in_threadpool(renew)
        except ServiceError as error:
            log.warning("%s could not be renewed: %s", what, error.message)
