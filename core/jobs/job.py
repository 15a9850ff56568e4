"""A job and its life: values and the legal transitions. The SQL row is the truth; these are its reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from uuid_utils import uuid7

from core.jobs.origin import Origin
from core.jobs.params import JobParams
from core.objects.store import source_key

ID_PATTERN = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""Job ids are UUIDs (version 7), as a regular expression."""


def new_id() -> str:
    """Ids sort by the time they were made."""
    return str(uuid7())


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  #: accepted, waiting for a consumer
    PROCESSING = "processing"  #: a consumer holds its lease
    CANCELLING = "cancelling"  #: cancel requested, its owner has not yet let go
    COMPLETED = "completed"  #: a result is stored (perhaps `partial`)
    FAILED = "failed"  #: ended with an error
    CANCELLED = "cancelled"  #: ended because the user asked


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class Phase(StrEnum):
    """What a job is doing, for progress displays: the `stage` of its body. (The stages of the work are the worker's.)"""

    QUEUED = "queued"
    FETCHING = "fetching"
    DECODING = "decoding"
    TRANSCRIBING = "transcribing"
    DIARIZING = "diarizing"
    TRANSLATING = "translating"
    MERGING = "merging"
    DONE = "done"


SPEAKERS_SHARE = 0.1
"""Of a job that looks for speakers: what of the whole that is taken to be, for progress displays."""

SHORT_SECONDS = 600.0
"""Jobs under ten minutes of audio are short: one slot may be kept for them (`worker.pools.slots`)."""

SHORT_BYTES = 19_200_000
"""While the length is unknown: ten minutes at 256 kbit/s, which is also 16 kHz PCM."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file to transcribe. `key` is its place in the object store; sha256 is of its bytes.

    Of one that is still to be brought (`origin`), bytes are 0 and the media type is empty where they are not known, and sha256 is empty.
    """

    filename: str
    bytes: int
    media_type: str
    sha256: str
    key: str
    #: None when the bytes are in the object store
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Why a job failed: shown as the `error` of the job body."""

    code: str
    message: str
    stage: str
    retryable: bool = False

    @staticmethod
    def from_dict(data: dict[str, Any]) -> JobFailure:
        """What is stored, read as far as this version knows it."""
        return JobFailure(**{name: data[name] for name in ("code", "message", "stage", "retryable") if name in data})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the job table. Times are aware UTC datetimes; durations are seconds."""

    id: str
    status: JobStatus
    stage: Phase
    source: Source
    params: JobParams
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: the object with the samples of known speakers, as long as there is a job that names them
    samples_key: str | None = None
    retry_of: str | None = None
    #: retried with ?all=true: takes over no finished chunk of `retry_of`
    retry_all: bool = False
    #: which request made it, and its place in a trace, as far as that is known (`core.system.tracing.caller`)
    caller: Mapping[str, str] = field(default_factory=dict)
    #: id of the batch it was asked for with
    batch: str | None = None
    #: whose it is (None: made where nobody needs a key), and how urgent (`core.jobs.turns`)
    owner: str | None = None
    priority: int = 0
    #: attempts so far, and those since a chunk was last committed (what MAX_ATTEMPTS counts)
    attempts: int = 0
    strikes: int = 0
    #: fencing token: grows with every claim; a writer with an older one is refused
    fence: int = 0
    lease_owner: str | None = None
    #: filled in as the run learns it
    duration: float | None = None
    speech_seconds: float | None = None
    language: str | None = None
    language_confidence: float | None = None
    plan_hash: str | None = None
    chunks_total: int | None = None
    chunks_done: int = 0
    audio_seconds_done: float = 0.0
    eta_seconds: float | None = None
    #: share of the search for speakers that is done, 0 to 1; None: nobody looks for them, or nothing is known yet
    diarized: float | None = None
    partial: bool = False
    gaps: tuple[dict[str, Any], ...] = ()
    warnings: tuple[dict[str, str], ...] = ()
    error: JobFailure | None = None
    performance: dict[str, Any] | None = None
    result_key: str | None = None
    #: how often its transcript has been edited: number of the newest revision
    revision: int = 0
    expired_audio: bool = False
    expired_result: bool = False
    #: grows with every visible change; the ETag
    version: int = 0

    def evolve(self, **changes: Any) -> Job:
        return replace(self, **changes)

    def again(self, *, everything: bool = False, caller: Mapping[str, str] = MappingProxyType({})) -> NewJob:
        """The same file and options once more. everything: it takes over no finished chunk; caller: who asks for it

        Both jobs refer to one stored upload, and to the same samples, under the older one's keys.
        """
        job_id, source = new_id(), self.source
        if source.origin is not None:  # never brought: each brings its own
            source = replace(source, key=source_key(job_id))
        return NewJob(
            id=job_id,
            source=source,
            params=self.params,
            samples_key=self.samples_key,
            retry_of=self.id,
            retry_all=everything,
            priority=self.priority,
            caller=caller,
        )

    @property
    def short(self) -> bool:
        """Known by its length, else guessed by its size."""
        return self.duration < SHORT_SECONDS if self.duration is not None else 0 < self.source.bytes <= SHORT_BYTES

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def percent(self) -> float:
        """0-100; 100 only when completed."""
        if self.status is JobStatus.COMPLETED:
            return 100.0
        if not self.duration or self.chunks_total is None:
            return 0.0 if not self.chunks_done else 1.0
        words = self.audio_seconds_done / self.duration
        speakers = SPEAKERS_SHARE if self.params.diarize else 0.0
        return round(min(99.0, 100.0 * ((1 - speakers) * words + speakers * (self.diarized or 0.0))), 1)

    @property
    def stage_percent(self) -> float | None:
        """0-100 of what the job is doing just now, where that can be said."""
        if self.stage is Phase.DIARIZING:
            return round(100.0 * (self.diarized or 0.0), 1)
        if self.stage is Phase.TRANSCRIBING and self.duration and self.chunks_total is not None:
            return round(min(100.0, 100.0 * self.audio_seconds_done / self.duration), 1)
        return None


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What the API hands over when an upload is complete and verified."""

    id: str
    source: Source
    params: JobParams
    samples_key: str | None = None
    retry_of: str | None = None
    retry_all: bool = False
    #: id of an open one; a retry takes the place of what it retries by itself
    batch: str | None = None
    #: None: as the option says
    priority: int | None = None
    warnings: tuple[dict[str, str], ...] = ()
    caller: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on one job: valid while the lease is renewed and the fence is the newest."""

    job: Job
    fence: int
    owner: str
