"""POST /jobs: an upload becomes a job. Object first, then the row, then the answer, then the hint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cache, partial
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.access.identity import Identity
from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Base, Batches, Jobs, Parts, PartsDep, Who, batch_of
from api.http.problems import responses
from api.schemas import JobBody
from api.upload.filepart import Store, clean_filename
from api.upload.form import BATCH, form_of
from api.upload.idempotency import HEADER, Held, held
from api.upload.json_body import is_json, read_object
from api.upload.received import Fields, Upload
from api.upload.receiver import declared_length
from core.errors import BatchClosed, IdempotencyConflict, JobNotFound, RequestError, refusal
from core.jobs.batches import Batch
from core.jobs.job import Job, Source, new_id
from core.jobs.origin import OriginKind
from core.keys import JOBS
from core.objects.store import source_key
from core.options import said
from core.store.owners import OwnerBatches, OwnerJobs
from core.submission.checks import fingerprint, identity_of
from core.submission.origins import NAMED

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


class _Asked(NamedTuple):
    """Options of a job, and the id of its batch."""

    options: Fields
    batch: str | None


async def _accept(
    request: Request, jobs: OwnerJobs, batches: OwnerBatches, parts: Parts, who: Identity, reserved: Held
) -> Job:
    intake = parts.intake
    await run_in_threadpool(parts.admit, jobs, who, declared_length(request) or 0)
    job_id = new_id()

    asked = partial(_asked, cache(batches.get), for_new=True)

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
    given = await read_object(request, parts.receiver)
    fields = {name: value for name, value in given.items() if name not in NAMED}
    intake, origins = parts.intake.within(who.limits.upload_mb), parts.origins

    def accept() -> Job:
        origin = origins.named(given, max_bytes=intake.max_bytes or 0)
        options, batch = _asked(batches.get, fields, for_new=reserved.job_id is None)
        job_id = new_id()
        name = clean_filename(unquote(urlsplit(origin.name).path) if origin.kind is OriginKind.URL else origin.name)
        source = Source(filename=name, bytes=0, media_type="", sha256="", key=source_key(job_id), origin=origin)
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

    asked = partial(_asked, cache(batches.get), for_new=False)

    upload = await _receive(request, parts, hash_only, asked)
    options, batch = await run_in_threadpool(asked, upload.fields)
    params = await run_in_threadpool(partial(parts.intake.check, usual=batch is None), options)
    await run_in_threadpool(_check_same, jobs, reserved, fingerprint(upload.sha256, params, batch))
    return await run_in_threadpool(jobs.get, job_id)


def _asked(find: Callable[[str], Batch], fields: Fields, *, for_new: bool) -> _Asked:
    """What the fields ask for, and where they say nothing, their batch. Raises BatchNotFound, BatchClosed (for_new)."""
    options = dict(fields)
    given = options.pop(BATCH, None)
    if given is None:
        return _Asked(options, None)
    if not isinstance(given, str):  # JSON has more than texts
        raise refusal({"field": BATCH, "message": "Input should be a valid string"})
    batch = find(batch_of(given))
    if for_new and batch.closed_at is not None:
        raise BatchClosed
    return _Asked(batch.params.to_dict() | said(options), batch.id)


async def _receive(request: Request, parts: PartsDep, store: Store, asked: Callable[[Fields], _Asked]) -> Upload:
    """The form; what comes before its file is checked before the file is sent."""

    async def check_fields(fields: Fields) -> None:
        await run_in_threadpool(lambda: parts.intake.check_some(asked(fields).options))

    return await parts.receiver.receive(request, form_of(parts.deps.options), store=store, check_fields=check_fields)
