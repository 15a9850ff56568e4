"""What this service offers and runs on, and what it has done."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Deps, Jobs
from api.http.problems import responses
from api.schemas import (
    ActiveBody,
    BacklogBody,
    DoneBody,
    FeatureLimitsBody,
    FeaturesBody,
    ModelBody,
    ModelsBody,
    StatsBody,
)
from core.jobs.job import JobStatus
from core.keys import JOBS, MODELS
from core.options import options
from core.transcript.formats import FORMATS
from core.transcript.shaping import Shaping

router = APIRouter(
    prefix=PREFIX, tags=["service"], dependencies=[needs(JOBS, MODELS), NO_QUERY], responses=responses("validation")
)

INTERFACES = ("openai", "whisper.cpp", "asr", "parallel")
"""Other people's (`api.foreign`)."""


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
def get_features(deps: Deps) -> FeaturesBody:
    """What can be asked for here: options of a job, formats of a result, limits."""
    settings = deps.settings
    return FeaturesBody(
        version=deps.version,
        model=settings.whisper_model,
        options=[option.name for option in options(deps.options)],
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
    )


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
