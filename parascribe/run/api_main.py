"""The API's process: a child (`core.system.program`) with SOCKET_FD RUNTIME under a supervisor, `serve` alone."""

from __future__ import annotations

import contextlib
import functools
import resource
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypedDict

import uvicorn

from api.access.key_table import KeyTable
from api.access.keys import KeyAuthenticator
from api.access.throttle import RequestLimiter
from api.app import create_app
from api.audio.encoding import encode
from api.audio.forms import FormName
from api.audio.measuring import measure
from api.audio.peaks import Measure
from api.audio.programs import Request
from api.audio.renditions import Encode, Give
from api.batches.bodies import batch_data
from api.deps import PREFIX, ApiDeps, Parts
from api.http.protocol import BoundedHttp
from api.webhooks.bodies import job_data
from api.webhooks.sender import WebhookSender
from core.audio import ffmpeg
from core.config.loading import load
from core.config.settings import Settings
from core.errors import ModelUnavailable
from core.jobs.job import Job
from core.live.wire import MESSAGE_BYTES
from core.objects.store import ObjectStore
from core.system import logs, tracing
from parascribe.run.supervisor import API_SHUTDOWN_SECONDS
from parascribe.run.translators import open_translators
from parascribe.run.wiring.about import system_info, version
from parascribe.run.wiring.broker import open_hints
from parascribe.run.wiring.engine import plan_in_force, plan_of
from parascribe.run.wiring.models import open_models
from parascribe.run.wiring.stores import (
    free_bytes,
    make_sweeper,
    open_objects,
    open_origins,
    open_post,
    open_probe,
    open_store,
)


class Where(TypedDict):
    """How our programs for players run."""

    folder: Path
    nice: int


def serve(settings: Settings, sock: socket.socket, runtime: Path | None) -> int:
    """Answer on an open, listening socket until SIGTERM. runtime: folder of the doorbell, None = consumers elsewhere."""
    _allow_connections()
    with contextlib.ExitStack() as stack:
        if settings.tracing:
            tracing.setup("api", version())
            stack.callback(tracing.stop)
        # under a supervisor the schema is made already
        store = open_store(settings, migrate=runtime is None)
        stack.callback(store.close)
        objects = open_objects(settings)
        models = open_models(settings)
        plan = plan_of(settings) if runtime is None else plan_in_force(runtime)
        sweeper = make_sweeper(settings, store, objects, runtime)
        sweeper.start()
        stack.callback(sweeper.stop)

        def model() -> None:
            if models.path(settings.whisper_model) is None:
                raise ModelUnavailable

        post = functools.cache(functools.partial(open_post, settings))
        measure_of, encode_of = _listeners(settings, objects)
        deps = ApiDeps(
            settings=settings,
            objects=objects,
            models=models,
            # the outbox row is there already: waking the sweeper sends it
            notify=lambda _: sweeper.wake(),
            system=functools.partial(system_info, settings, store, plan),
            checks={"database": store.ping, "storage": objects.ping},
            advisory={"broker": open_hints(settings, runtime).ping, "model": model},
            free_bytes=free_bytes(settings),
            origins=open_origins(settings, objects),
            measure=measure_of,
            encode=encode_of,
            probe=open_probe(),
            version=version(),
            limiter=RequestLimiter(settings.broker),
            check_url=lambda url: post().check(url),
            translations=open_translators(settings, runtime),
        )
        keys = KeyTable(store, given=settings.known_keys)
        stack.callback(keys.close)
        authenticator = KeyAuthenticator(
            keys,
            limits=settings.key_limits,
            open_without_keys=settings.loopback or settings.allow_open,
            this_machine_only=not settings.allow_open,
        )
        app = create_app(deps, store, authenticator)
        parts: Parts = app.state.parts
        webhooks = WebhookSender(
            store,
            post,
            {"job": job_data(store, base=PREFIX), "batch": batch_data(store, base=PREFIX)},
            tell=parts.metrics.attempt,
        )
        webhooks.start()
        stack.callback(webhooks.stop)
        config = uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,  # a window for each of a thousand followers would cost more than it saves
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_graceful_shutdown=API_SHUTDOWN_SECONDS,
        )
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True  # before uvicorn listens for signals itself: it then stops once it has started

        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn raises what it caught once more when it has stopped: a wished-for end is exit code 0
            signal.signal(number, stop)
        server.run(sockets=[sock])
    return 0


def _allow_connections() -> None:
    """As many as the system lets us: by default it is 1,024 descriptors, and who follows a job keeps one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listeners(settings: Settings, objects: ObjectStore) -> tuple[Measure, Encode]:
    """What measures the audio of jobs, and what makes it playable; ffmpeg is looked for at first need."""
    find = functools.cache(ffmpeg.find)
    where: Where = {"folder": settings.work_path, "nice": settings.engine_nice}

    def request(job: Job) -> Request:
        program = find()
        return Request(
            ffmpeg=program.path,
            version=program.version,
            max_seconds=settings.max_audio_hours * 3600,
            media_type=job.source.media_type,
            track=job.params.audio_track,
        )

    @contextlib.contextmanager
    def source(job: Job) -> Iterator[BinaryIO | Path]:
        path = objects.local_path(job.source.key)
        with contextlib.nullcontext(path) if path is not None else objects.open(job.source.key) as found:
            yield found

    def measured(job: Job) -> bytes:
        with source(job) as found:
            return measure(request(job), found, **where)

    def encoded(job: Job, name: FormName, give: Give) -> None:
        with source(job) as found:
            encode(request(job), found, name, give, **where)

    return measured, encoded


def run(arguments: Sequence[str]) -> int:
    """As a program. arguments: SOCKET_FD RUNTIME"""
    fd, runtime = arguments
    loaded = load()
    logs.setup(loaded.log_level, loaded.log_format, role="api")
    # asyncio sends small answers at once only from sockets known to be TCP's, which not every system can tell of a descriptor
    return serve(loaded, socket.socket(proto=socket.IPPROTO_TCP, fileno=int(fd)), Path(runtime))
