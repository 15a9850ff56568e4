"""`/asr` and `/detect-language`, as whisper-asr-webservice has them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from api.access.scopes import needs
from api.deps import NO_REPEATS
from api.events.hub import Seen
from api.foreign.asr.answers import answer, language_of
from api.foreign.asr.errors import ERRORS
from api.foreign.asr.wanted import AsrQuery, DetectQuery, Wanted, wanted, wanted_language
from api.foreign.caller import Caller, CallerDep, failure_of
from api.foreign.tables import form_body, query_parameters
from api.upload.form import Form
from core.audio.wav import OPEN_HEADER
from core.errors import ServiceError
from core.jobs.job import Job
from core.keys import JOBS

router = APIRouter(tags=["asr"], dependencies=[needs(JOBS), NO_REPEATS], responses=ERRORS)

PATHS = ("/asr", "/detect-language")
AUDIO = "audio_file"


@dataclass(frozen=True)
class _File:
    """The form: no fields beside the file, everything else is in the query."""


def _described(query: type) -> dict[str, Any]:
    return {**form_body(_File, file=AUDIO), "parameters": query_parameters(query)}


@router.post(
    "/asr",
    response_class=Response,
    responses={200: {"description": "The transcript.", "content": {"text/plain": {}}}},
    openapi_extra=_described(AsrQuery),
)
async def create_asr(caller: CallerDep) -> Response:
    """whisper-asr-webservice's `/asr`: waits for the transcript. A client that goes cancels its job.

    What its query can ask for and is not done is named in the header `X-Parascribe-Warning`.
    """
    want = wanted(caller.request.query_params)
    job = await _accept(caller, want)
    response = await caller.wait(job, partial(answer, want=want, job=job))
    return caller.told(response, job, want.warnings)


@router.post(
    "/detect-language",
    response_class=Response,
    responses={200: {"description": "The language.", "content": {"application/json": {}}}},
    openapi_extra=_described(DetectQuery),
)
async def create_detection(caller: CallerDep) -> Response:
    """whisper-asr-webservice's `/detect-language`, by the first half minutes with speech: the rest is not transcribed.

    Nothing is kept of the file. `und` where nobody speaks.
    """
    want = wanted_language(caller.request.query_params)
    job = await _accept(caller, want)

    def known(seen: Seen) -> bool:
        return seen.ended or seen.status.job.language is not None

    try:
        async with caller.follow(job.id, caller.request.scope) as follower, follower.closing(caller.request.receive):
            found = (await caller.until(follower, known, caller.deadline())).status.job
    finally:
        with contextlib.suppress(ServiceError):  # it stays as a cancelled one
            await run_in_threadpool(caller.jobs.request_delete, job.id)
    if found.language is None and (failure := failure_of(found)):
        raise failure
    return caller.told(Response(json.dumps(language_of(found)), media_type="application/json"), None, want.warnings)


async def _accept(caller: Caller, want: Wanted) -> Job:
    form = Form(file=AUDIO, fields=(), head=b"" if want.encode else OPEN_HEADER)
    job, _ = await caller.accept(form, lambda fields, repeated: want, filename=want.video_file)
    return job
