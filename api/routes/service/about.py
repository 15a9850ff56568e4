"""What this service offers and runs on, and what it has done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Deps, Jobs, Parts, PartsDep
from api.http.problems import responses
from api.schemas import ActiveBody, BacklogBody, Body, DoneBody, ModelBody, ModelsBody, StatsBody
from core.config.settings import Settings
from core.errors import ServiceError
from core.jobs.job import JobStatus
from core.keys import JOBS, MODELS
from core.live.options import OF_JOBS, StreamOptions
from core.live.sessions import RESUME_SECONDS
from core.live.wire import MESSAGE_BYTES
from core.options import options
from core.submission.checks import Translations
from core.transcript.formats import FORMATS
from core.transcript.languages import LANGUAGES
from core.transcript.shaping import Shaping

router = APIRouter(
    prefix=PREFIX, tags=["service"], dependencies=[needs(JOBS, MODELS), NO_QUERY], responses=responses("validation")
)

INTERFACES = ("deepgram", "openai", "whisper.cpp", "asr", "parallel")
"""Other people's (`api.foreign`)."""


SourceKind = Literal["file", "upload", "url", "object"]


class FeatureLimitsBody(Body):
    max_upload_bytes: int
    max_audio_seconds: float
    max_queued_jobs: int = Field(description="0: any number.")


class LiveFeaturesBody(Body):
    """Of `WS /api/v1/live` (docs/reference/live.md)."""

    available: bool = Field(description="Whether a process that serves streams was heard from lately.")
    encodings: list[str] = Field(description="Of the audio.", examples=[["s16le", "container"]])
    options: list[str] = Field(description="Of `start`, those of jobs included.", examples=[["language", "partials"]])
    min_sample_rate: int
    max_sample_rate: int
    max_channels: int
    max_message_bytes: int
    resume_seconds: float = Field(description="For so long a stream whose connection broke can go on.")


class LanguagePairsBody(Body):
    """Each of `sources` to each of `targets`, but for the same to itself."""

    sources: list[str] | None = Field(description="null: whatever is spoken.", examples=[["de"]])
    targets: list[str] = Field(examples=[["en"]])


class TranslatorBody(Body):
    """One who translates here (`translate_to`)."""

    provider: str = Field(examples=["ctranslate2"])
    pairs: list[LanguagePairsBody] | None = Field(description="null: not known yet; it is being asked.")
    from_sound: bool = Field(description="By the speech model itself, if it `translates` (GET /models).")


class FeaturesBody(Body):
    """What this installation can do, so that a program need not try."""

    version: str = Field(examples=["0.3.0"])
    model: str = Field(description="Used when a job names none.", examples=["base"])
    options: list[str] = Field(description="Of a job.", examples=[["language", "word_timestamps"]])
    defaults: dict[str, Any] = Field(
        description="Options that jobs have here where they say nothing of them (JOB_DEFAULTS).",
        examples=[{"diarize": True}],
    )
    sources: list[SourceKind] = Field(
        description="Where files may come from: with the request, in parts, from an address, out of a bucket."
    )
    languages: dict[str, str] = Field(description="Codes and English names.", examples=[{"de": "german"}])
    translation: list[TranslatorBody] = Field(
        description="Who writes what was said in another language too; of those that can do a pair the first one does."
    )
    formats: list[str] = Field(description="Of a result.", examples=[["json", "srt"]])
    looks: list[str] = Field(description="Options of how a result looks.", examples=[["max_lines"]])
    interfaces: list[str] = Field(description="Other people's that are spoken here.", examples=[["openai"]])
    following: list[str] = Field(description="Ways to be told of a job as it happens.")
    parallel: bool = Field(description="Whether chunks of one job are worked on at once (USE_PARALLEL_TRANSCRIPTION).")
    tracing: bool = Field(description="Whether a request's `traceparent` is taken up.")
    limits: FeatureLimitsBody
    live: LiveFeaturesBody


@router.get("/models")
def list_models(deps: Deps) -> ModelsBody:
    """The models that jobs can name: published ones and the operator's own (`local:<name>`)."""
    items = [
        ModelBody(
            name=status.info.name,
            multilingual=status.info.multilingual,
            translates=status.info.translates,
            installed=status.installed,
            verified=status.verified,
            pinned=status.pinned,
            bytes=status.bytes,
        )
        for status in deps.models.list()
    ]
    return ModelsBody(default=deps.settings.whisper_model, items=items)


@router.get("/features")
def get_features(deps: Deps, parts: PartsDep) -> FeaturesBody:
    """What can be asked for here: options of a job, formats of a result, limits, live streams."""
    settings = deps.settings
    return FeaturesBody(
        version=deps.version,
        model=settings.whisper_model,
        options=[option.name for option in options(deps.options)],
        defaults=dict(settings.job_defaults),
        sources=_sources(settings),
        languages=dict(LANGUAGES),
        translation=_translation(deps.translations),
        formats=list(FORMATS),
        looks=[option.name for option in options(Shaping)],
        interfaces=list(INTERFACES),
        following=["events", "websocket", "wait"],
        parallel=settings.use_parallel_transcription,
        tracing=settings.tracing,
        limits=FeatureLimitsBody(
            max_upload_bytes=int(settings.max_upload_mb * 1024 * 1024),
            max_audio_seconds=settings.max_audio_hours * 3600,
            max_queued_jobs=settings.max_queued_jobs,
        ),
        live=_live(parts),
    )


def _translation(there: Translations | None) -> list[TranslatorBody]:
    return [
        TranslatorBody(
            provider=name,
            pairs=None if pairs is None else [LanguagePairsBody.model_validate(asdict(one)) for one in pairs],
            from_sound=name == "whisper",
        )
        for name, pairs in (there.offers() if there else ())
    ]


def _live(parts: Parts) -> LiveFeaturesBody:
    try:
        available = bool(parts.places.known())
    except ServiceError:  # the database is away, and so is nearly all else
        available = False
    known = {option.name: option for option in options(StreamOptions)}
    rate, channels = known["sample_rate"].about, known["channels"].about
    return LiveFeaturesBody(
        available=available,
        encodings=list(known["encoding"].choices),
        options=sorted({*known, *OF_JOBS}),
        min_sample_rate=int(rate.ge or 0),
        max_sample_rate=int(rate.le or 0),
        max_channels=int(channels.le or 0),
        max_message_bytes=MESSAGE_BYTES,
        resume_seconds=RESUME_SECONDS,
    )


def _sources(settings: Settings) -> list[SourceKind]:
    found: list[SourceKind] = ["file", "upload"]
    if settings.url_ingest:
        found.append("url")
    if settings.ingest_bucket:
        found.append("object")
    return found


@router.get("/stats", dependencies=[needs(JOBS)])
def get_stats(jobs: Jobs) -> StatsBody:
    """How many jobs there are, what is still to be done, and how fast it went lately."""
    counts, backlog, done = jobs.totals().by_status, jobs.backlog(), jobs.done_lately()
    active, _ = jobs.list(status=JobStatus.PROCESSING, limit=100)
    return StatsBody(
        total=sum(counts.values()),
        jobs={status.value: count for status, count in counts.items()},
        backlog=BacklogBody(
            jobs=backlog.jobs,
            oldest_seconds=backlog.oldest_seconds,
            audio_seconds=backlog.audio_seconds,
            running_audio_seconds=backlog.running_audio_seconds,
            left_audio_seconds=backlog.audio_seconds + backlog.running_audio_seconds,
        ),
        lately=DoneBody(
            jobs=done.jobs,
            audio_seconds=done.audio_seconds,
            average_seconds=done.seconds / done.jobs if done.jobs else None,
            real_time_factor=done.seconds / done.audio_seconds if done.audio_seconds else None,
        ),
        active=[
            ActiveBody(id=job.id, percent=job.percent, stage=job.stage, started_at=job.started_at) for job in active
        ],
    )


@router.get("/system")
def get_system(deps: Deps) -> dict[str, Any]:
    """Cores, memory, the resolved plan, engine library and ffmpeg with their versions."""
    return deps.system()
