"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): the same key and content, the same job."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from core.errors import ServiceError, refusal
from core.store.protocols import OwnerJobs

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")

LEASE_SECONDS = 9.0
"""A key whose request died with its process is free again after this, however large the upload."""

RENEW_SECONDS = 3.0
"""How often a request that is coming in renews its key. If it cannot for so long that another request takes the key,
the first of them to be complete makes the job, and the other is told to try again."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """key: None when the client sent none; job_id: of the job that the key has made before."""

    key: str | None
    job_id: str | None = None


@asynccontextmanager
async def held(
    request: Request, jobs: OwnerJobs, *, kind: str = "", lease_seconds: float = LEASE_SECONDS
) -> AsyncIterator[Held]:
    """Hold the request's key, if it has one, for as long as the block runs. If it raises, the key is free again.

    kind: of what it makes, unless that is a job: the same key may make one of each

    Raises ValidationFailed for a malformed key, IdempotencyInFlight.
    """
    key = request.headers.get(HEADER)
    if key is None:
        yield Held(key=None)
        return
    if not _KEY.fullmatch(key):
        raise refusal({"field": HEADER, "message": "must be 1 to 200 visible ASCII characters"})
    key = f"{kind} {key}" if kind else key  # no key has a blank
    job_id = await run_in_threadpool(jobs.reserve, key, lease_seconds=lease_seconds)
    if job_id is not None:
        yield Held(key=key, job_id=job_id)
        return
    renewal = asyncio.create_task(_renew(jobs, key, lease_seconds))
    try:
        yield Held(key=key)
    except BaseException:
        await _end(renewal)
        try:
            await run_in_threadpool(jobs.free, key)
        except ServiceError as error:
            log.warning("An Idempotency-Key stays reserved until its lease ends: %s", error.message)
        raise
    await _end(renewal)


async def _renew(jobs: OwnerJobs, key: str, lease_seconds: float) -> None:
    while True:
        await asyncio.sleep(lease_seconds * RENEW_SECONDS / LEASE_SECONDS)
        try:
            await run_in_threadpool(jobs.renew, key, lease_seconds=lease_seconds)
        except ServiceError as error:
            log.warning("An Idempotency-Key could not be renewed: %s", error.message)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
