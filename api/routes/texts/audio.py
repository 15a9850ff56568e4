"""GET /jobs/{id}/audio and /peaks: the uploaded file, whole or in part, and how loud it is, for players."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, Deps, JobId, Jobs, PartsDep
from api.events.status import matches
from api.http.downloads import content_disposition, part_of
from api.http.middleware import HEAD_ONLY
from api.http.problems import responses
from api.peaks.measuring import LOUDEST, PER_SECOND, reduced
from api.routes.jobs import NOT_MODIFIED, IfNoneMatch
from api.schemas import PeaksBody
from core.errors import Expired, NotReady, ServiceError
from core.jobs.job import Job
from core.keys import JOBS
from core.store.owners import OwnerJobs

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])

KINDS = ("audio/*", "video/*", "application/*")
"""Of uploads, as `core.audio.sniff` finds them."""

BLOCK_BYTES = 256 * 1024
"""How much of the file is in memory for each player."""

_BINARY = {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in KINDS}}
_PARTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", **_BINARY},
    206: {"description": "The part that `Range` asks for.", **_BINARY},
}

Range = Annotated[
    str | None, Header(description="`bytes=0-1023`, `bytes=1024-` or `bytes=-1024`; several parts are answered by all.")
]
IfRange = Annotated[str | None, Header(description="ETag of the file that the part is to be of; else all of it comes.")]


@router.get(
    "/jobs/{job_id}/audio",
    response_class=Response,
    dependencies=[NO_QUERY],
    responses={
        **_PARTS,
        **NOT_MODIFIED,
        **responses("job_not_found", "not_ready", "expired", "invalid_range", "storage_unavailable", "validation"),
    },
)
def get_audio(
    request: Request,
    job_id: JobId,
    jobs: Jobs,
    deps: Deps,
    range: Range = None,  # noqa: A002 (the header's own name)
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The file as it was uploaded or fetched. 410 when its retention is over."""
    job = jobs.get(job_id)
    _check_there(job)
    size = job.source.bytes
    headers = {
        "ETag": f'"{job.source.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": content_disposition(job.source.filename, "inline"),
        "Cache-Control": "private, no-cache",  # to be revalidated each time, by the ETag
    }
    if matches(headers["ETag"], if_none_match):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    part = part_of(size, range) if if_range in (None, headers["ETag"]) else None
    start, end = part or (0, size)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
    if HEAD_ONLY in request.scope:
        return Response(None, status, headers, job.source.media_type)
    try:
        stream = deps.objects.open(job.source.key, offset=start)
    except KeyError:
        raise _missing(job, jobs) from None
    return StreamingResponse(_blocks(stream, end - start), status, headers, job.source.media_type)


class PeaksQuery(BaseModel):
    """Parameters of the peaks; others are refused."""

    model_config = ConfigDict(extra="forbid")

    points: int = Field(2000, ge=1, le=20_000, description="How many at most; there are 20 for each second.")


@router.get(
    "/jobs/{job_id}/peaks",
    dependencies=[NO_REPEATS],
    responses=responses(
        "job_not_found", "not_ready", "expired", "audio_undecodable", "storage_unavailable", "validation"
    ),
)
async def get_peaks(job_id: JobId, jobs: Jobs, parts: PartsDep, query: Annotated[PeaksQuery, Query()]) -> PeaksBody:
    """How loud the audio is over time, as players draw it. Made at first need: 409 with Retry-After while that takes."""
    job = await run_in_threadpool(jobs.get, job_id)
    _check_there(job)
    try:
        values = await parts.peaks.of(job)
    except KeyError:
        raise (await run_in_threadpool(_missing, job, jobs)) from None
    return await run_in_threadpool(_peaks, values, query.points)


def _peaks(values: bytes, points: int) -> PeaksBody:
    peaks = [round(value / LOUDEST, 3) for value in reduced(values, points)]
    return PeaksBody(duration=len(values) / PER_SECOND, peaks=peaks)


def _check_there(job: Job) -> None:
    """Raises Expired; NotReady when it has not been fetched yet."""
    if job.expired_audio:
        raise Expired
    if job.source.origin is not None:
        raise NotReady("The job's file has not been fetched.")


def _missing(job: Job, jobs: OwnerJobs) -> ServiceError:
    if jobs.get(job.id).expired_audio:  # since it was looked up
        return Expired()
    return ServiceError(f"The audio of job {job.id} is not in the object store.")


def _blocks(stream: BinaryIO, left: int) -> Iterator[bytes]:
    with stream:
        while left and (block := stream.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block
