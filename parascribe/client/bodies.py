"""The JSON that goes between client and service, as types. The service may add fields; none goes away.

Times of day are ISO 8601 strings in UTC, durations are float seconds on the file's own timeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from core.jobs.params import Channels, Enhance, EnhanceFor, Task
from core.jobs.turns import Priority
from core.transcript.shaping import Speakers, Translated


class KnownSpeaker(TypedDict):
    """Somebody whose voice is known: by a sample of it (2 to 10 s: a path, or a data URL), or as it was kept (`voice`; else by its name)."""

    name: str
    sample: NotRequired[str | Path]
    voice: NotRequired[str]


class Params(TypedDict, total=False):
    """What may be asked for with a file (`core.jobs.params`). What is left out is the service's default."""

    model: str
    language: str
    task: Task
    prompt: str
    vocabulary: list[str] | None
    temperature: float
    beam_size: int
    word_timestamps: bool
    audio_track: int | str
    diarize: bool
    num_speakers: int
    min_speakers: int
    max_speakers: int
    known_speakers: Sequence[KnownSpeaker] | None
    enhance: Enhance
    enhance_for: EnhanceFor
    translate_to: str
    align: bool
    channels: Channels
    priority: Priority
    workers: int
    chunk_duration: float
    callback_url: str
    metadata: dict[str, Any] | None


class Look(TypedDict, total=False):
    """How a transcript is to look (`core.transcript.shaping.Shaping`); each format takes some of it."""

    max_line_width: int
    max_lines: int
    max_chars_per_second: float
    min_cue: float
    max_cue: float
    word_cues: bool
    speakers: Speakers
    translation: Translated


class Progress(TypedDict):
    percent: float
    stage: str
    stage_percent: float | None
    chunks_done: int
    chunks_total: int | None
    audio_seconds_done: float
    eta_seconds: float | None


class JobError(TypedDict):
    code: str
    message: str
    stage: str
    retryable: bool


class Job(TypedDict):
    """One job as `GET /api/v1/jobs/{id}` shows it."""

    id: str
    status: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    source: dict[str, Any]
    retry_of: str | None
    batch: str | None
    params: dict[str, Any]
    audio: dict[str, Any]
    progress: Progress
    language: dict[str, Any] | None
    attempts: int
    partial: bool
    revision: int
    gaps: list[dict[str, Any]]
    warnings: list[dict[str, str]]
    error: JobError | None
    performance: dict[str, Any] | None
    links: dict[str, str]


class TranscriptSegment(TypedDict):
    """One segment to be edited. A new one has no `id`; speaker and translation that are left out stay as they were."""

    id: NotRequired[int | None]
    start: float
    end: float
    text: str
    speaker: NotRequired[str | None]
    translation: NotRequired[str | None]


class Transcript(TypedDict):
    """One revision of a job's transcript, to be edited (its `segments`) and sent back."""

    id: str
    revision: int
    latest: int
    edited_at: str | None
    language: dict[str, Any]
    duration: float
    speakers: list[dict[str, Any]] | None
    segments: list[TranscriptSegment]


class Revision(TypedDict):
    """What is the newest revision now. `kind`: what was edited, transcript or speakers."""

    revision: int
    edited_at: str | None
    kind: str


class JobPage(TypedDict):
    """Newest first; `next` is the cursor for the page after, or None."""

    items: list[Job]
    next: str | None


class BatchCounts(TypedDict):
    """Jobs by status; `partial` are some of the completed ones."""

    total: int
    queued: int
    processing: int
    cancelling: int
    completed: int
    failed: int
    cancelled: int
    partial: int


class BatchProgress(TypedDict):
    percent: float
    audio_seconds: float
    audio_seconds_done: float
    eta_seconds: float | None


class BatchHead(TypedDict):
    """One batch of a list. `status` is open, processing or completed."""

    id: str
    status: str
    created_at: str
    closed_at: str | None
    finished_at: str | None
    params: dict[str, Any]
    metadata: dict[str, Any] | None
    links: dict[str, str]


class Batch(BatchHead):
    """One batch as `GET /api/v1/batches/{id}` shows it."""

    counts: BatchCounts
    progress: BatchProgress


class BatchPage(TypedDict):
    """Newest first; `next` as in JobPage."""

    items: list[BatchHead]
    next: str | None


class Part(TypedDict):
    """Some of a text; `match`: this was looked for."""

    text: str
    match: bool


class FoundSegment(TypedDict):
    """A segment in which something was found. `id`: its place in the transcript, from 0."""

    id: int
    start: float
    end: float
    snippet: list[Part]


class Hit(TypedDict):
    """A job that has all that was looked for. `name`: its file's, in parts; None when nothing was found in it."""

    job: Job
    name: list[Part] | None
    segments: list[FoundSegment]


class SearchPage(TypedDict):
    """Newest jobs first. `next`: the cursor for what is behind it, or None at the end."""

    items: list[Hit]
    next: str | None


class Voice(TypedDict):
    """A voice that you have kept."""

    name: str
    created_at: str


class Event(TypedDict):
    """What `Client.follow` gives. `event` is job (`data`: a Job), segments (`{"from": 12, "segments": [...]}`: final, in order,
    each once) or end (`{"id", "status"}`). `id`: where to go on from."""

    event: str
    id: str
    data: dict[str, Any]
