"""`/v1/listen`, as Deepgram's clients ask for it: files by POST, streams by WebSocket."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from fastapi import APIRouter, Response, WebSocket

from api.access.identity import identity_of
from api.access.scopes import needs
from api.deps import Parts, PartsDep
from api.foreign.caller import WARNING, CallerDep
from api.foreign.deepgram.answers import answer
from api.foreign.deepgram.errors import ERRORS, request_id
from api.foreign.deepgram.live import LiveListen, error_message
from api.foreign.deepgram.live_wanted import live_wanted
from api.foreign.deepgram.wanted import FileQuery, wanted
from api.foreign.tables import query_parameters
from api.live.client import GONE, Client
from api.live.closing import NORMAL, close_code, failure_of
from api.upload.json_body import is_json, read_object
from core.errors import ServiceError, refusal
from core.keys import JOBS

router = APIRouter(prefix="/v1/listen", tags=["deepgram"], dependencies=[needs(JOBS)], responses=ERRORS)

ANSWER: dict[str, Any] = {"description": "The transcript.", "content": {"application/json": {}}}
NAMED = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": NAMED},
    },
}
SCHEMES = ("token", "bearer")
"""What browsers offer as a subprotocol before their key, and want back."""


@router.post(
    "",
    response_class=Response,
    responses={200: ANSWER},
    openapi_extra={"requestBody": BODY, "parameters": query_parameters(FileQuery)},
)
async def create_listen(caller: CallerDep) -> Response:
    """Deepgram's `listen.v1.media`: waits for the transcript. A client that goes cancels its job."""
    request = caller.request
    want = wanted(request.query_params.multi_items(), here=_models(caller.parts))
    if is_json(request):
        given = await read_object(request, caller.parts.receiver)
        if unknown := sorted(given.keys() - {"url"}):
            raise refusal(*({"field": name, "message": "Extra inputs are not permitted"} for name in unknown))
        job = await caller.accept_named(given, want)
    else:
        job = await caller.accept_body(want)
    response = await caller.wait(job, partial(answer, want=want, job=job))
    return caller.told(response, job, want.common.told)


@router.websocket("")
async def listen(socket: WebSocket) -> None:
    """Deepgram's `listen.v1.connect`. What cannot be is refused before the connection is made."""
    parts = socket.app.state.parts
    assert isinstance(parts, Parts)
    want = live_wanted(socket.query_params.multi_items(), here=_models(parts))
    link = await parts.live.open(want.start, identity_of(socket.scope))
    name = request_id()
    try:
        offered = next((one for one in socket.scope.get("subprotocols", [])[:1] if one.lower() in SCHEMES), None)
        headers = [(b"dg-request-id", name.encode())]
        if want.common.told:
            headers.append((WARNING.lower().encode(), "; ".join(want.common.told).encode("ascii", "replace")))
        await socket.accept(offered, headers=headers)
        client = Client(socket)
        with contextlib.suppress(*GONE):
            try:
                await LiveListen(client, link, want, name).run()
            except ServiceError as error:
                failure = failure_of(error)
                await client.say(error_message(error))
                await socket.close(close_code(failure), reason=failure.code)
            else:
                await socket.close(NORMAL)
    finally:
        await link.close()


def _models(parts: PartsDep) -> set[str]:
    return {status.info.name for status in parts.deps.models.list()}
