"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): the same key and content, the same job."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from api.upload.renewal import LEASE_SECONDS, renewing
from core.errors import ServiceError, refusal
from core.store.owners import OwnerJobs

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


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

    If the key cannot be renewed for so long that another request takes it, the first of them to be complete makes the job, and
    the other is told to try again.

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
    try:
        renew = partial(jobs.renew, key, lease_seconds=lease_seconds)
        async with renewing(renew, "An Idempotency-Key", lease_seconds=lease_seconds):
            yield Held(key=key)
    except BaseException:
        try:
            await run_in_threadpool(jobs.free, key)
        except ServiceError as error:
            log.warning("An Idempotency-Key stays reserved until its lease ends: %s", error.message)
        raise
