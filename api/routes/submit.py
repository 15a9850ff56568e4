"""POST /jobs: an upload becomes a job. Object first, then the row, then the answer, then the hint."""

from __future__ import annotations

import logging
from typing import Any, BinaryIO

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from uuid_utils import uuid7

from api.deps import NO_QUERY, PREFIX, ApiDeps, Base, PartsDep
from api.http.problems import responses
from api.schemas import JobBody
from api.upload.form import JobForm, fingerprint, warnings_of
from api.upload.idempotency import HEADER, Held, held
from api.upload.receiver import CheckFields, Upload, declared_length
from core.errors import (
    DatabaseUnavailable,
    IdempotencyConflict,
    JobNotFound,
    ModelInvalid,
    QueueFull,
    RequestError,
    ServiceError,
)
from core.jobs.job import Job, JobParams, JobStatus, NewJob, Source
from core.objects.store import source_key
from core.store.protocols import Reservation

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["jobs"])


def _form_schema() -> dict[str, Any]:
    schema = JobForm.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "An audio or video file."}
    return {
        "type": "object",
        "required": ["file"],
        "properties": {"file": file, **schema["properties"]},
        "additionalProperties": False,
    }


FORM = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema()}}},
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
            "insufficient_storage",
            "disk_full",
            "storage_unavailable",
        ),
    },
)
async def create_job(request: Request, response: Response, parts: PartsDep, base: Base) -> JobBody:
    """Upload a file and queue it.

    Fields may come before or after the file; before it they are checked before it is sent. Unknown and
    repeated fields are refused.
    """
    async with parts.receiver.place(request), held(request, parts.deps.idempotency) as reserved:
        if reserved.job_id is None:
            job = await _accept(request, parts, reserved)
            parts.deps.notify(job.id)
        else:
            job = await _replay(request, parts, reserved, reserved.job_id)
            response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"{base}/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return JobBody.of(job, base=base)


async def _accept(request: Request, parts: PartsDep, reserved: Held) -> Job:
    deps = parts.deps
    await run_in_threadpool(_check_room, deps, declared_length(request) or 0)
    job_id = str(uuid7())
    key = source_key(job_id)

    def store(data: BinaryIO, media_type: str) -> int:
        return deps.objects.put(key, data, media_type=media_type)

    upload = await parts.receiver.receive(request, store=store, check_fields=_fields_check(deps))
    try:
        return await run_in_threadpool(_create, deps, job_id, upload, reserved)
    except (RequestError, ModelInvalid):  # refused, so no row refers to the object
        await run_in_threadpool(_remove, deps, key)
        raise
    # After any other error the row may be there all the same. If it is not, the sweeper removes the object.


def _create(deps: ApiDeps, job_id: str, upload: Upload, reserved: Held) -> Job:
    params = _params(deps, upload.fields)
    source = Source(
        filename=upload.filename,
        bytes=upload.bytes,
        media_type=upload.media_type,
        sha256=upload.sha256,
        key=source_key(job_id),
    )
    new = NewJob(
        id=job_id, source=source, params=params, warnings=warnings_of(params, language=upload.fields.get("language"))
    )
    reservation = None
    if reserved.key is not None:
        reservation = Reservation(key=reserved.key, fingerprint=fingerprint(upload.sha256, params))
    try:
        job = deps.jobs.create(new, reservation=reservation)
    except DatabaseUnavailable:
        # the connection may have been lost after the commit, and a large upload is worth asking again
        job = deps.jobs.create(new, reservation=reservation)
    log.info("Accepted job %s: %d bytes of %s, model %s", job_id, upload.bytes, upload.media_type, params.model)
    return job


async def _replay(request: Request, parts: PartsDep, reserved: Held, job_id: str) -> Job:
    """The job that the key made, if file and parameters are the same: so the body has to be read, but not stored."""
    deps = parts.deps
    assert reserved.key is not None
    try:
        await run_in_threadpool(deps.jobs.get, job_id)
    except JobNotFound:
        raise JobNotFound("The job that this Idempotency-Key made has been deleted; use a new key.") from None

    def hash_only(data: BinaryIO, media_type: str) -> int:
        return sum(len(block) for block in iter(lambda: data.read(1 << 18), b""))

    upload = await parts.receiver.receive(request, store=hash_only, check_fields=_fields_check(deps))
    params = await run_in_threadpool(_params, deps, upload.fields)
    if await run_in_threadpool(deps.idempotency.fingerprint, reserved.key) != fingerprint(upload.sha256, params):
        raise IdempotencyConflict(job_id=job_id)
    return await run_in_threadpool(deps.jobs.get, job_id)


def _params(deps: ApiDeps, fields: dict[str, str]) -> JobParams:
    return JobForm.read(fields).params(deps.models, default_model=deps.settings.whisper_model)


def _fields_check(deps: ApiDeps) -> CheckFields:
    """Checks what came before the file; whether the model can do it only if the model is among that."""

    async def check(fields: dict[str, str]) -> None:
        form = JobForm.read(fields)
        if form.model:
            await run_in_threadpool(form.params, deps.models, default_model=form.model)

    return check


def _check_room(deps: ApiDeps, incoming: int) -> None:
    limit = deps.settings.max_queued_jobs
    if limit and deps.jobs.counts().get(JobStatus.QUEUED, 0) >= limit:
        raise QueueFull(f"{limit} jobs are waiting already (MAX_QUEUED_JOBS); try again later.")
    deps.check_disk(incoming)


def _remove(deps: ApiDeps, key: str) -> None:
    try:
        deps.objects.delete(key)
    except ServiceError as error:
        log.warning("The object %s is left for the sweeper: %s", key, error.message)
