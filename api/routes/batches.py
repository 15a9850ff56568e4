"""Batches: many files asked for together, followed, steered and fetched as one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.batches.archive import archive
from api.batches.bodies import BatchBody, BatchHeadBody, BatchPageBody, ItemPageBody
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, Base, Batches, BatchId, Jobs, PartsDep, Who
from api.http.downloads import content_disposition, renamed
from api.http.middleware import HEAD_ONLY
from api.http.problems import responses
from api.routes.texts.results import SHAPING_PARAMETERS, ResultQuery, number_of, stored_transcript
from api.schemas import JobBody
from core.errors import NotReady
from core.jobs.batches import BatchStatus
from core.jobs.job import Job, JobStatus
from core.keys import JOBS
from core.store.owners import OwnerBatches
from core.submission.batches import retry_failed
from core.transcript.formats import FORMATS

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["batches"], dependencies=[needs(JOBS)])

PAGE = 100
"""Jobs that are looked up at a time for an archive."""


class BatchesQuery(BaseModel):
    """Parameters of the list; others are refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200)
    after: str | None = Field(None, pattern=r"^[!-~]{1,200}$", description="`next` of the page before.")


class ItemsQuery(BatchesQuery):
    """Parameters of a batch's jobs; others are refused."""

    status: JobStatus | None = Field(None, description="Only jobs that stand there.")


@router.get("/batches", dependencies=[NO_REPEATS], responses=responses("validation"))
def list_batches(batches: Batches, base: Base, query: Annotated[BatchesQuery, Query()]) -> BatchPageBody:
    """Batches, newest first."""
    page, following = batches.list(limit=query.limit, after=query.after)
    return BatchPageBody(items=[BatchHeadBody.of(batch, base=base) for batch in page], next=following)


@router.get("/batches/{batch_id}", dependencies=[NO_QUERY], responses=responses("batch_not_found", "validation"))
def get_batch(batch_id: BatchId, batches: Batches, base: Base) -> BatchBody:
    """One batch, and what its jobs come to at this moment."""
    return BatchBody.counted(*batches.tally(batch_id), base=base)


@router.get(
    "/batches/{batch_id}/items", dependencies=[NO_REPEATS], responses=responses("batch_not_found", "validation")
)
def list_items(batch_id: BatchId, batches: Batches, base: Base, query: Annotated[ItemsQuery, Query()]) -> ItemPageBody:
    """Its jobs, oldest first. One that was retried is left out; the new one has its place."""
    page, following = batches.items(batch_id, status=query.status, limit=query.limit, after=query.after)
    return ItemPageBody(items=[JobBody.of(job, base=base) for job in page], next=following)


@router.get(
    "/batches/{batch_id}/results.zip",
    response_class=Response,
    dependencies=[NO_REPEATS],
    responses={
        200: {
            "description": "The transcripts, and `errors.json` about the files that have none.",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **responses("batch_not_found", "not_ready", "storage_unavailable", "validation"),
    },
    openapi_extra={"parameters": SHAPING_PARAMETERS},
)
def get_archive(
    request: Request,
    batch_id: BatchId,
    batches: Batches,
    jobs: Jobs,
    parts: PartsDep,
    query: Annotated[ResultQuery, Query()],
) -> Response:
    """All transcripts there are, as one file, made while it is sent. 409 as long as there is none.

    Each is called like its file; the second of a name `talk (2).srt`. What has no transcript (yet) is listed in `errors.json`.
    """
    shaping = query.shaping()
    chosen = FORMATS[query.format]
    batch = batches.get(batch_id)
    done, _ = batches.items(batch_id, status=JobStatus.COMPLETED, limit=1)
    if not done and batch.status is not BatchStatus.COMPLETED:
        raise NotReady("No job of the batch has completed yet.", retry_after=1)
    headers = {
        "Content-Disposition": content_disposition(f"batch-{batch_id}.zip"),
        "Cache-Control": "private, no-store",
    }
    if HEAD_ONLY in request.scope:  # how long it would be nobody knows
        return StreamingResponse(iter(()), headers=headers, media_type="application/zip")
    blocks = archive(
        _all_items(batches, batch_id),
        lambda job: chosen.render(stored_transcript(parts.deps, jobs, job, number_of(job, query.revision)), shaping),
        lambda job: renamed(job.source.filename, chosen.extension),
    )
    return StreamingResponse(blocks, headers=headers, media_type="application/zip")


@router.post("/batches/{batch_id}/close", dependencies=[NO_QUERY], responses=responses("batch_not_found", "validation"))
def close_batch(batch_id: BatchId, batches: Batches, base: Base) -> BatchBody:
    """No more files: the batch is completed when those it has are done. One that is closed stays as it is."""
    batches.close(batch_id)
    return BatchBody.counted(*batches.tally(batch_id), base=base)


@router.post(
    "/batches/{batch_id}/cancel",
    status_code=202,
    dependencies=[NO_QUERY],
    responses=responses("batch_not_found", "already_terminal", "validation"),
)
def cancel_batch(batch_id: BatchId, batches: Batches, base: Base) -> BatchBody:
    """Close it, and cancel its jobs that have not ended."""
    batches.cancel(batch_id)
    return BatchBody.counted(*batches.tally(batch_id), base=base)


@router.post(
    "/batches/{batch_id}/retry",
    status_code=202,
    dependencies=[NO_QUERY],
    responses=responses(
        "batch_not_found",
        "already_terminal",
        "expired",
        "queue_full",
        "quota_exceeded",
        "insufficient_storage",
        "validation",
    ),
)
def retry_batch(batch_id: BatchId, batches: Batches, jobs: Jobs, parts: PartsDep, who: Who, base: Base) -> BatchBody:
    """Make new jobs of those that failed, in their place; they take over the finished chunks. None is made twice."""
    parts.admit(jobs, who, 0)
    for job_id in retry_failed(batches, jobs, who.limits, batch_id):
        parts.deps.notify(job_id)
    return BatchBody.counted(*batches.tally(batch_id), base=base)


@router.delete(
    "/batches/{batch_id}",
    status_code=204,
    dependencies=[NO_QUERY],
    responses=responses("batch_not_found", "validation"),
)
def delete_batch(batch_id: BatchId, batches: Batches) -> None:
    """Cancel its jobs if need be and remove them with their audio and transcripts. They are gone from now on."""
    batches.delete(batch_id)
    log.info("Deletion of batch %s requested", batch_id)


def _all_items(batches: OwnerBatches, batch_id: str) -> Iterator[Job]:
    after: str | None = None
    while True:
        page, after = batches.items(batch_id, limit=PAGE, after=after)
        yield from page
        if after is None:
            return
