"""`/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/models`, as OpenAI's clients ask for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.types import Scope

from api.access.identity import Identity
from api.access.scopes import needs
from api.deps import NO_QUERY, Base, Deps, Jobs, Parts, PartsDep, Who
from api.events.follower import Follower
from api.events.hub import Seen
from api.events.status import Asked
from api.events.stream import EventStream
from api.http.problems import STATUS
from api.openai.answers import Told, answer, deltas
from api.openai.errors import ERRORS, OpenAIRoute
from api.openai.wanted import FORM, OURS, Wanted, wanted
from api.routes.results import stored_transcript
from api.upload.received import Fields
from api.upload.receiver import declared_length
from core.errors import Cancelled, RequestError, ServiceError, SyncTimeout, UnknownModel
from core.jobs.job import Job, JobStatus, Source, new_id
from core.jobs.params import Task
from core.jobs.turns import INTERACTIVE
from core.keys import JOBS, MODELS
from core.objects.store import source_key
from core.store.protocols import OwnerJobs
from core.transcript.values import Transcript

router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute, responses=ERRORS)

ON_DISCONNECT = "X-On-Disconnect"
"""`keep`: the job goes on when its client has gone."""

ANSWER: dict[str, Any] = {
    "description": "The transcript, in OpenAI's shape.",
    "content": {"application/json": {}, "text/plain": {}, "text/event-stream": {}},
}
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {"type": "object"}}}}}


@router.post(
    "/audio/transcriptions",
    response_class=Response,
    dependencies=[needs(JOBS), NO_QUERY],
    responses={200: ANSWER},
    openapi_extra=BODY,
)
async def create_transcription(request: Request, jobs: Jobs, parts: PartsDep, who: Who, base: Base) -> Response:
    """OpenAI's `audio.transcriptions.create`: waits for the transcript. A client that goes cancels its job."""
    return await _transcribe(request, jobs, parts, who, base, "transcribe")


@router.post(
    "/audio/translations",
    response_class=Response,
    dependencies=[needs(JOBS), NO_QUERY],
    responses={200: ANSWER},
    openapi_extra=BODY,
)
async def create_translation(request: Request, jobs: Jobs, parts: PartsDep, who: Who, base: Base) -> Response:
    """OpenAI's `audio.translations.create`: the same in English."""
    return await _transcribe(request, jobs, parts, who, base, "translate")


@router.get("/models", dependencies=[needs(JOBS, MODELS), NO_QUERY])
def list_openai_models(deps: Deps) -> dict[str, Any]:
    """OpenAI's `models.list`."""
    names = dict.fromkeys(["whisper-1", *(status.info.name for status in deps.models.list())])
    return {"object": "list", "data": [_model(name) for name in names]}


@router.get("/models/{model:path}", dependencies=[needs(JOBS, MODELS), NO_QUERY])
def get_openai_model(model: str, deps: Deps) -> dict[str, Any]:
    """OpenAI's `models.retrieve`."""
    if not OURS.fullmatch(model) and model not in {status.info.name for status in deps.models.list()}:
        raise UnknownModel(f"The model {model!r} does not exist.")
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "parascribe"}


async def _transcribe(
    request: Request, jobs: OwnerJobs, parts: Parts, who: Identity, base: str, task: Task
) -> Response:
    async with parts.receiver.place(request):
        job, want = await _accept(request, jobs, parts, who, task)
    parts.deps.notify(job.id)
    headers = {"X-Parascribe-Job": job.id} | ({"X-Parascribe-Warning": want.warning} if want.warning else {})
    keep = request.headers.get(ON_DISCONNECT, "").lower() == "keep"

    async def result() -> AsyncIterator[Transcript]:
        yield await run_in_threadpool(_transcript, parts, jobs, job.id)

    @contextlib.asynccontextmanager
    async def waiting(scope: Scope) -> AsyncIterator[Follower[Seen]]:
        async with parts.hub.follow(Asked(who, job.id, base), scope) as follower:
            try:
                yield follower
            finally:
                if not keep and not follower.now.ended:
                    with contextlib.suppress(ServiceError):  # it has ended meanwhile, or its lease will
                        await run_in_threadpool(jobs.request_cancel, job.id)

    @contextlib.asynccontextmanager
    async def opened(scope: Scope) -> AsyncIterator[tuple[Follower[Seen], AsyncIterator[Told | None]]]:
        async with waiting(scope) as follower:
            yield follower, deltas(parts.hub, follower, want, result)

    if want.stream:
        response: Response = EventStream(opened)
    else:
        async with waiting(request.scope) as follower, follower.closing(request.receive):
            await _ended(follower, parts.deps.settings.sync_wait_seconds)
        response = answer(await run_in_threadpool(_transcript, parts, jobs, job.id), want)
    response.headers.update(headers)
    return response


async def _ended(follower: Follower[Seen], seconds: float) -> None:
    """Raises SyncTimeout, Cancelled when the client has gone, or the server goes."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not (seen := follower.now).ended:
        if follower.closed:
            raise Cancelled
        if loop.time() >= until:
            raise SyncTimeout
        await follower.wait(seen, until - loop.time())


async def _accept(request: Request, jobs: OwnerJobs, parts: Parts, who: Identity, task: Task) -> tuple[Job, Wanted]:
    intake = parts.intake
    await run_in_threadpool(parts.admit, jobs, who, declared_length(request) or 0)
    job_id = new_id()

    async def check_fields(fields: Fields) -> None:
        await run_in_threadpool(intake.check_some, wanted(fields, {}, task).options)

    upload = await parts.receiver.receive(request, FORM, store=partial(intake.put, job_id), check_fields=check_fields)
    try:
        want = wanted(upload.fields, upload.repeated, task)
    except RequestError:  # what came behind the file, or several times, is known only now
        await run_in_threadpool(intake.discard, source_key(job_id))
        raise
    source = Source(
        filename=upload.filename,
        bytes=upload.bytes,
        media_type=upload.media_type,
        sha256=upload.sha256,
        key=source_key(job_id),
    )
    job = await run_in_threadpool(intake.accept, jobs, job_id, source, want.options, priority=INTERACTIVE)
    return job, want


def _transcript(parts: Parts, jobs: OwnerJobs, job_id: str) -> Transcript:
    """Raises why there is none."""
    job = jobs.get(job_id)
    if job.status is JobStatus.FAILED and job.error is not None:
        failure = ServiceError(job.error.message)
        failure.code = job.error.code if job.error.code in STATUS else failure.code  # type: ignore[misc]
        raise failure
    if job.status is JobStatus.CANCELLED:
        raise Cancelled
    return stored_transcript(parts.deps, jobs, job)
