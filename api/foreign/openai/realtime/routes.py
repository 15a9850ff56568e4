"""`WS /v1/realtime`, as OpenAI's clients connect to it, and the routes beside it that are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response, WebSocket

from api.access.identity import identity_of
from api.access.scopes import needs
from api.deps import Parts, no_repeats
from api.foreign.openai.errors import ERRORS
from api.foreign.openai.realtime.session import RealtimeSession
from api.foreign.openai.realtime.told import error_event
from api.foreign.openai.wanted import OURS
from api.foreign.tables import unsupported
from api.live.client import GONE, Client
from api.live.closing import NORMAL, close_code, failure_of
from core.errors import ServiceError, Unsupported, refusal
from core.keys import JOBS

router = APIRouter(prefix="/v1", tags=["openai"], dependencies=[needs(JOBS)], responses=ERRORS)

SUBPROTOCOL, OLDER_SUBPROTOCOL = "realtime", "openai-beta.realtime-v1"
"""What clients in browsers offer beside their key; the first is what they want back."""


@router.websocket("/realtime")
async def realtime(socket: WebSocket) -> None:
    """OpenAI's `realtime.connect`, for transcription sessions."""
    parts = socket.app.state.parts
    assert isinstance(parts, Parts)
    await no_repeats(socket)
    asked = _asked(socket.query_params, here={status.info.name for status in parts.deps.models.list()})
    offered = socket.scope.get("subprotocols", [])
    older = OLDER_SUBPROTOCOL in offered or "realtime=v1" in socket.headers.get("openai-beta", "")
    client = Client(socket)
    session = RealtimeSession(
        client, parts.live, identity_of(socket.scope), check=parts.intake.check, asked=asked, older=older
    )
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    with contextlib.suppress(*GONE):
        try:
            await session.run()
        except ServiceError as error:
            failure = failure_of(error)
            await client.say(error_event(error))
            await socket.close(close_code(failure), reason=failure.code)
        else:
            await socket.close(NORMAL)


@router.post("/realtime/client_secrets", response_class=Response)
async def create_client_secret() -> Response:
    """Refused: keys here are good until they are revoked or expire, and are made by `parascribe keys`."""
    raise Unsupported("There are no keys for a while here; make one with an end: parascribe keys create --expires.")


@router.post("/realtime/transcription_sessions", response_class=Response)
async def create_transcription_session() -> Response:
    """Refused, as `/realtime/client_secrets`: it would make such a key too."""
    raise Unsupported("There are no keys for a while here; make one with an end: parascribe keys create --expires.")


def _asked(query: Mapping[str, str], *, here: set[str]) -> dict[str, Any]:
    """What the address asks for, as `settings_of` takes it. Raises ValidationFailed, Unsupported."""
    if unknown := sorted(query.keys() - {"intent", "model"}):
        raise refusal(*({"field": name, "message": "no such parameter here"} for name in unknown))
    intent, model = query.get("intent"), query.get("model")
    if intent not in (None, "transcription"):
        raise unsupported("intent", "must be transcription: nothing here answers")
    if model is not None and model not in here and not OURS.fullmatch(model):
        raise unsupported("model", f"{model} is none that transcribes; with intent=transcription none is needed")
    return {"transcription": {"model": model}} if model else {}
