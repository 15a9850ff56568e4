"""A consumer's figures for Prometheus, kept by its supervisor: the one process that lives as long as the consumer."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.jobs.consumers import ConsumerInfo
from worker.context.figures import (
    ChunkEnded,
    EngineAnswered,
    Event,
    JobBegan,
    JobLeft,
    JobProcessDied,
    Listener,
    LiveCounted,
    LiveSeen,
    StageDone,
)

log = logging.getLogger(__name__)

ENGINE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds of one call of the engine: a short clip on a small model to 30 s of speech on a large one."""
WAIT_BUCKETS = (0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
JOB_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of what somebody waits for who is speaking."""
FACTOR_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Below 1 is faster than real time."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is looked at when somebody asks.

    info: as `worker.watch.ConsumerWatch` has it; busy: slots that hold a job; restarts: of child processes, by name
    """

    info: Callable[[], ConsumerInfo]
    busy: Callable[[], int]
    restarts: Callable[[], Mapping[str, int]]


class JobFigures:
    """What the job processes have told, and the live process. Its methods are safe from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._chunks = Counter("parascribe_chunks", "Chunks that have ended", ("outcome",), registry=registry)
        self._audio = Counter("parascribe_audio_seconds", "Audio of the chunks that are done", registry=registry)
        self._cpu = Counter(
            "parascribe_engine_cpu_seconds", "CPU time of engine workers for chunks that have ended", registry=registry
        )
        self._worked = Histogram(
            "parascribe_chunk_seconds",
            "Seconds that an engine worker took for a chunk",
            ("model",),
            buckets=ENGINE_BUCKETS,
            registry=registry,
        )
        self._waited = Histogram(
            "parascribe_chunk_wait_seconds",
            "Seconds that a chunk waited for an engine worker, hand-over included",
            ("model",),
            buckets=ENGINE_BUCKETS,
            registry=registry,
        )
        self._jobs = Counter(
            "parascribe_jobs_left",
            "Jobs that job processes are done with, by how they left them; code: of failed ones",
            ("outcome", "code"),
            registry=registry,
        )
        self._began = Histogram(
            "parascribe_job_wait_seconds",
            "Seconds from a job's making to its first claim",
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self._seconds = Histogram(
            "parascribe_job_seconds",
            "Seconds from a claim to the completed job",
            buckets=JOB_BUCKETS,
            registry=registry,
        )
        self._factor = Histogram(
            "parascribe_real_time_factor",
            "Seconds of work by seconds of audio, of jobs completed by their first owner",
            buckets=FACTOR_BUCKETS,
            registry=registry,
        )
        self._died = Counter(
            "parascribe_job_process_deaths", "Job processes that died while they held a job", registry=registry
        )
        self._live = LiveFigures(registry)

    def __call__(self, event: Event) -> None:
        match event:
            case EngineAnswered():
                self._worked.labels(event.model).observe(event.worked)
                self._waited.labels(event.model).observe(event.waited)
            case ChunkEnded():
                self._chunks.labels(event.outcome).inc()
                self._cpu.inc(event.engine_seconds)
                if event.outcome == "done":
                    self._audio.inc(event.audio_seconds)
            case JobBegan():
                self._began.observe(event.waited)
            case JobLeft():
                self._jobs.labels(event.outcome, event.code).inc()
                if event.outcome == "completed":
                    self._seconds.observe(event.seconds)
                if event.audio_seconds:
                    self._factor.observe(event.seconds / event.audio_seconds)
            case JobProcessDied():
                self._died.inc()
            case LiveCounted() | LiveSeen() | StageDone():
                self._live(event)


class LiveFigures:
    """What the live process has told. Its methods are safe from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counted = Counter(
            "parascribe_live_events",
            "What happened in live streams: begin, resume, partial, final, ack, refusal, failure; code: of the last two",
            ("what", "code"),
            registry=registry,
        )
        self._waited = Histogram(
            "parascribe_live_stage_wait_seconds",
            "Seconds that work waited in a stage's queue",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._worked = Histogram(
            "parascribe_live_stage_seconds",
            "Seconds that a stage took; of the intake, for a second of audio",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._waiting = Gauge(
            "parascribe_live_waiting",
            "What waits in a stage, of all streams; of the intake, bytes",
            ("stage",),
            registry=registry,
        )
        self._streams = Gauge("parascribe_live_consumer_streams", "Live streams that have a client", registry=registry)
        self._behind = Gauge(
            "parascribe_live_behind_seconds",
            "Audio that has come and is neither final nor silence, of the stream furthest behind",
            registry=registry,
        )

    def __call__(self, event: LiveCounted | LiveSeen | StageDone) -> None:
        match event:
            case LiveCounted():
                self._counted.labels(event.what, event.code).inc()
            case StageDone():
                self._waited.labels(event.stage).observe(event.waited)
                self._worked.labels(event.stage).observe(event.worked)
            case LiveSeen():
                self._streams.set(event.streams)
                self._behind.set(event.behind)
                for stage, count in event.waiting.items():
                    self._waiting.labels(stage).set(count)


class ConsumerMetrics:
    """Serves `/metrics` on a port of its own from `start` to `stop`; also the figures' ear, at `path`."""

    def __init__(self, path: Path, seen: Seen, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self.tell = JobFigures(self.registry)
        about = Gauge(
            "parascribe_build_info", "1, with the version of the program", ("version",), registry=self.registry
        )
        about.labels(version).set(1)
        self.registry.register(_Consumer(seen))
        self._path = path

    def start(self, host: str, port: int) -> int:
        """The port, which was chosen if it was 0. Raises OSError when it cannot be had."""
        self._server, _ = start_http_server(port, host, self.registry)
        self._listener = Listener(self._path)
        threading.Thread(target=self._hear, name="figures", daemon=True).start()
        return int(self._server.server_port)

    def stop(self) -> None:
        self._listener.close()
        self._server.shutdown()
        self._server.server_close()

    def _hear(self) -> None:
        for event in self._listener.events():
            self.tell(event)


class _Consumer(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def describe(self) -> list[Metric]:
        return list(_families().values())

    def collect(self) -> Iterator[Metric]:
        families, info = _families(), self._seen.info()
        families["parascribe_consumer_slots"].add_metric([], info.slots)
        families["parascribe_consumer_slots_busy"].add_metric([], self._seen.busy())
        families["parascribe_consumer_memory_bytes"].add_metric([], _memory())
        for name, count in self._seen.restarts().items():
            families["parascribe_process_restarts"].add_metric([name], count)
        for model, count in info.engine.get("restarts", {}).items():
            families["parascribe_engine_restarts"].add_metric([model], count)
        if info.engine:  # with WHISPER_EXECUTABLE there is no manager
            families["parascribe_engine_up"].add_metric([], float("hosts" in info.engine))
        for host in info.engine.get("hosts", []):
            self._add_host(families, host)
        yield from families.values()

    def _add_host(self, families: Mapping[str, Any], host: Mapping[str, Any]) -> None:
        model, workers = Path(host["model"]).stem.removeprefix("ggml-"), host.get("workers", [])
        idle = sum(bool(worker.get("idle")) for worker in workers)
        families["parascribe_engine_workers"].add_metric([model, "idle"], idle)
        families["parascribe_engine_workers"].add_metric([model, "busy"], len(workers) - idle)
        families["parascribe_engine_waiting"].add_metric([model], sum(host.get("queued", {}).values()))
        families["parascribe_engine_held"].add_metric([model], float(bool(host.get("pool", {}).get("held"))))


def _memory() -> int:
    """Bytes that this process and all below it have, what several share counted once (PSS); 0 where that is not told."""
    this, total = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error, AttributeError):
            total += process.memory_full_info().pss
    return total


def _families() -> dict[str, Any]:
    model = ["model"]
    counters = [
        CounterMetricFamily("parascribe_process_restarts", "Starts of a process that had died", labels=["process"]),
        CounterMetricFamily("parascribe_engine_restarts", "Deaths of engine hosts", labels=model),
    ]
    gauges = [
        GaugeMetricFamily("parascribe_consumer_slots", "Jobs that the consumer takes at once", labels=[]),
        GaugeMetricFamily("parascribe_consumer_slots_busy", "Those that hold a job", labels=[]),
        GaugeMetricFamily(
            "parascribe_consumer_memory_bytes",
            "Memory of the supervisor and all processes below it (PSS); 0 where the system does not tell",
            labels=[],
        ),
        GaugeMetricFamily("parascribe_engine_up", "1 when the engine manager answers", labels=[]),
        GaugeMetricFamily("parascribe_engine_workers", "Engine workers", labels=[*model, "state"]),
        GaugeMetricFamily("parascribe_engine_waiting", "Chunks that wait for an engine worker", labels=model),
        GaugeMetricFamily(
            "parascribe_engine_held", "1 when no worker is added for lack of memory or cores", labels=model
        ),
    ]
    return {family.name: family for family in (*counters, *gauges)}
