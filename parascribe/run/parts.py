"""What a consumer's jobs share. Apart from `parascribe.run.wiring`: API and supervisor need none of it, and no numpy."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from core.audio import ffmpeg
from core.config.settings import Settings
from core.errors import DiskFull, ServiceError
from core.store.sql import SqlStore
from core.system.machine import Plan
from parascribe.run.translators import open_translators
from parascribe.run.wiring.engine import enhancements, manager_options, manager_socket
from parascribe.run.wiring.models import open_downloader, open_models
from parascribe.run.wiring.stores import free_bytes, open_objects, open_origins
from whisper import SPEAKER_MODELS, VAD_MODEL
from whisper.engine.host_client import HostClient
from whisper.engine.host_diarizer import HostNetworks, TurnsDiarizer, own_networks
from whisper.engine.host_engine import HostEngine
from whisper.engine.host_enhancer import HostEnhancer
from whisper.engine.manager_process import start_manager
from whisper.engine.transcriber import WhisperTranscriber
from whisper.enhance import package
from whisper.enhance.enhancer import Enhancer
from whisper.speakers.diarizer import Diarizer
from whisper.types import Engine
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad
from worker.context.figures import Tell, nobody
from worker.context.parts import Parts, RunSettings

log = logging.getLogger(__name__)

MOST_WINDOWS = 16
"""Looked at at once for speakers: each takes 20 MB, and an hour of audio is done within ten seconds then."""


@contextlib.contextmanager
def running_manager(settings: Settings, runtime: Path, plan: Plan) -> Iterator[None]:
    """An engine manager for the time of the block (`transcribe --local`)."""
    process = start_manager(manager_socket(runtime), **manager_options(settings, plan))
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def open_engine(settings: Settings, runtime: Path, plan: Plan) -> Engine:
    if settings.whisper_executable is not None:
        from whisper.engine.cli_engine import CliEngine

        return CliEngine(
            settings.whisper_executable,
            settings.work_path / "cli",
            workers=plan.workers,
            threads=plan.threads,
            nice=settings.engine_nice,
        )
    return HostEngine(manager_socket(runtime))


def make_parts(
    settings: Settings,
    store: SqlStore,
    runtime: Path,
    consumer: str,
    *,
    plan: Plan,
    engine: Engine | None = None,
    tell: Tell = nobody,
) -> Parts:
    """What a consumer's jobs share. Announces transcriber and model once, at INFO. engine: None = the one the settings name."""
    objects = open_objects(settings)
    models = open_models(settings)
    downloader = open_downloader(settings, models, objects)
    transcriber = WhisperTranscriber(
        engine or open_engine(settings, runtime, plan), downloader, chunk_timeout=settings.chunk_timeout
    )
    if models.path(settings.whisper_model) is not None:
        try:
            downloader.ensure_model_exists(settings.whisper_model, announce=True)
        except ServiceError as error:
            log.error("%s", error.message)
    run = RunSettings(
        work=settings.work_path,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        chunk_seconds=settings.chunk_duration,
        chunk_strategy=settings.chunk_strategy,
        fit_context=settings.encoder_context == "fit",
        usual_languages=tuple(settings.languages),
        diarize_beside=settings.parallel_processing,
        chunk_fail_share=settings.chunk_fail_share,
        max_audio_seconds=settings.max_audio_hours * 3600,
        shutdown_seconds=settings.shutdown_seconds,
        parallel=settings.use_parallel_transcription,
        nice=settings.engine_nice,
        priority_age_seconds=settings.priority_age_seconds,
    )
    return Parts(
        settings=run,
        store=store,
        objects=objects,
        models=models,
        transcriber=transcriber,
        diarizer=_open_diarizer(settings, runtime, plan),
        enhancer=_open_enhancer(settings, runtime),
        translators=open_translators(settings, runtime),
        ffmpeg=ffmpeg.find(),
        vad=partial(SileroVad, SileroModel.read(VAD_MODEL)),
        plan=plan,
        width=_width(settings, plan.workers),
        consumer=consumer,
        tell=tell,
        origins=open_origins(settings, objects, store.upload_parts, store.stream_audio),
        check_disk=_room(settings),
    )


def _open_diarizer(settings: Settings, runtime: Path, plan: Plan) -> Diarizer:
    if settings.diarization_backend == "sherpa":
        from whisper.engine.sherpa_diarizer import SherpaDiarizer

        return SherpaDiarizer(SPEAKER_MODELS, threads=min(plan.whole_cores, MOST_WINDOWS))
    if settings.whisper_executable is not None:  # then there is no engine manager
        return TurnsDiarizer(partial(own_networks, SPEAKER_MODELS), width=plan.workers)
    client = HostClient(manager_socket(runtime))
    return TurnsDiarizer(partial(HostNetworks, client, SPEAKER_MODELS), width=min(plan.whole_cores, MOST_WINDOWS))


def _open_enhancer(settings: Settings, runtime: Path) -> Enhancer | None:
    files = package.installed() if enhancements(settings) else None
    return HostEnhancer(HostClient(manager_socket(runtime)), files) if files else None


def _room(settings: Settings) -> Callable[[], None]:
    def check() -> None:
        free = free_bytes(settings)
        if free is not None and free() < settings.min_free_disk_mb * 1024 * 1024:
            raise DiskFull("Less disk space is left than MIN_FREE_DISK_MB.")

    return check


def _width(settings: Settings, workers: int) -> int:
    """Calls of one job that may wait at the engine at once."""
    if not settings.use_parallel_transcription:
        return 1
    if settings.whisper_executable is not None:
        from whisper.engine.cli_queue import BATCH

        return workers * BATCH
    # one more than there are workers, so that none idles while a finished chunk is being stored
    return workers + 1
