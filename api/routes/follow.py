"""Following jobs: server-sent events, WebSocket, and segments for who can do neither."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field

from api.access.identity import identity_of
from api.access.scopes import needs
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, Base, JobId, Parts, PartsDep, Who, get_base, get_job_id, no_repeats
from api.events.status import Asked
from api.events.stream import Position, send_messages, since_of, stream_of, stream_of_all
from api.http.problems import responses
from api.schemas import SegmentsBody
from core.errors import refusal
from core.keys import JOBS

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])

LastEventId = Annotated[str | None, Header(description="Id of the last event that the client has.")]

EVENTS: dict[str, Any] = {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}


class SegmentsQuery(BaseModel):
    """Parameters of the segments; others are refused."""

    model_config = ConfigDict(extra="forbid")

    first: int = Field(0, alias="from", ge=0, le=10**9, description="Number of the first one wanted.")
    wait: float = Field(0.0, ge=0, le=60, description="Seconds to wait for it.")


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    dependencies=[NO_QUERY],
    responses={
        200: EVENTS,
        204: {"description": "The client has had the end: an EventSource does not come again."},
        **responses("job_not_found", "validation"),
    },
)
async def follow_job(
    job_id: JobId, parts: PartsDep, who: Who, base: Base, last_event_id: LastEventId = None
) -> Response:
    """One job as server-sent events.

    `job` has its whole body whenever it changes (four times a second at most), `segments` those of the transcript that
    are final (`{"from": 12, "segments": [...]}`, in order, each once), `end` its status; then the stream closes.
    With `Last-Event-ID` it goes on behind that event, after a restart of the service too.
    """
    asked, at = Asked(who, job_id, base), Position.parse(last_event_id)
    if at.ended:
        await parts.status.read(asked)
        return Response(status_code=204)
    return stream_of(parts.hub, asked, at)


@router.get(
    "/events", response_class=Response, dependencies=[NO_QUERY], responses={200: EVENTS, **responses("validation")}
)
async def follow_jobs(parts: PartsDep, who: Who, base: Base, last_event_id: LastEventId = None) -> Response:
    """All your jobs as server-sent events: `job` with the body of each that has not ended, then of each that changes.

    Between the two comes an `id` without an event: who waits for a job of which nothing was said until then looks at it once.
    After a break, with `Last-Event-ID`, what has ended meanwhile is told too; a state may then come a second time. Segments
    are told of single jobs only. Of more than 1,000 jobs in the same state the newest are followed.
    """
    return stream_of_all(parts.hub, who, base, since_of(last_event_id))


@router.get(
    "/jobs/{job_id}/segments",
    response_model=SegmentsBody,
    dependencies=[NO_REPEATS],
    responses=responses("job_not_found", "expired", "validation"),
)
async def get_segments(
    request: Request, job_id: JobId, parts: PartsDep, who: Who, base: Base, query: Annotated[SegmentsQuery, Query()]
) -> Response:
    """The transcript as far as it is final, while the job runs: at once when there is something, else when it comes.

    Of a job that has failed or was cancelled too: what there was.
    """
    part, ended = await parts.hub.final_segments(Asked(who, job_id, base), query.first, query.wait, request)
    found = part.body(query.first)
    following = max(query.first, part.end)
    body = f'{{"from": {query.first}, "segments": {found}, "next": {following}, "ended": {str(ended).lower()}}}'
    return Response(body, media_type="application/json")


@router.websocket("/jobs/{job_id}/ws")
async def follow_by_websocket(socket: WebSocket, job_id: str) -> None:
    """The events of `/jobs/{job_id}/events` as JSON messages `{"event", "id", "data"}`; `?last_event_id=` to go on."""
    parts = socket.app.state.parts
    assert isinstance(parts, Parts)
    await no_repeats(socket)
    if unknown := socket.query_params.keys() - {"last_event_id"}:
        raise refusal(*({"field": name, "message": "no such parameter here"} for name in sorted(unknown)))
    at = Position.parse(socket.query_params.get("last_event_id"))
    base = await get_base(socket)
    asked = Asked(identity_of(socket.scope), await get_job_id(job_id), base)
    await send_messages(parts.hub, socket, asked, at)
