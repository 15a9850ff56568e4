"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): the same key and content, the same job."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from api.form import refusal
from api.uploads import declared_length
from core.errors import ServiceError
from core.store.protocols import Idempotency

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")

LEASE_SECONDS = 60.0
"""A key whose request died with its process is free again after this, plus the time the upload may take."""

SLOW_UPLOAD = 128 * 1024.0
"""Bytes a second: with a slower upload than this the key may be lost while it is still coming in."""

UNDECLARED_SECONDS = 3600.0
"""Allowed for an upload that does not say how long it is."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """key: None when the client sent none; job_id: of the job that the key has made before."""

    key: str | None
    job_id: str | None = None


@asynccontextmanager
async def held(request: Request, table: Idempotency) -> AsyncIterator[Held]:
    """Hold the request's key, if it has one. If the block raises, the key is free again.

    Raises ValidationFailed for a malformed key, IdempotencyInFlight.
    """
    key = request.headers.get(HEADER)
    if key is None:
        yield Held(key=None)
        return
    if not _KEY.fullmatch(key):
        raise refusal({"field": HEADER, "message": "must be 1 to 200 visible ASCII characters"})
    declared = declared_length(request)
    upload = UNDECLARED_SECONDS if declared is None else declared / SLOW_UPLOAD
    job_id = await run_in_threadpool(table.reserve, key, lease_seconds=LEASE_SECONDS + upload)
    try:
        yield Held(key=key, job_id=job_id)
    except BaseException:
        if job_id is None:
            try:
                await run_in_threadpool(table.free, key)
            except ServiceError as error:
                log.warning("An Idempotency-Key stays reserved until its lease ends: %s", error.message)
        raise
