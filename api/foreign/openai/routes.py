"""`/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/models`, as OpenAI's clients ask for them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastapi import APIRouter, Response
from starlette.types import Scope

from api.access.scopes import needs
from api.deps import NO_QUERY, Deps
from api.events.follower import Follower
from api.events.hub import Seen
from api.events.stream import EventStream
from api.foreign.caller import Caller, CallerDep
from api.foreign.openai.answers import Told, answer, deltas
from api.foreign.openai.errors import ERRORS
from api.foreign.openai.wanted import FORM, OURS, wanted
from core.errors import UnknownModel
from core.jobs.params import Task
from core.keys import JOBS, MODELS
from core.transcript.values import Transcript

router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS)

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
async def create_transcription(caller: CallerDep) -> Response:
    """OpenAI's `audio.transcriptions.create`: waits for the transcript. A client that goes cancels its job."""
    return await _transcribe(caller, "transcribe")


@router.post(
    "/audio/translations",
    response_class=Response,
    dependencies=[needs(JOBS), NO_QUERY],
    responses={200: ANSWER},
    openapi_extra=BODY,
)
async def create_translation(caller: CallerDep) -> Response:
    """OpenAI's `audio.translations.create`: the same in English."""
    return await _transcribe(caller, "translate")


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


async def _transcribe(caller: Caller, task: Task) -> Response:
    job, want = await caller.accept(FORM, partial(wanted, task=task))

    async def result() -> AsyncIterator[Transcript]:
        yield await caller.transcript(job.id)

    @contextlib.asynccontextmanager
    async def opened(scope: Scope) -> AsyncIterator[tuple[Follower[Seen], AsyncIterator[Told | None]]]:
        async with caller.follow(job.id, scope) as follower:
            yield follower, deltas(caller.parts.hub, follower, want, result)

    response = EventStream(opened) if want.stream else await caller.wait(job, partial(answer, wanted=want))
    return caller.told(response, job, [want.warning] if want.warning else [])
