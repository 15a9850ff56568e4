"""POST /jobs: an upload becomes a job. Object first, then the row, then the answer, then the hint."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.access.identity import Identity
from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Base, Jobs, Parts, PartsDep, Who
from api.http.problems import responses
from api.schemas import JobBody
from api.upload.filepart import Store, clean_filename
from api.upload.form import form_of
from api.upload.idempotency import HEADER, Held, held
from api.upload.json_body import is_json, read_object
from api.upload.receiver import Fields, Upload, declared_length
from core.errors import IdempotencyConflict, JobNotFound
from core.jobs.job import Job, Source, new_id
from core.jobs.origin import OriginKind
from core.keys import JOBS
from core.objects.store import source_key
from core.store.protocols import OwnerJobs
from core.submission.checks import fingerprint, identity_of
from core.submission.origins import NAMED

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])


FORM = {
    # what may be in it is filled in by `api.app`, from the table of options
    "requestBody": {"required": True, "content": {"multipart/form-data": {}, "application/json": {}}},
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            "description": "The same key with the same file and parameters gives the same job, however often it is sent.",
        }
    ],
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
    request: Request, response: Response, jobs: Jobs, parts: PartsDep, who: Who, base: Base
) -> JobBody:
    """Upload a file and queue it, or name one that is fetched when it is the job's turn.

    Form fields may come before or after the file; before it they are checked before it is sent. Unknown and
    repeated fields are refused.
    """
    async with AsyncExitStack() as stack:
        if not is_json(request):
            await stack.enter_async_context(parts.receiver.place(request))
        reserved = await stack.enter_async_context(held(request, jobs))
        if is_json(request):
            job = await _named(request, jobs, parts, who, reserved)
        elif reserved.job_id is None:
            job = await _accept(request, jobs, parts, who, reserved)
        else:
            job = await _replay(request, jobs, parts, reserved, reserved.job_id)
        if reserved.job_id is None:
            parts.deps.notify(job.id)
        else:
            response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"{base}/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return JobBody.of(job, base=base)


async def _accept(request: Request, jobs: OwnerJobs, parts: Parts, who: Identity, reserved: Held) -> Job:
    intake = parts.intake
    await run_in_threadpool(parts.admit, jobs, who, declared_length(request) or 0)
    job_id = new_id()
    upload = await _receive(request, parts, partial(intake.put, job_id))
    source = Source(
        filename=upload.filename,
        bytes=upload.bytes,
        media_type=upload.media_type,
        sha256=upload.sha256,
        key=source_key(job_id),
    )
    return await run_in_threadpool(intake.accept, jobs, job_id, source, upload.fields, key=reserved.key)


async def _named(request: Request, jobs: OwnerJobs, parts: Parts, who: Identity, reserved: Held) -> Job:
    """The job of a file that a JSON body only names; or the one that the key made, if it asked for the same."""
    given = await read_object(request, parts.receiver)
    options = {name: value for name, value in given.items() if name not in NAMED}
    intake, origins = parts.intake.within(who.limits.upload_mb), parts.origins

    def accept() -> Job:
        origin = origins.named(given, max_bytes=intake.max_bytes or 0)
        job_id = new_id()
        name = clean_filename(unquote(urlsplit(origin.name).path) if origin.kind is OriginKind.URL else origin.name)
        source = Source(filename=name, bytes=0, media_type="", sha256="", key=source_key(job_id), origin=origin)
        if reserved.job_id is None:
            intake.check(options)
            parts.admit(jobs, who, 0)
            return intake.accept(jobs, job_id, source, options, key=reserved.key)
        _check_same(jobs, reserved, fingerprint(identity_of(source), intake.check(options)))
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


async def _replay(request: Request, jobs: OwnerJobs, parts: Parts, reserved: Held, job_id: str) -> Job:
    """The job that the key made, if file and parameters are the same: so the body has to be read, but not stored."""
    await run_in_threadpool(_check_there, jobs, job_id)

    def hash_only(data: BinaryIO, media_type: str) -> int:
        return sum(len(block) for block in iter(lambda: data.read(1 << 18), b""))

    upload = await _receive(request, parts, hash_only)
    params = await run_in_threadpool(parts.intake.check, upload.fields)
    await run_in_threadpool(_check_same, jobs, reserved, fingerprint(upload.sha256, params))
    return await run_in_threadpool(jobs.get, job_id)


async def _receive(request: Request, parts: PartsDep, store: Store) -> Upload:
    """The form; what comes before its file is checked before the file is sent."""

    async def check_fields(fields: Fields) -> None:
        await run_in_threadpool(parts.intake.check_some, fields)

    return await parts.receiver.receive(request, form_of(parts.deps.options), store=store, check_fields=check_fields)
