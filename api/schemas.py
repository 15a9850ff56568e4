"""The bodies of the HTTP interface (contract: docs/reference/openapi.json), made from the values of `core`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.jobs.job import Job, JobStatus, Phase
from core.jobs.params import JobParams
from core.jobs.uploads import PartialUpload

Seconds = Annotated[float, Field(ge=0, description="Seconds on the file's own timeline.")]


class Body(BaseModel):
    """Base of all bodies: built from values once, never changed."""

    model_config = ConfigDict(frozen=True)


class SourceBody(Body):
    filename: str = Field(examples=["talk.mp4"])
    bytes: int | None = Field(
        description="null until a file that was only named has been fetched.", examples=[18234211]
    )
    media_type: str | None = Field(description="null until then.", examples=["video/mp4"])


class ParamsBody(Body):
    """What was asked for, with the defaults filled in."""

    # its members are those of the table of options: `api.app` describes them
    model_config = ConfigDict(extra="allow")


class AudioBody(Body):
    duration: Seconds | None = Field(None, examples=[5412.3])
    sha256: str | None = Field(description="Of the file; null until it has been fetched or put together.")
    speech_seconds: Seconds | None = Field(None, examples=[4710.9])


class ProgressBody(Body):
    percent: float = Field(ge=0, le=100, examples=[41.7])
    stage: Phase
    stage_percent: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Of that stage alone: transcribing or diarizing; null where it cannot be said.",
        examples=[41.7],
    )
    chunks_done: int = Field(examples=[68])
    chunks_total: int | None = Field(None, description="null until decoding has ended.", examples=[163])
    audio_seconds_done: Seconds = Field(examples=[1957.0])
    eta_seconds: float | None = Field(None, examples=[312.0])


class LanguageBody(Body):
    code: str = Field(examples=["en"])
    confidence: float | None = Field(examples=[0.98])


class GapBody(Body):
    """Speech without text. With `channels=split` it has a `channel`, as segments have."""

    model_config = ConfigDict(extra="allow")

    start: Seconds
    end: Seconds
    reason: str = Field(examples=["chunk_failed"])


class WarningBody(Body):
    code: str = Field(examples=["no_speech"])
    message: str


class FailureBody(Body):
    code: str = Field(examples=["audio_undecodable"])
    message: str
    stage: str = Field(examples=["decoding"])
    retryable: bool


class ResourcesBody(Body):
    """What the run that completed the job took of its machine; null is what the system there does not tell."""

    model_config = ConfigDict(extra="allow")

    cpu_seconds: float | None = Field(None, description="Of the job's process, ffmpeg and the engine.")
    cpu_percent: float | None = Field(None, description="100 = one core, on average.")
    peak_pss_bytes: int | None = Field(
        None,
        description="Memory of the job's process and ffmpeg, looked at once a second; the engine's is shared by all jobs.",
    )
    disk_read_bytes: int | None = Field(None, description="From the disk itself, not its cache.")
    disk_written_bytes: int | None = None
    workers_used: int | None = Field(None, description="Engine workers that had chunks of it at once, at most.")


class PerformanceBody(Body):
    """real_time_factor: wall / audio, below 1 is faster than real time; speed_up: engine seconds / transcribing wall."""

    model_config = ConfigDict(extra="allow")

    wall: float = 0.0
    engine_seconds: float = 0.0
    workers: int = 0
    real_time_factor: float = 0.0
    speed_up: float = 0.0
    parallel: bool = True
    resources: ResourcesBody | None = None


class LinksBody(Body):
    """Paths on this server."""

    self: str
    result: str
    cancel: str


EXAMPLE: dict[str, Any] = {
    "id": "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f",
    "status": "processing",
    "created_at": "2026-11-21T09:30:00Z",
    "started_at": "2026-11-21T09:30:01Z",
    "finished_at": None,
    "source": {"filename": "talk.mp4", "bytes": 18234211, "media_type": "video/mp4"},
    "retry_of": None,
    "batch": None,
    "params": JobParams(model="base").shown(),
    "audio": {
        "duration": 5412.3,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "speech_seconds": 4710.9,
    },
    "progress": {
        "percent": 41.7,
        "stage": "transcribing",
        "stage_percent": 41.7,
        "chunks_done": 68,
        "chunks_total": 163,
        "audio_seconds_done": 1957.0,
        "eta_seconds": 312.0,
    },
    "language": {"code": "en", "confidence": 0.98},
    "attempts": 1,
    "partial": False,
    "revision": 0,
    "gaps": [],
    "warnings": [],
    "error": None,
    "performance": {
        "wall": 0.0,
        "engine_seconds": 0.0,
        "workers": 2,
        "real_time_factor": 0.0,
        "speed_up": 0.0,
        "parallel": True,
    },
    "links": {
        "self": "/api/v1/jobs/0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f",
        "result": "/api/v1/jobs/0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f/result",
        "cancel": "/api/v1/jobs/0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f/cancel",
    },
}


class JobBody(Body):
    """One job. The HTTP status speaks of the request; `status` and `error` speak of the job."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str
    status: JobStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    source: SourceBody
    retry_of: str | None = Field(description="The job this one retries.")
    batch: str | None = Field(description="The batch it belongs to.")
    params: ParamsBody
    audio: AudioBody
    progress: ProgressBody
    language: LanguageBody | None
    attempts: int
    partial: bool = Field(description="Completed, but with the gaps listed.")
    revision: int = Field(description="How often the transcript has been edited: number of its newest revision.")
    gaps: list[GapBody]
    warnings: list[WarningBody]
    error: FailureBody | None
    performance: PerformanceBody
    links: LinksBody

    @staticmethod
    def of(job: Job, *, base: str) -> JobBody:
        """The job as shown to clients. base: path under which the routes lie, e.g. `/api/v1`."""
        me = f"{base}/jobs/{job.id}"
        return JobBody.model_validate(
            {
                "id": job.id,
                "status": job.status,
                "created_at": job.created_at,
                "started_at": job.started_at,
                "finished_at": job.finished_at,
                "source": {
                    "filename": job.source.filename,
                    "bytes": job.source.bytes or None,
                    "media_type": job.source.media_type or None,
                },
                "retry_of": job.retry_of,
                "batch": job.batch,
                "params": job.params.shown(),
                "audio": {
                    "duration": job.duration,
                    "sha256": job.source.sha256 or None,
                    "speech_seconds": job.speech_seconds,
                },
                "progress": {
                    "percent": job.percent,
                    "stage": job.stage,
                    "stage_percent": job.stage_percent,
                    "chunks_done": job.chunks_done,
                    "chunks_total": job.chunks_total,
                    "audio_seconds_done": job.audio_seconds_done,
                    "eta_seconds": job.eta_seconds,
                },
                "language": {"code": job.language, "confidence": job.language_confidence} if job.language else None,
                "attempts": job.attempts,
                "partial": job.partial,
                "revision": job.revision,
                "gaps": list(job.gaps),
                "warnings": list(job.warnings),
                "error": job.error.to_dict() if job.error else None,
                "performance": job.performance or {},
                "links": {"self": me, "result": f"{me}/result", "cancel": f"{me}/cancel"},
            }
        )


class JobPageBody(Body):
    """Newest first."""

    items: list[JobBody]
    next: str | None = Field(description="Give it as `after` to get the next page; null on the last one.")


class UploadBody(Body):
    """An upload in parts."""

    id: str
    filename: str = Field(examples=["talk.mp4"])
    length: int = Field(description="Bytes in all.", examples=[4294967296])
    offset: int = Field(description="Bytes that are stored: the next one goes there.", examples=[16777216])
    expires_at: datetime | None = Field(description="When it is forgotten unless more comes; null when it is complete.")
    job: str | None = Field(description="Path of the job that it has become.")

    @staticmethod
    def of(upload: PartialUpload, *, base: str) -> UploadBody:
        """As `JobBody.of`."""
        return UploadBody(
            id=upload.id,
            filename=upload.filename,
            length=upload.length,
            offset=upload.offset,
            expires_at=None if upload.job_id else upload.expires_at,
            job=f"{base}/jobs/{upload.job_id}" if upload.job_id else None,
        )


class SessionBody(Body):
    """Who asks."""

    needed: bool = Field(description="Whether a key is needed here.")
    owner: str | None = Field(description="Whose jobs are seen; null where no key is needed.", examples=["anna"])
    scopes: list[str] = Field(examples=[["jobs", "models"]])
    expires_at: datetime | None = Field(description="When the cookie that was just set ends; else null.")


class WordBody(Body):
    word: str
    start: float | None
    end: float | None
    probability: float | None


class SegmentBody(Body):
    """One phrase of the transcript, as in the result."""

    id: int = Field(description="Its place in the transcript, from 0.")
    start: Seconds
    end: Seconds
    text: str
    avg_logprob: float | None
    no_speech_prob: float | None
    compression_ratio: float | None
    flags: list[str]
    language: str | None
    channel: int | None = Field(None, description="There with `channels=split`: from 0.")
    words: list[WordBody] | None = Field(None, description="There with `word_timestamps` or `align`.")


class SegmentsBody(Body):
    """Segments that nothing can change any more, in order."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": 12, "segments": [], "next": 12, "ended": False}]}
    )

    first: int = Field(alias="from", ge=0, description="As asked for.")
    segments: list[SegmentBody] = Field(description="At most 500.")
    next: int = Field(description="Give it as `from` to go on.")
    ended: bool = Field(description="The job has ended, and none come behind these.")


class PeaksBody(Body):
    duration: Seconds = Field(description="Seconds of audio, in whole twentieths.")
    peaks: list[float] = Field(description="The loudest of each share of it, from 0 to 1.", examples=[[0.0, 0.312]])


class ModelBody(Body):
    name: str = Field(examples=["base"])
    multilingual: bool = Field(description="Knows languages other than English.")
    translates: bool = Field(description="Can do task=translate.")
    installed: bool = Field(description="Here already; the others are fetched on first need.")
    verified: bool | None = Field(description="Its checksum is right; null: not looked at yet.")
    pinned: bool = Field(description="There is a published checksum for it.")
    bytes: int | None = Field(examples=[147951465])


class ModelsBody(Body):
    default: str = Field(description="Used when a job names none.", examples=["base"])
    items: list[ModelBody]


class BacklogBody(Body):
    """Work that is there and not done. Audio whose length is not known yet is guessed from its bytes."""

    jobs: int = Field(description="That wait.")
    oldest_seconds: float = Field(description="Since the oldest of them was made; 0 when none waits.")
    audio_seconds: float = Field(description="Of the jobs that wait.")
    running_audio_seconds: float = Field(description="Still to be done of those in work.")
    left_audio_seconds: float = Field(description="Both: what to scale consumers by.")


class DoneBody(Body):
    """Of the newest completed jobs, at most 200."""

    jobs: int
    audio_seconds: float
    average_seconds: float | None = Field(description="From its first start to its end; null without any job.")
    real_time_factor: float | None = Field(description="Seconds of work by seconds of audio; below 1 is faster.")


class ActiveBody(Body):
    id: str
    percent: float
    stage: Phase
    started_at: datetime | None


class StatsBody(Body):
    """Of the caller's own jobs; an administrator's are everybody's."""

    total: int
    jobs: dict[str, int] = Field(description="By status.", examples=[{"queued": 3, "processing": 2, "completed": 120}])
    backlog: BacklogBody
    lately: DoneBody
    active: list[ActiveBody] = Field(description="The newest that are in work, at most 100.")


class HealthBody(Body):
    status: Literal["ok"] = "ok"


class ReadyBody(Body):
    """`ready` when a job can be accepted. A missing model is told here, but does not make the service unready."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str] = Field(examples=[{"database": "ok", "storage": "ok", "broker": "ok", "model": "missing"}])


class VersionBody(Body):
    name: Literal["parascribe"] = "parascribe"
    version: str = Field(examples=["0.3.0"])
