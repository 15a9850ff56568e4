"""Looking at jobs and steering them."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, Base, JobId, Jobs, PartsDep, Who
from api.events.status import Asked
from api.http.problems import Responses, responses
from api.schemas import JobBody, JobPageBody
from core.jobs.job import JobStatus
from core.keys import JOBS
from core.submission.retry import retry
from core.transcript.search import query as search

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])

NOT_MODIFIED: Responses = {304: {"description": "Unchanged since the ETag given in If-None-Match."}}


class ListQuery(BaseModel):
    """Parameters of the list; others are refused."""

    model_config = ConfigDict(extra="forbid")

    status: JobStatus | None = Field(None, description="Only jobs that stand there.")
    limit: int = Field(50, ge=1, le=200)
    after: str | None = Field(None, pattern=r"^[!-~]{1,200}$", description="`next` of the page before.")
    q: str | None = Field(
        None,
        min_length=1,
        max_length=search.MOST_LETTERS,
        description='Only jobs with all of this in name or transcript: words, "phrases", beginnings*.',
    )


class RetryQuery(BaseModel):
    """Parameters of retry; others are refused."""

    model_config = ConfigDict(extra="forbid")

    all: bool = Field(False, description="Transcribe everything anew instead of only what is missing.")


class WaitQuery(BaseModel):
    """Parameters of a look at one job; others are refused."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(
        0.0, ge=0, le=60, description="Seconds to wait for a change, where If-None-Match names the present state."
    )


IfNoneMatch = Annotated[str | None, Header(description="ETag of the answer the client has.")]


@router.get("/jobs", dependencies=[NO_REPEATS], responses=responses("validation"))
def list_jobs(jobs: Jobs, base: Base, query: Annotated[ListQuery, Query()]) -> JobPageBody:
    """Jobs, newest first. With `q` a page may be short, or empty, and others follow: `next` tells."""
    wanted = None if query.q is None else search.Query.of(query.q)
    page, following = jobs.list(status=query.status, limit=query.limit, after=query.after, query=wanted)
    return JobPageBody(items=[JobBody.of(job, base=base) for job in page], next=following)


@router.get(
    "/jobs/{job_id}",
    response_model=JobBody,
    dependencies=[NO_REPEATS],
    responses={**NOT_MODIFIED, **responses("job_not_found", "validation")},
)
async def get_job(
    request: Request,
    job_id: JobId,
    parts: PartsDep,
    who: Who,
    base: Base,
    query: Annotated[WaitQuery, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One job. 200 as long as it exists, however it ended; poll with the ETag, and with `wait` seldom.

    A job that has ended is not waited for.
    """
    asked = Asked(who, job_id, base)
    status = await parts.status.read(asked)
    if query.wait and status.known(if_none_match) and not status.job.terminal:
        status = await parts.hub.changed(asked, status, query.wait, request)
    return status.response(if_none_match)


STATUS = router.routes[-1]
"""The route above, which `api.events.status.StatusRoute` answers for."""


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    dependencies=[NO_QUERY],
    responses=responses("job_not_found", "already_terminal", "validation"),
)
def cancel_job(job_id: JobId, jobs: Jobs, base: Base) -> JobBody:
    """Ask for a job to be cancelled. One that waits is cancelled at once, one that runs within a second or so."""
    return JobBody.of(jobs.request_cancel(job_id), base=base)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    dependencies=[NO_REPEATS],
    responses=responses(
        "job_not_found",
        "not_ready",
        "already_terminal",
        "expired",
        "queue_full",
        "quota_exceeded",
        "insufficient_storage",
        "validation",
    ),
)
def retry_job(
    job_id: JobId,
    jobs: Jobs,
    parts: PartsDep,
    who: Who,
    base: Base,
    request: Request,
    response: Response,
    query: Annotated[RetryQuery, Query()],
) -> JobBody:
    """Make a new job from one that failed, was cancelled or is partial, with its file and parameters.

    The new job takes over the finished chunks (`?all=true`: none).
    """
    parts.admit(jobs, who, 0)
    job = retry(jobs, job_id, everything=query.all)
    parts.deps.notify(job.id)
    response.headers["Location"] = f"{base}/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return JobBody.of(job, base=base)


@router.delete(
    "/jobs/{job_id}", status_code=204, dependencies=[NO_QUERY], responses=responses("job_not_found", "validation")
)
def delete_job(job_id: JobId, jobs: Jobs) -> None:
    """Cancel the job if need be and remove it with its audio and transcript. It is gone from now on."""
    jobs.request_delete(job_id)
    log.info("Deletion of job %s requested", job_id)
