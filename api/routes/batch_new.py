"""POST /batches: an empty batch that takes files, or a few files at once, sent or named."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import BinaryIO, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from python_multipart.multipart import parse_options_header

from api.access.identity import Identity
from api.access.scopes import needs
from api.batches.asked import Asked, form_asked, form_of, json_asked
from api.batches.bodies import NewBatchBody, RefusedBody
from api.deps import NO_QUERY, PREFIX, Base, Batches, Jobs, Parts, PartsDep, Who
from api.http.problems import responses
from api.routes.submit import KEY_PARAMETER
from api.upload.filepart import Store
from api.upload.idempotency import Held, held
from api.upload.named import named_file, options_of
from api.upload.received import Fields
from api.upload.receiver import declared_length
from core.errors import IdempotencyConflict, RequestError, refusal
from core.jobs.batches import Batch
from core.jobs.job import Source, new_id
from core.keys import JOBS
from core.objects.store import source_key
from core.store.owners import OwnerBatches, OwnerJobs
from core.submission.batches import Faults, File, make, plan

router = APIRouter(prefix=PREFIX, tags=["batches"], dependencies=[needs(JOBS)])


class _Come(NamedTuple):
    """A request that is read."""

    asked: Asked
    files: list[File]
    refused: list[tuple[str, RequestError]]


@router.post(
    "/batches",
    status_code=201,
    response_model=NewBatchBody,
    # what may be in it is filled in by `api.app`
    openapi_extra={"requestBody": {"required": False, "content": {}}, "parameters": [KEY_PARAMETER]},
    dependencies=[NO_QUERY],
    responses={
        201: {
            "description": "Made. With files: stored and queued, and closed.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Path of the batch."}},
        },
        **responses(
            "validation",
            "empty_upload",
            "not_media",
            "too_large",
            "upload_too_slow",
            "unknown_model",
            "task_not_supported",
            "not_available",
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
async def create_batch(
    request: Request, response: Response, jobs: Jobs, batches: Batches, parts: PartsDep, who: Who, base: Base
) -> NewBatchBody:
    """Make a batch. As JSON: an open one, to which uploads belong that name it (`batch` of `POST /jobs`), until it is closed.

    As JSON with `items`: one that has the jobs of these files, which are fetched, and is closed; all of them or, if one cannot be
    taken, none. As a form with some `files`: likewise; together they may be as large as one file. Files that are no media are named
    in `refused`, and the others are taken.
    """
    async with _place(request, parts) as form, held(request, jobs, kind="batch") as reserved:
        if not form:
            asked = await json_asked(request, parts.receiver)
            come = await run_in_threadpool(_named_files, asked, jobs, parts, who, for_new=reserved.job_id is None)
        elif reserved.job_id is None:
            come = await _new_files(request, jobs, parts, who)
        else:
            come = await _read(request, parts, _Hashing())
        if reserved.job_id is None:
            asked = come.asked
            batch = await run_in_threadpool(
                make, batches, parts.intake, asked.params, asked.own, come.files, key=reserved.key
            )
            for file in come.files:
                parts.deps.notify(file.job)
        else:
            batch = await run_in_threadpool(_replayed, jobs, batches, parts, reserved, come)
            response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"{base}/batches/{batch.id}"
    refused = [RefusedBody(filename=name, code=error.code, message=error.message) for name, error in come.refused]
    found, tally = await run_in_threadpool(batches.tally, batch.id)
    return NewBatchBody.made(found, tally, refused, base=base)


@contextlib.asynccontextmanager
async def _place(request: Request, parts: Parts) -> AsyncIterator[bool]:
    """A place for an upload, and True, where a form comes; raises ValidationFailed for what is neither form nor JSON."""
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        async with parts.receiver.place(request):
            yield True
    elif kind in (b"application/json", b"") or kind.endswith(b"+json"):
        yield False
    else:
        raise refusal(
            {"field": "Content-Type", "message": "expected application/json, or multipart/form-data with files"}
        )


class _Storing:
    """Stores of new files, each named by the id of its job."""

    def __init__(self, parts: Parts) -> None:
        self._put = parts.intake.put
        self.ids: list[str] = []

    def __call__(self) -> tuple[str, Store]:
        self.ids.append(new_id())
        return self.ids[-1], partial(self._put, self.ids[-1])


class _Hashing:
    """Stores of files that are here already."""

    def __call__(self) -> tuple[str, Store]:
        return "", _count


def _count(data: BinaryIO, media_type: str) -> int:
    return sum(len(block) for block in iter(lambda: data.read(1 << 18), b""))


def _named_files(asked: Asked, jobs: OwnerJobs, parts: Parts, who: Identity, *, for_new: bool) -> _Come:
    """What the items name, if so many jobs may come in."""
    if for_new and asked.items:
        parts.admit(jobs, who, 0, more=len(asked.items))
    max_bytes = parts.intake.within(who.limits.upload_mb).max_bytes or 0
    files, faults = list[File](), Faults()
    for number, item in enumerate(asked.items):
        with faults.of(number):
            files.append(File(*named_file(parts.origins, item, max_bytes=max_bytes), options_of(item)))
    faults.check()
    return _Come(asked, files, [])


async def _new_files(request: Request, jobs: OwnerJobs, parts: Parts, who: Identity) -> _Come:
    """Files that may come in are stored; of what is refused as a whole nothing is left."""
    await run_in_threadpool(parts.admit, jobs, who, declared_length(request) or 0)
    storing = _Storing(parts)
    try:
        come = await _read(request, parts, storing)
        if not come.files:
            _, error = come.refused[0]
            names = ", ".join(name for name, _ in come.refused)
            raise type(error)(f"None of the files was taken ({names}). {error.message}")
        await run_in_threadpool(parts.admit, jobs, who, 0, more=len(come.files))
    except BaseException:
        for job_id in storing.ids:
            await run_in_threadpool(parts.intake.discard, source_key(job_id))
        raise
    return come


async def _read(request: Request, parts: Parts, stores: _Storing | _Hashing) -> _Come:
    async def check_fields(fields: Fields) -> None:
        asked = form_asked(fields)
        for given in (asked.params, asked.own):
            await run_in_threadpool(parts.intake.check_some, given)

    uploads = await parts.receiver.receive_several(
        request, form_of(parts.deps.options), stores=stores, check_fields=check_fields
    )
    files = [
        File(
            job_id,
            Source(
                filename=file.filename,
                bytes=file.bytes,
                media_type=file.media_type,
                sha256=file.sha256,
                key=source_key(job_id),
            ),
        )
        for job_id, file in uploads.files
    ]
    return _Come(form_asked(uploads.fields), files, uploads.refused)


def _replayed(jobs: OwnerJobs, batches: OwnerBatches, parts: Parts, reserved: Held, come: _Come) -> Batch:
    """The batch that the key made, if files and parameters are the same."""
    assert reserved.key is not None
    assert reserved.job_id is not None
    asked = plan(parts.intake, come.asked.params, come.asked.own, come.files)
    if jobs.fingerprint(reserved.key) != asked.fingerprint:
        raise IdempotencyConflict
    return batches.get(reserved.job_id)
