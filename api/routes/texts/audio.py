"""GET /jobs/{id}/audio and /peaks, for players: the uploaded file or a form of it, whole or in part; how loud it is."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from api.access.scopes import needs
from api.audio.forms import FORMS, FormName
from api.audio.measuring import LOUDEST, PER_SECOND, reduced
from api.audio.renditions import Kept, Making
from api.deps import NO_REPEATS, PREFIX, JobId, Jobs, Parts, PartsDep
from api.events.status import matches
from api.http.downloads import content_disposition, part_of, renamed
from api.http.middleware import HEAD_ONLY
from api.http.problems import responses
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


class AudioQuery(BaseModel):
    """Parameters of the audio; others are refused."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["source", FormName] = Field(
        "source",
        description="`source`: as it was uploaded. `mp3`, `opus`: what every browser plays, in mono, as it was heard.",
    )


NOT_PLAYABLE = (
    "no_audio_stream",
    "audio_track_missing",
    "audio_empty",
    "audio_undecodable",
    "audio_too_long",
    "audio_encrypted",
    "disk_full",
)
"""What can be wrong with a file that is to be decoded."""


@router.get(
    "/jobs/{job_id}/audio",
    response_class=Response,
    dependencies=[NO_REPEATS],
    responses={
        **_PARTS,
        **NOT_MODIFIED,
        **responses(
            "job_not_found",
            "not_ready",
            "expired",
            "invalid_range",
            "unsupported",
            *NOT_PLAYABLE,
            "insufficient_storage",
            "storage_unavailable",
            "validation",
        ),
    },
)
async def get_audio(
    request: Request,
    job_id: JobId,
    jobs: Jobs,
    parts: PartsDep,
    query: Annotated[AudioQuery, Query()],
    range: Range = None,  # noqa: A002 (the header's own name)
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The file as it was uploaded or fetched, or a form that players can play. 410 when its retention is over.

    A form is made at first need: until it is done it comes as it is made, all of it, without its size (`Range` counts as not
    asked). Then it is kept, and comes in parts too. 409 with Retry-After while its beginning is made, or while as many others
    are made as the service allows (MAX_AUDIO_CONVERSIONS).
    """
    job = await run_in_threadpool(jobs.get, job_id)
    _check_there(job)
    source = job.source
    media_type, etag, key, size = source.media_type, f'"{source.sha256}"', source.key, source.bytes
    headers = {"Content-Disposition": content_disposition(source.filename, "inline")}
    if query.format != "source":
        media_type = FORMS[query.format].media_type
        headers = {"Content-Disposition": content_disposition(renamed(source.filename, query.format), "inline")}
        form = await _form(request, job, query.format, jobs, parts)
        if not isinstance(form, Kept):
            return Along(form, headers | {"Accept-Ranges": "none"}, media_type)
        etag, key, size = f'"{source.sha256}.{form.size}.{query.format}"', form.key, form.size
    headers |= {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",  # to be revalidated each time, by the ETag
    }
    if matches(etag, if_none_match):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    part = part_of(size, range) if if_range in (None, etag) else None
    start, end = part or (0, size)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
    if HEAD_ONLY in request.scope:
        return Response(None, status, headers, media_type)
    try:
        stream = await run_in_threadpool(parts.deps.objects.open, key, offset=start)
    except KeyError:
        if key != source.key:  # cleared away since it was looked up
            raise NotReady("The audio is being made playable.", retry_after=1) from None
        raise (await run_in_threadpool(_missing, job, jobs)) from None
    return StreamingResponse(_blocks(stream, end - start), status, headers, media_type)


async def _form(request: Request, job: Job, name: FormName, jobs: OwnerJobs, parts: Parts) -> Kept | Making | None:
    """None: nothing is made for who asks for the head alone."""
    if HEAD_ONLY in request.scope:
        return await run_in_threadpool(parts.renditions.kept, job, name)
    try:
        return await parts.renditions.of(job, name)
    except KeyError:
        raise (await run_in_threadpool(_missing, job, jobs)) from None


class Along(StreamingResponse):
    """Reads along while a form is made, as long as its client is there; None: has a head alone."""

    def __init__(self, making: Making | None, headers: dict[str, str], media_type: str) -> None:
        super().__init__(making.blocks() if making else iter(()), HTTPStatus.OK, headers, media_type)
        self._making = making

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._making:
                self._making.detach()


class PeaksQuery(BaseModel):
    """Parameters of the peaks; others are refused."""

    model_config = ConfigDict(extra="forbid")

    points: int = Field(2000, ge=1, le=20_000, description="How many at most; there are 20 for each second.")


@router.get(
    "/jobs/{job_id}/peaks",
    dependencies=[NO_REPEATS],
    responses=responses("job_not_found", "not_ready", "expired", *NOT_PLAYABLE, "storage_unavailable", "validation"),
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
