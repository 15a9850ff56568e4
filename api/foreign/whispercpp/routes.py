"""`/inference`, as whisper.cpp's server has it."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from api.access.scopes import needs
from api.deps import NO_QUERY
from api.foreign.caller import CallerDep
from api.foreign.tables import form_body, form_of
from api.foreign.whispercpp.answers import answer
from api.foreign.whispercpp.errors import ERRORS
from api.foreign.whispercpp.wanted import InferenceForm, wanted
from core.errors import Unsupported
from core.keys import JOBS

router = APIRouter(tags=["whisper.cpp"], dependencies=[needs(JOBS), NO_QUERY], responses=ERRORS)

PATHS = ("/inference", "/load")

FORM = form_of(InferenceForm)
ANSWER: dict[str, Any] = {
    "description": "The transcript, in the shape of whisper.cpp's server.",
    "content": {"application/json": {}, "text/plain": {}, "application/x-subrip": {}, "text/vtt": {}},
}


@router.post("/inference", response_class=Response, responses={200: ANSWER}, openapi_extra=form_body(InferenceForm))
async def create_inference(caller: CallerDep) -> Response:
    """whisper.cpp's `/inference`: waits for the transcript. A client that goes cancels its job.

    What its form can ask for and is not done is named in the header `X-Parascribe-Warning`.
    """
    job, want = await caller.accept(FORM, wanted)
    return caller.told(await caller.wait(job, partial(answer, want=want)), job, want.warnings)


@router.post("/load", response_class=Response)
async def load_model() -> Response:
    """Refused: a model is not loaded by a path from outside. Name one in the field `model` of `/inference`."""
    raise Unsupported("no model is loaded by its path here: name one in the field 'model' of /inference")
