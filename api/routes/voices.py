"""Voices that somebody keeps, to be known by: nothing is kept unless it is asked for, and nobody else has any use of it."""

from __future__ import annotations

import logging
import re
import uuid
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Base, Jobs, PartsDep, Who
from api.http.json_body import SmallBody
from api.http.problems import responses
from api.routes.texts.results import stored_transcript
from api.schemas import Body
from core.errors import JobNotFound, NotInResult, VoiceNotFound, refusal
from core.jobs.known_speakers import NAME_CHARACTERS, name_of
from core.jobs.voices import Voice
from core.keys import JOBS
from core.store.owners import OwnerVoices
from core.transcript.edits import NO_SPEAKERS
from core.transcript.values import Transcript

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["voices"], dependencies=[needs(JOBS), NO_QUERY], route_class=SmallBody)


async def get_voices(parts: PartsDep, who: Who) -> OwnerVoices:
    """The voices of who asks."""
    return parts.voices(who)


Mine = Annotated[OwnerVoices, Depends(get_voices)]
VoiceName = Annotated[str, Path(description="What the voice is called.", max_length=4 * NAME_CHARACTERS)]


class VoiceForm(BaseModel):
    """Whose voice is to be kept; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=NAME_CHARACTERS, description="What it is to be called.", examples=["Anna"])
    job: str = Field(max_length=64, description="Id of a completed job of yours, made with `diarize`.")
    speaker: str = Field(
        pattern=r"^SPEAKER_[0-9]{2,4}$", description="Id of one of its speakers; SPEAKER_00 where one speaks alone."
    )


class VoiceBody(Body):
    """A voice that is known. What it sounds like is never shown."""

    name: str = Field(examples=["Anna"])
    created_at: datetime

    @staticmethod
    def of(voice: Voice) -> VoiceBody:
        return VoiceBody.model_validate({"name": voice.name, "created_at": voice.created_at})


class VoicesBody(Body):
    """By name."""

    items: list[VoiceBody]


@router.post(
    "/voices",
    status_code=201,
    responses=responses(
        "validation",
        "job_not_found",
        "not_ready",
        "not_in_result",
        "expired",
        "voice_exists",
        "storage_unavailable",
        "too_large",
        "upload_too_slow",
    ),
)
def keep_voice(
    form: VoiceForm, mine: Mine, jobs: Jobs, who: Who, parts: PartsDep, base: Base, response: Response
) -> VoiceBody:
    """Keep what one speaker of a job sounds like, under a name by which jobs can know that voice (`known_speakers`).

    Only the owner of the job can; nobody but the owner can use, see or delete it. `not_in_result` where nobody listened for who
    speaks, or where what was heard is not there any more.
    """
    try:
        name = name_of(form.name)
    except ValueError as error:
        raise refusal({"field": "name", "message": str(error)}) from None
    job = jobs.get(_canonical(form.job))
    if job.owner != who.owner:  # who sees everybody's jobs keeps voices of their own alone
        raise JobNotFound
    number = _number_of(stored_transcript(parts.deps, jobs, job), form.speaker)
    made = mine.keep(name, job_id=job.id, number=number)
    log.info("A voice of job %s is kept", job.id)
    response.headers["Location"] = f"{base}/voices/{quote(made.name, safe='')}"
    return VoiceBody.of(made)


@router.get("/voices", responses=responses("validation"))
def list_voices(mine: Mine) -> VoicesBody:
    """All that you have kept."""
    return VoicesBody(items=[VoiceBody.of(one) for one in mine.list()])


@router.delete("/voices/{name:path}", status_code=204, responses=responses("voice_not_found", "validation"))
def delete_voice(name: VoiceName, mine: Mine) -> None:
    """Forget a voice. Jobs that have not come to it yet do without; names in transcripts stay."""
    try:
        mine.remove(name_of(name))
    except ValueError:
        raise VoiceNotFound from None
    log.info("A voice was forgotten")


def _canonical(job_id: str) -> str:
    """As `api.deps.get_job_id`."""
    try:
        return str(uuid.UUID(job_id))
    except ValueError:
        raise JobNotFound from None


def _number_of(transcript: Transcript, speaker: str) -> int:
    """Of the voice, as the search for speakers counts them. Raises NotInResult, ValidationFailed."""
    if transcript.speakers is None:
        raise NotInResult(NO_SPEAKERS)
    voices = transcript.provenance.get("voices")
    if voices is None:
        raise NotInResult("What the speakers of this job sound like is not known (any more).")
    number = int(re.sub("[^0-9]", "", speaker))
    if number >= len(voices) or speaker != f"SPEAKER_{number:02d}":
        raise refusal({"field": "speaker", "message": "there is no such speaker"})
    return int(voices[number])
