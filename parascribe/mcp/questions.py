"""What each tool takes. Assistants read these schemas; whatever is not in them is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from core.jobs.job import JobStatus
from core.jobs.params import JobParams
from core.options import options
from core.transcript.formats import TextFormat

LEFT_OUT = frozenset(
    {
        "temperature",
        "beam_size",
        "word_timestamps",
        "align",
        "known_speakers",
        "workers",
        "chunk_duration",
        "callback_url",
        "metadata",
    }
)
"""Options of a job that are for operators and programs."""

MOST_WAIT = 3600.0

WAIT = 50.0
"""Many clients give up a call after 60 s."""

CHARACTERS = 20_000
"""Of one answer: some 5,000 tokens."""

JobId = Annotated[str, Field(max_length=100, pattern="^[0-9A-Za-z-]+$", description="Id of the job.")]
Cursor = Annotated[str | None, Field(max_length=200, description="To go on: the `next` of the answer before.")]


class Question(BaseModel):
    """The arguments of one tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StatusQuestion(Question):
    job_id: JobId
    wait_seconds: float = Field(
        0.0,
        ge=0,
        le=MOST_WAIT,
        description="Wait up to so long for the job to end; the answer comes as soon as it has.",
    )


class TranscribeQuestion(Question):
    """Which file, and how to wait; the options of a job are added by `transcribe_question`."""

    path: str | None = Field(
        None, max_length=4096, description="A local audio or video file, in one of the allowed folders; or give `url`."
    )
    url: str | None = Field(
        None,
        max_length=2048,
        description="Address of an audio or video file, fetched by the service if it allows that; or give `path`.",
    )
    wait_seconds: float = Field(
        WAIT, ge=0, le=MOST_WAIT, description="Wait up to so long for the transcript; the job goes on afterwards."
    )
    cancel_with_call: bool = Field(
        False, description="Cancel the job too when this call is cancelled. Otherwise it goes on."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either path or url")
        return self

    def params(self) -> dict[str, Any]:
        """The options of the job that were given."""
        return self.model_dump(exclude=set(TranscribeQuestion.model_fields), exclude_none=True)


def transcribe_question() -> type[TranscribeQuestion]:
    """With the options of a job."""
    fields: dict[str, Any] = {
        option.name: (
            option.annotation | None,
            Field(
                None,
                ge=option.about.ge,
                le=option.about.le,
                max_length=option.about.max_length,
                description=option.about.help,
            ),
        )
        for option in options(JobParams)
        if option.name not in LEFT_OUT
    }
    return create_model("WithOptions", __base__=TranscribeQuestion, **fields)


class ResultQuestion(Question):
    job_id: JobId
    format: Literal["segments", TextFormat] = Field(
        "segments",
        description="segments: text with times, the best for reading. txt: text alone; md: with paragraphs. The others are files for other programs.",
    )
    revision: Literal["latest", "original"] | Annotated[int, Field(ge=0)] = Field(
        "latest", description="latest: with the newest edit. original: as it was heard. Or the number of an edit."
    )
    start: float | None = Field(None, ge=0, description="Only what is said after so many seconds. For segments.")
    end: float | None = Field(None, ge=0, description="Only what is said before so many seconds. For segments.")
    after: int = Field(0, ge=0, description="To go on: the `next` of the answer before.")
    max_characters: int = Field(CHARACTERS, ge=100, le=400_000, description="How much text to give at once.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.format != "segments" and (self.start is not None or self.end is not None):
            raise ValueError("start and end are for the format segments")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be after start")
        return self


class SearchQuestion(Question):
    query: str = Field(
        min_length=1, max_length=500, description='Words, "phrases" and beginnings*; all of them have to be there.'
    )
    limit: int = Field(10, ge=1, le=50, description="How many jobs at most.")
    after: Cursor = None


class ListQuestion(Question):
    status: JobStatus | None = Field(None, description="Only jobs in this state.")
    query: str | None = Field(None, max_length=500, description="Only jobs with this in their file's name or text.")
    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    after: Cursor = None


class CancelQuestion(Question):
    job_id: JobId
