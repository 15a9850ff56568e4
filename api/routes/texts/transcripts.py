"""The transcript as people edit it: each edit is a revision, and the original stays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from api.access.scopes import needs
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, JobId, Jobs, Parts, PartsDep
from api.events.status import matches
from api.http.json_body import read_body
from api.http.problems import field_errors, responses
from api.routes.jobs import NOT_MODIFIED, IfNoneMatch
from api.routes.texts.results import RevisionName, number_of, result_key_of, stored_transcript
from api.schemas import Body, LanguageBody, Seconds
from core.errors import PreconditionRequired, RevisionConflict, refusal
from core.jobs.job import Job
from core.keys import JOBS
from core.store.owners import OwnerJobs, Revision
from core.submission.revising import Kind, revise
from core.transcript.edits import MOST_ERRORS, Edit, edited, renamed
from core.transcript.values import Transcript

T = TypeVar("T")

router = APIRouter(prefix=PREFIX, tags=["jobs"], dependencies=[needs(JOBS)])

SPARE_BYTES, BYTES_PER_SECOND = 1 << 20, 256
"""An edit may have so many bytes, and so many more for each second of the recording: some ten times of what is spoken."""

IfMatch = Annotated[str | None, Header(description="ETag of the revision that was edited.")]

_Line = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RevisionQuery(BaseModel):
    """Parameters of the transcript; others are refused."""

    model_config = ConfigDict(extra="forbid")

    revision: RevisionName = "latest"


class SegmentEdit(BaseModel):
    """One segment as it shall be."""

    model_config = ConfigDict(extra="forbid")

    id: int | None = Field(None, ge=0, description="That of the segment that was edited; null or none: a new one.")
    start: _Time
    end: _Time
    text: _Line
    speaker: str | None = Field(None, max_length=200, description="Id of a speaker. Left out: as it was.")
    translation: _Line | None = Field(None, description="Left out: as it was.")


class TranscriptEdit(BaseModel):
    """What `GET` gave, with other segments. The rest is not changed here: it may be left out, or be as it was."""

    model_config = ConfigDict(extra="forbid")

    segments: Annotated[list[SegmentEdit], FailFast(), Field(max_length=200_000)]
    id: Any = None
    revision: Any = None
    latest: Any = None
    edited_at: Any = None
    language: Any = None
    duration: Any = None
    speakers: Any = None


Names = TypeAdapter(Annotated[dict[Annotated[str, StringConstraints(max_length=200)], _Name], Field(min_length=1)])


class SpokenBody(Body):
    """One segment."""

    id: int = Field(description="Its place in this revision, from 0.")
    start: Seconds
    end: Seconds
    text: str
    speaker: str | None = Field(description="Id of one of `speakers`.")
    translation: str | None


class SpeakerBody(Body):
    id: str = Field(examples=["SPEAKER_00"])
    name: str = Field(examples=["Anna"])
    seconds: float = Field(ge=0, description="For how long they speak.")


class TranscriptBody(Body):
    """One revision of a transcript, to be edited and sent back."""

    id: str = Field(description="Of the job.")
    revision: int = Field(ge=0, description="Of this one; 0 is the original.")
    latest: int = Field(ge=0, description="Of the newest one.")
    edited_at: datetime | None = Field(description="null: the original")
    language: LanguageBody
    duration: Seconds
    speakers: list[SpeakerBody] | None = Field(description="null: nobody listened for who speaks.")
    segments: list[SpokenBody]


class RevisionBody(Body):
    revision: int = Field(ge=0, description="Of what is the newest one now.")
    edited_at: datetime | None
    kind: Literal["original", "transcript", "speakers"] = Field(description="What was edited.")


def _edit_schema() -> dict[str, Any]:
    schema = TranscriptEdit.model_json_schema()
    schema["properties"]["segments"]["items"] = schema.pop("$defs")["SegmentEdit"]
    return schema


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


CHANGES = (
    "job_not_found",
    "not_ready",
    "expired",
    "revision_conflict",
    "too_large",
    "upload_too_slow",
    "insufficient_storage",
    "storage_unavailable",
    "validation",
)


@router.get(
    "/jobs/{job_id}/transcript",
    response_model=TranscriptBody,
    dependencies=[NO_REPEATS],
    responses={
        **NOT_MODIFIED,
        **responses("job_not_found", "revision_not_found", "not_ready", "expired", "storage_unavailable", "validation"),
    },
)
def get_transcript(
    job_id: JobId,
    jobs: Jobs,
    parts: PartsDep,
    query: Annotated[RevisionQuery, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The transcript for an editor. Its ETag is what `If-Match` wants of a change."""
    job = jobs.get(job_id)
    result_key_of(job)
    number = number_of(job, query.revision)
    found = jobs.revision(job_id, number) if number else None
    headers = {"ETag": _etag(job, number), "Cache-Control": "private, no-cache"}
    # `latest` is in the body too: of an older one, another ETag would be told apart from a change
    if number == job.revision and matches(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    transcript = stored_transcript(parts.deps, jobs, job, number)
    body = json.dumps(_shown(job, number, found, transcript), ensure_ascii=False)
    return Response(body, headers=headers, media_type="application/json")


@router.put(
    "/jobs/{job_id}/transcript",
    dependencies=[NO_QUERY],
    responses=responses(*CHANGES, "precondition_required"),
    openapi_extra=_json_body(_edit_schema()),
)
async def put_transcript(
    request: Request, response: Response, job_id: JobId, jobs: Jobs, parts: PartsDep, if_match: IfMatch = None
) -> RevisionBody:
    """Replace the whole transcript: a new revision. What is written twice in the same words is one.

    `If-Match` names the revision that was edited (428 without); when it is not the newest any more, 412.
    Segments that keep their `id` keep what is known of them; times of words too, where the words are the same.
    """
    job = await run_in_threadpool(jobs.get, job_id)
    number = _edited_of(job, if_match)
    if number is None:
        raise PreconditionRequired
    result_key_of(job)
    data = await read_body(request, SPARE_BYTES + int(BYTES_PER_SECOND * (job.duration or 0.0)))

    def change(before: Transcript) -> Transcript:
        wanted = _parsed(TranscriptEdit.model_validate_json, data)
        was = _shown(job, number, jobs.revision(job_id, number) if number else None, before)
        given = wanted.model_dump(exclude={"segments"}, exclude_unset=True)
        if given.get("latest") == number:
            was["latest"] = number  # as it was when this one was the newest
        if changed := [name for name, value in given.items() if value != was[name]]:
            raise refusal(*({"field": name, "message": "is not changed here"} for name in changed))
        return edited(before, [_edit(one) for one in wanted.segments])

    return await run_in_threadpool(_change, parts, jobs, job, "transcript", number, change, response)


@router.patch(
    "/jobs/{job_id}/speakers",
    dependencies=[NO_QUERY],
    responses=responses(*CHANGES, "not_in_result"),
    openapi_extra=_json_body(Names.json_schema() | {"examples": [{"SPEAKER_00": "Anna", "SPEAKER_02": "SPEAKER_00"}]}),
)
async def name_speakers(
    request: Request, response: Response, job_id: JobId, jobs: Jobs, parts: PartsDep, if_match: IfMatch = None
) -> RevisionBody:
    """Say what speakers are called: a new revision, of the newest one or of that which `If-Match` names. A speaker that is
    given another's id is that one: the two become one.

    `not_in_result` where nobody listened for who speaks.
    """
    data = await read_body(request)
    job = await run_in_threadpool(jobs.get, job_id)
    number = _edited_of(job, if_match)

    def change(before: Transcript) -> Transcript:
        return renamed(before, _parsed(Names.validate_json, data))

    base = job.revision if number is None else number
    return await run_in_threadpool(_change, parts, jobs, job, "speakers", base, change, response)


def _edited_of(job: Job, if_match: str | None) -> int | None:
    """Number of the revision that the client has edited; None: it does not say. Raises RevisionConflict for none of ours."""
    if if_match is None or if_match.strip() == "*":
        return None
    # a proxy that compresses makes an ETag a weak one
    tags = (tag.strip().removeprefix("W/") for tag in if_match.split(","))
    found = [re.fullmatch(rf'"{re.escape(job.id)}\.(\d{{1,9}})"', tag, re.ASCII) for tag in tags]
    numbers = [number for tag in found if tag and (number := int(tag[1])) <= job.revision]
    if not numbers:
        raise RevisionConflict(revision=job.revision)
    return max(numbers)


def _change(
    parts: Parts,
    jobs: OwnerJobs,
    job: Job,
    kind: Kind,
    number: int,
    change: Callable[[Transcript], Transcript],
    response: Response,
) -> RevisionBody:
    """Store what `change` makes of that revision, if it is another."""
    before = stored_transcript(parts.deps, jobs, job, number)
    after = change(before)
    stored: Revision | None
    if after != before or number != job.revision:
        stored = revise(jobs, parts.deps.objects, parts.intake, job, after, edited=number, kind=kind)
    else:
        stored = jobs.revision(job.id, number) if number else None
    return _told(job, stored, response)


def _told(job: Job, stored: Revision | None, response: Response) -> RevisionBody:
    number = stored.number if stored else 0
    response.headers["ETag"] = _etag(job, number)
    return RevisionBody.model_validate(
        {"revision": number, "edited_at": stored and stored.created_at, "kind": stored.kind if stored else "original"}
    )


def _etag(job: Job, number: int) -> str:
    return f'"{job.id}.{number}"'


def _shown(job: Job, number: int, found: Revision | None, transcript: Transcript) -> dict[str, Any]:
    """As `TranscriptBody`, which would take its time for the ten thousand segments of a day."""
    speakers = None
    if transcript.speakers is not None:
        speakers = [{"id": s.id, "name": s.name, "seconds": s.seconds} for s in transcript.speakers]
    moment = found and found.created_at
    return {
        "id": job.id,
        "revision": number,
        "latest": job.revision,
        "edited_at": moment and moment.isoformat().replace("+00:00", "Z"),
        "language": {"code": transcript.language.code, "confidence": transcript.language.confidence},
        "duration": transcript.duration,
        "speakers": speakers,
        "segments": [
            {
                "id": n,
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "speaker": s.speaker,
                "translation": s.translation,
            }
            for n, s in enumerate(transcript.segments)
        ],
    }


def _edit(one: SegmentEdit) -> Edit:
    more: dict[str, str | None] = {
        name: getattr(one, name) for name in ("speaker", "translation") if name in one.model_fields_set
    }
    return Edit(id=one.id, start=one.start, end=one.end, text=one.text, more=more)


def _parsed(parse: Callable[[bytes], T], data: bytes) -> T:
    """Raises ValidationFailed."""
    try:
        return parse(data)
    except ValidationError as error:
        raise refusal(*field_errors(error.errors(include_url=False, include_input=False)[:MOST_ERRORS])) from None
