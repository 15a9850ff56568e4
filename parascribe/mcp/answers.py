"""What each tool answers: a job or a transcript in few words, since all of it goes into an assistant's context."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.job import TERMINAL
from parascribe.client.bodies import Hit, Job, SearchPage, Transcript, TranscriptSegment

SEGMENT_CHARACTERS = 40
"""What a segment takes besides its text."""


class Answer(BaseModel):
    """What is None is left out."""

    model_config = ConfigDict(frozen=True)


class JobAnswer(Answer):
    """One job."""

    id: str
    file: str = Field(description="Name of the file.")
    status: str = Field(description="queued, processing, cancelling, then completed, failed or cancelled for ever.")
    created_at: str
    stage: str | None = Field(None, description="What is being done.")
    percent: float | None = Field(None, description="How much of it is done.")
    eta_seconds: float | None = Field(None, description="When it is likely to end.")
    duration: float | None = Field(None, description="Seconds of audio.")
    language: str | None = None
    gaps: int | None = Field(None, description="Places whose speech has no text, if there are any.")
    revision: int | None = Field(None, description="Number of the newest edit, if there is one.")
    error: str | None = Field(None, description="Why it failed.")
    warnings: list[str] | None = None
    advice: str | None = Field(None, description="What to do next.")

    @classmethod
    def of(cls, job: Job, *, advise: bool = True) -> Self:
        progress, error = job["progress"], job["error"]
        running = job["status"] not in TERMINAL
        return cls(
            id=job["id"],
            file=job["source"]["filename"],
            status=job["status"],
            created_at=job["created_at"],
            stage=progress["stage"] if running else None,
            percent=progress["percent"] if running else None,
            eta_seconds=progress["eta_seconds"] if running else None,
            duration=job["audio"]["duration"],
            language=job["language"]["code"] if job["language"] else None,
            gaps=len(job["gaps"]) or None,
            revision=job["revision"] or None,
            error=f"{error['message']} ({error['code']})" if error else None,
            warnings=[warning["message"] for warning in job["warnings"]] or None,
            advice=_advice(job["status"]) if advise else None,
        )


def _advice(status: str) -> str | None:
    if status not in TERMINAL:
        return "Not done yet: call status with wait_seconds."
    return "Read it with result." if status == "completed" else None


class JobsAnswer(Answer):
    """Jobs, newest first."""

    jobs: list[JobAnswer]
    next: str | None = Field(None, description="Give it as `after` to go on. None: that was all.")


class SegmentAnswer(Answer):
    """Something that was said."""

    id: int = Field(description="Its place in the transcript, from 0.")
    start: float
    end: float
    text: str
    speaker: str | None = None
    translation: str | None = None


class ResultAnswer(Answer):
    """A transcript, or a part of it."""

    job_id: str
    file: str
    revision: int = Field(description="0: the original.")
    language: str | None = None
    duration: float | None = Field(None, description="Seconds of audio.")
    segments: list[SegmentAnswer] | None = None
    text: str | None = None
    next: int | None = Field(None, description="There is more: give this as `after`, with the same revision.")

    @classmethod
    def of(cls, job: Job, revision: int, **part: object) -> Self:
        language = job["language"]["code"] if job["language"] else None
        known = {"job_id": job["id"], "file": job["source"]["filename"], "duration": job["audio"]["duration"]}
        return cls.model_validate(known | {"revision": revision, "language": language} | part)


def segments_of(
    transcript: Transcript, *, start: float, end: float, after: int, characters: int
) -> tuple[list[SegmentAnswer], int | None]:
    """Segments from number `after` on that are heard between start and end, and the number to go on with.

    At least one, if there is one: it may be longer than what is left of `characters`.
    """
    names = {speaker["id"]: speaker["name"] for speaker in transcript["speakers"] or ()}
    found: list[SegmentAnswer] = []
    for number, segment in enumerate(transcript["segments"]):
        if number < after or segment["end"] <= start or segment["start"] >= end:
            continue
        characters -= SEGMENT_CHARACTERS + len(segment["text"]) + len(segment.get("translation") or "")
        if found and characters < 0:
            return found, number
        found.append(_segment(number, segment, names))
    return found, None


def _segment(number: int, segment: TranscriptSegment, names: dict[str, str]) -> SegmentAnswer:
    speaker = segment.get("speaker")
    return SegmentAnswer(
        id=number,
        start=segment["start"],
        end=segment["end"],
        text=segment["text"].strip(),
        speaker=names.get(speaker, speaker) if speaker else None,
        translation=segment.get("translation"),
    )


def piece_of(text: str, *, after: int, characters: int) -> tuple[str, int | None]:
    """The text from that character on, and where to go on; cut behind a line where there is one."""
    stop = after + characters
    if stop >= len(text):
        return text[after:], None
    stop = text.rfind("\n", after, stop) + 1 or stop
    return text[after:stop], stop


class FoundAnswer(Answer):
    """A job in which something was found."""

    job_id: str
    file: str
    created_at: str
    segments: list[SegmentAnswer] = Field(description="Where it was said; empty: it is in the file's name.")

    @classmethod
    def of(cls, hit: Hit) -> Self:
        job = hit["job"]
        segments = [
            SegmentAnswer(
                id=one["id"], start=one["start"], end=one["end"], text="".join(part["text"] for part in one["snippet"])
            )
            for one in hit["segments"]
        ]
        return cls(job_id=job["id"], file=job["source"]["filename"], created_at=job["created_at"], segments=segments)


class SearchAnswer(Answer):
    """Newest jobs first."""

    found: list[FoundAnswer]
    next: str | None = Field(
        None, description="Give it as `after` to go on; a page may be empty, and others follow. None: that was all."
    )

    @classmethod
    def of(cls, page: SearchPage) -> Self:
        return cls(found=[FoundAnswer.of(hit) for hit in page["items"]], next=page["next"])


def jobs_answer(jobs: Iterable[Job], following: str | None) -> JobsAnswer:
    """A page of a list."""
    return JobsAnswer(jobs=[JobAnswer.of(job, advise=False) for job in jobs], next=following)
