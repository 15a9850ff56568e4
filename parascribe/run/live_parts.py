"""What live streams are heard with, made from the settings."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from core.audio import ffmpeg
from core.audio.decoder import Decoder, PcmSpool
from core.audio.samples import SAMPLE_RATE, Pcm
from core.config.settings import Settings
from core.errors import ServiceError
from core.jobs.params import JobParams
from core.live.options import StreamOptions
from core.live.sessions import Session, StoredUtterance
from core.objects.store import ObjectStore
from core.store.sql import SqlStore
from core.submission.checks import warnings_of
from core.submission.intake import Intake as Rules
from core.submission.intake import Limits
from core.system.cancel import Cancel
from parascribe.run.parts import open_engine
from parascribe.run.translators import open_translators
from parascribe.run.wiring.about import figures
from parascribe.run.wiring.engine import plan_in_force
from parascribe.run.wiring.models import open_downloader, open_models
from parascribe.run.wiring.stores import free_bytes, open_objects, open_post
from whisper import DATA, VAD_MODEL
from whisper.engine.host_engine import HostEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.translation.resident import ResidentTranslator
from whisper.translation.router import Translators
from whisper.types import Call, ChunkTranscript, TranscribeOptions, Urgency
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad
from worker.context.figures import Event, StageDone, Tell, nobody
from worker.live.container import ContainerIntake
from worker.live.intake import SampleIntake
from worker.live.parts import Intake, Pipeline, Sink
from worker.live.pipeline import LivePipeline
from worker.live.serving.admission import Admission, estimate
from worker.live.serving.parts import Pace, Serving
from worker.live.serving.streams import Streams
from worker.live.stages.hearing import prompt_for

log = logging.getLogger(__name__)

WAITING_THREADS = 7
"""In which one stream waits for the engine: for a final, an early one and a partial of each of two channels, and for a translation."""

THREADS = 8
"""For database and object store."""

MOST_STREAMS = 64
"""For which there are threads where MAX_LIVE_STREAMS says nothing; of more, some wait for each other."""

SAMPLE_SECONDS = 10
"""Of speech that is decoded to find out what a stream costs: a long utterance."""

MOST_FIGURES = 1000
"""That wait to be told; more are dropped."""


@dataclass(frozen=True, kw_only=True)
class LiveParts:
    """See `Serving`. measure: finds out what a stream costs the engine; blocks. pace: of `Pace`, where it is another"""

    intake: Callable[[StreamOptions], Intake]
    pipeline: Callable[[Session, Sequence[StoredUtterance], Sink], Pipeline]
    tell: Tell = nobody
    measure: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    pace: Mapping[str, float] = field(default_factory=dict)


MakeParts = Callable[[Settings, Path, Admission, Executor], LiveParts]


def open_streams(
    stack: contextlib.ExitStack,
    settings: Settings,
    runtime: Path,
    store: SqlStore,
    *,
    consumer: str,
    make: MakeParts,
    changed: Callable[[int], None] = lambda count: None,
) -> tuple[Streams, LiveParts]:
    """What serves streams until the stack is closed, in a live process or in a command. changed: told how many there are"""
    objects = open_objects(settings)
    check, check_room = make_checks(settings, objects, runtime)
    admission = Admission(most=settings.max_live_streams, workers=plan_in_force(runtime).workers)
    most = WAITING_THREADS * (settings.max_live_streams or MOST_STREAMS)
    waiting = stack.enter_context(ThreadPoolExecutor(most, "hearing"))
    threads = stack.enter_context(ThreadPoolExecutor(THREADS, "storing"))
    parts = make(settings, runtime, admission, waiting)
    stack.callback(parts.close)
    serving = Serving(
        sessions=store,
        objects=objects,
        intake=parts.intake,
        pipeline=parts.pipeline,
        threads=threads,
        consumer=consumer,
        pace=Pace(lease=settings.lease_seconds, idle=settings.live_idle_seconds, **parts.pace),
        check_room=check_room,
        tell=parts.tell,
        heard=admission.heard,
    )
    return Streams(serving, check, admission, changed=changed), parts


class Aside:
    """Tells figures in a thread of its own, since a listener that is busy is waited for."""

    def __init__(self, tell: Tell) -> None:
        self._waiting: queue.Queue[Event] = queue.Queue(MOST_FIGURES)
        threading.Thread(target=self._run, args=(tell,), name="figures", daemon=True).start()

    def __call__(self, event: Event) -> None:
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            pass  # as the socket would

    def _run(self, tell: Tell) -> None:
        while True:
            tell(self._waiting.get())


class MeasuredTranscriber:
    """The transcriber of all streams: what they cost the engine counts for whether one more is taken."""

    def __init__(self, transcriber: WhisperTranscriber, admission: Admission, tell: Tell) -> None:
        self._transcriber, self._admission, self._tell = transcriber, admission, tell
        self.engine = transcriber.engine

    def transcribe(self, pcm: Pcm, options: TranscribeOptions, call: Call = Call(), *, model: str) -> ChunkTranscript:
        """As `WhisperTranscriber.transcribe`."""
        began = time.monotonic()
        said = self._transcriber.transcribe(pcm, options, call, model=model)
        self._admission.worked(said.wall_seconds, partial=not options.ladder)
        waited = max(0.0, time.monotonic() - began - said.wall_seconds)
        self._tell(StageDone(stage="recogniser", waited=waited, worked=said.wall_seconds))
        return said


def make_checks(
    settings: Settings, objects: ObjectStore, runtime: Path
) -> tuple[Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], list[dict[str, Any]]]], Callable[[], None]]:
    """What a stream's options of a job are checked by, as those of any job; and whether there is room for recordings."""
    post = functools.cache(functools.partial(open_post, settings))
    rules = Rules(
        objects=objects,
        models=open_models(settings),
        default_model=settings.whisper_model,
        probe=lambda head: None,
        limits=Limits(min_free=settings.min_free_disk_mb * 1024 * 1024),
        free_bytes=free_bytes(settings),
        defaults=settings.job_defaults,
        check_url=lambda url: post().check(url),
        translations=open_translators(settings, runtime, live=True),
    )

    def check(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
        params = rules.check(given)
        return params.to_dict(), [dict(warning) for warning in warnings_of(params, given)]

    return check, rules.check_disk


def make_parts(settings: Settings, runtime: Path, admission: Admission, executor: Executor) -> LiveParts:
    """Of this installation. executor: where the engine is waited for"""
    objects = open_objects(settings)
    models = open_models(settings)
    engine = open_engine(settings, runtime, plan_in_force(runtime))
    downloader = open_downloader(settings, models, objects)
    transcriber = WhisperTranscriber(engine, downloader, chunk_timeout=settings.chunk_timeout)
    tell: Tell = Aside(figures(settings, runtime)) if settings.metrics_port else nobody
    measured = MeasuredTranscriber(transcriber, admission, tell)
    translators = open_translators(settings, runtime, live=True)
    closing = threading.Event()
    silero, decoder = SileroModel.read(VAD_MODEL), functools.cache(ffmpeg.find)

    def intake(options: StreamOptions) -> Intake:
        if options.encoding == "container":
            return ContainerIntake(decoder(), channels=options.channels)
        return SampleIntake(options)

    def pipeline(session: Session, before: Sequence[StoredUtterance], sink: Sink) -> Pipeline:
        params = JobParams.from_dict(session.params)
        model = models.path(params.model)
        spoken = params.task == "transcribe" and models.info(params.model).translates
        if model is not None and isinstance(engine, HostEngine):
            executor.submit(_load, partial(engine.load, str(model), closing))
        if params.translate_to is not None:
            executor.submit(_load, partial(_load_translator, translators, params, spoken, closing))
        return LivePipeline(
            options=session.options,
            params=params,
            transcriber=measured,
            vad=partial(SileroVad, silero),
            executor=executor,
            sink=sink,
            session=session.id,
            owner=session.owner or "",
            prompt=params.prompt if model is None else prompt_for(params, model).text,
            begin=session.acked,
            number=session.utterances,
            before=before,
            translators=translators,
            translates=spoken,
            fair_share=lambda: admission.fair_share,
        )

    def close() -> None:
        closing.set()  # nobody waits for a model that is just being loaded
        engine.close()

    def measure() -> None:
        if settings.max_live_streams or models.path(settings.whisper_model) is None:
            return
        try:
            admission.estimated(_cost(transcriber, settings.whisper_model))
        except ServiceError as error:
            log.warning("What a live stream costs is found out from the first ones: %s", error.message)
        else:
            log.info("There is room for %d live streams", admission.room)

    return LiveParts(intake=intake, pipeline=pipeline, tell=tell, measure=measure, close=close)


def _load(load: Callable[[], None]) -> None:
    """A stream's models come into memory side by side, while nobody has said anything yet. What fails here is told by who asks."""
    with contextlib.suppress(ServiceError):
        load()


def _load_translator(translators: Translators, params: JobParams, spoken: bool, cancel: Cancel) -> None:
    """The one that would be asked, if it is a model of this machine."""
    target = params.translate_to or ""
    chosen = translators.choose(params.language, target, spoken=spoken)
    if isinstance(chosen, ResidentTranslator):
        chosen.load(params.language, target, cancel)


def _cost(transcriber: WhisperTranscriber, model: str) -> float:
    """From a decode of the bundled sample, once the engine is warm."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder) / "sample"
        Decoder(ffmpeg.find(), max_seconds=60.0).decode(DATA / "samples" / "english.flac", spool)
        with PcmSpool(spool) as whole:
            pcm = whole.read(0, SAMPLE_SECONDS * SAMPLE_RATE)
    options = TranscribeOptions(language="en", word_timestamps=True, fit_context=True)
    call = Call(job="measure", label="the sample", urgency=Urgency.JOB)
    transcriber.transcribe(pcm[:SAMPLE_RATE], options, call, model=model)
    said = transcriber.transcribe(pcm, options, call, model=model)
    return estimate(said.wall_seconds, len(pcm) / SAMPLE_RATE)
