"""POST /jobs: an upload becomes a job. Object first, then the row, then the answer, then the hint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cache, partial
from typing import Any, BinaryIO

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.access.identity import Identity
from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Base, Batches, Jobs, Parts, PartsDep, Who
from api.http.problems import responses
from api.schemas import JobBody
from api.upload.filepart import Store
from api.upload.form import form_of
from api.upload.idempotency import HEADER, Held, held
from api.upload.json_body import MAX_BYTES, is_json, read_object
from api.upload.named import named_file, options_of
from api.upload.received import Fields, Upload
from api.upload.receiver import declared_length
from core.errors import IdempotencyConflict, JobNotFound, RequestError
from core.jobs.job import Job, Source, new_id
from core.jobs.known_speakers import FIELD_BYTES
from core.keys import JOBS
from core.objects.store import source_key
from core.store.owners import OwnerBatches, OwnerJobs
from core.submission.checks import fingerprint, identity_of
from core.submission.joining import Asked, asked_of

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])

KEY_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "description": "The same key with the same file and parameters gives the same answer, however often it is sent.",
}
FORM = {
    # what may be in it is filled in by `api.app`, from the table of options
    "requestBody": {"required": True, "content": {"multipart/form-data": {}, "application/json": {}}},
    "parameters": [KEY_PARAMETER],
}

ACCEPTED: dict[str, Any] = {
    "description": "Accepted: stored and queued.",
    "headers": {
        "Location": {"schema": {"type": "string"}, "description": "Path of the job."},
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until a first look is worth it."},
        "Idempotent-Replayed": {"schema": {"type": "string"}, "description": "`true` when the job was there already."},
    },
}


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobBody,
    openapi_extra=FORM,
    dependencies=[NO_QUERY],
    responses={
        202: ACCEPTED,
        **responses(
            "validation",
            "empty_upload",
            "not_media",
            "too_large",
            "upload_too_slow",
            "unknown_model",
            "task_not_supported",
            "not_available",
            "batch_not_found",
            "batch_closed",
            "idempotency_conflict",
            "idempotency_in_flight",
            "queue_full",
            "quota_exceeded",
            "insufficient_storage",
            "disk_full",
            "storage_unavailable",
            "unsupported",
            "url_refused",
        ),
    },
)
async def create_job(
    request: Request, response: Response, jobs: Jobs, batches: Batches, parts: PartsDep, who: Who, base: Base
) -> JobBody:
    """Upload a file and queue it, or name one that is fetched when it is the job's turn.

    Form fields may come before or after the file; before it they are checked before it is sent. Unknown and
    repeated fields are refused. With `batch`, what that batch says holds where no field says otherwise.
    """
    async with AsyncExitStack() as stack:
        if not is_json(request):
            await stack.enter_async_context(parts.receiver.place(request))
        elif (declared_length(request) or FIELD_BYTES) > MAX_BYTES:  # what is kept in memory is bounded
            await stack.enter_async_context(parts.receiver.slot(who.owner))
        reserved = await stack.enter_async_context(held(request, jobs))
        if is_json(request):
            job = await _named(request, jobs, batches, parts, who, reserved)
        elif reserved.job_id is None:
            job = await _accept(request, jobs, batches, parts, who, reserved)
        else:
            job = await _replay(request, jobs, batches, parts, reserved, reserved.job_id)
        if reserved.job_id is None:
            parts.deps.notify(job.id)
        else:
            response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"{base}/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return JobBody.of(job, base=base)


async def _accept(
    request: Request, jobs: OwnerJobs, batches: OwnerBatches, parts: Parts, who: Identity, reserved: Held
) -> Job:
    intake = parts.intake
    await run_in_threadpool(parts.admit, jobs, who, declared_length(request) or 0)
    job_id = new_id()

    asked = partial(asked_of, cache(batches.get), for_new=True)

    upload = await _receive(request, parts, partial(intake.put, job_id), asked)
    source = Source(
        filename=upload.filename,
        bytes=upload.bytes,
        media_type=upload.media_type,
        sha256=upload.sha256,
        key=source_key(job_id),
    )
    try:
        options, batch = await run_in_threadpool(asked, upload.fields)
    except RequestError:  # the batch was named behind the file
        await run_in_threadpool(intake.discard, source.key)
        raise
    return await run_in_threadpool(intake.accept, jobs, job_id, source, options, key=reserved.key, batch=batch)


async def _named(
    request: Request, jobs: OwnerJobs, batches: OwnerBatches, parts: Parts, who: Identity, reserved: Held
) -> Job:
    """The job of a file that a JSON body only names; or the one that the key made, if it asked for the same."""
    given = await read_object(request, parts.receiver, large={"known_speakers": FIELD_BYTES})
    intake = parts.intake.within(who.limits.upload_mb)

    def accept() -> Job:
        job_id, source = named_file(parts.origins, given, max_bytes=intake.max_bytes or 0)
        options, batch = asked_of(batches.get, options_of(given), for_new=reserved.job_id is None)
        if reserved.job_id is None:
            intake.check(options)
            parts.admit(jobs, who, 0)
            return intake.accept(jobs, job_id, source, options, key=reserved.key, batch=batch)
        _check_same(jobs, reserved, fingerprint(identity_of(source), intake.check(options, usual=batch is None), batch))
        return jobs.get(reserved.job_id)

    return await run_in_threadpool(accept)


def _check_same(jobs: OwnerJobs, reserved: Held, asked: str) -> None:
    """Raises IdempotencyConflict; JobNotFound when the key's job is gone."""
    assert reserved.key is not None
    assert reserved.job_id is not None
    _check_there(jobs, reserved.job_id)
    if jobs.fingerprint(reserved.key) != asked:
        raise IdempotencyConflict(job_id=reserved.job_id)


def _check_there(jobs: OwnerJobs, job_id: str) -> None:
    try:
        jobs.get(job_id)
    except JobNotFound:
        raise JobNotFound("The job that this Idempotency-Key made has been deleted; use a new key.") from None


async def _replay(
    request: Request, jobs: OwnerJobs, batches: OwnerBatches, parts: Parts, reserved: Held, job_id: str
) -> Job:
    """The job that the key made, if file and parameters are the same: so the body has to be read, but not stored."""
    await run_in_threadpool(_check_there, jobs, job_id)

    def hash_only(data: BinaryIO, media_type: str) -> int:
        return sum(len(block) for block in iter(lambda: data.read(1 << 18), b""))

    asked = partial(asked_of, cache(batches.get), for_new=False)

    upload = await _receive(request, parts, hash_only, asked)
    options, batch = await run_in_threadpool(asked, upload.fields)
    params = await run_in_threadpool(partial(parts.intake.check, usual=batch is None), options)
    await run_in_threadpool(_check_same, jobs, reserved, fingerprint(upload.sha256, params, batch))
    return await run_in_threadpool(jobs.get, job_id)


async def _receive(request: Request, parts: PartsDep, store: Store, asked: Callable[[Fields], Asked]) -> Upload:
    """The form; what comes before its file is checked before the file is sent."""

    async def check_fields(fields: Fields) -> None:
        await run_in_threadpool(lambda: parts.intake.check_some(asked(fields).options))

    return await parts.receiver.receive(request, form_of(parts.deps.options), store=store, check_fields=check_fields)
