"""WS /live: speech while it is spoken."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from api.access.identity import identity_of
from api.access.scopes import needs
from api.deps import PREFIX, Parts
from api.live.conversation import converse
from core.errors import refusal
from core.keys import JOBS
from core.live.options import Start

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])


@router.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Audio in, text out while it is spoken: docs/reference/live.md has the messages, docs/how-to/live-streams.md clients."""
    parts = socket.app.state.parts
    assert isinstance(parts, Parts)
    if given := sorted(set(socket.query_params)):
        raise refusal(*({"field": name, "message": "no such parameter here: say it in `start`"} for name in given))
    who = identity_of(socket.scope)

    def admit(start: Start) -> None:
        if start.session is None and start.stream.save:  # else there will be no job, or it was admitted when it began
            try:
                parts.admit(parts.jobs(who), who, 0)
            except Exception as error:
                parts.metrics.live.refused(getattr(error, "code", "internal"))
                raise

    await socket.accept()
    await converse(socket, parts.live, who, admit)
