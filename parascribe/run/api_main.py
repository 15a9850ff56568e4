"""The API's process: `python -m parascribe.run.api_main SOCKET_FD RUNTIME` under a supervisor, `serve` alone."""

from __future__ import annotations

import contextlib
import functools
import resource
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from api.access.key_table import KeyTable
from api.access.keys import KeyAuthenticator
from api.access.throttle import RequestLimiter
from api.app import create_app
from api.batches.bodies import batch_data
from api.deps import PREFIX, ApiDeps
from api.http.protocol import BoundedHttp
from api.peaks.kept import Measure
from api.peaks.measuring import Request, measure
from api.webhooks.bodies import job_data
from api.webhooks.sender import WebhookSender
from core.audio import ffmpeg
from core.config.loading import load
from core.config.settings import Settings
from core.errors import ModelUnavailable
from core.jobs.job import Job
from core.objects.store import ObjectStore
from core.system import logs, tracing
from parascribe.run import wiring


def serve(settings: Settings, sock: socket.socket, runtime: Path | None) -> int:
    """Answer on an open, listening socket until SIGTERM. runtime: folder of the doorbell, None = consumers elsewhere."""
    _allow_connections()
    with contextlib.ExitStack() as stack:
        if settings.tracing:
            tracing.setup("api", wiring.version())
            stack.callback(tracing.stop)
        # under a supervisor the schema is made already
        store = wiring.open_store(settings, migrate=runtime is None)
        stack.callback(store.close)
        objects = wiring.open_objects(settings)
        models = wiring.open_models(settings)
        plan = wiring.plan_of(settings) if runtime is None else wiring.plan_in_force(runtime)
        sweeper = wiring.make_sweeper(settings, store, objects, runtime)
        sweeper.start()
        stack.callback(sweeper.stop)

        def model() -> None:
            if models.path(settings.whisper_model) is None:
                raise ModelUnavailable

        post = functools.cache(functools.partial(wiring.open_post, settings))
        webhooks = WebhookSender(
            store, post, {"job": job_data(store, base=PREFIX), "batch": batch_data(store, base=PREFIX)}
        )
        webhooks.start()
        stack.callback(webhooks.stop)

        deps = ApiDeps(
            settings=settings,
            objects=objects,
            models=models,
            # the outbox row is there already: waking the sweeper sends it
            notify=lambda _: sweeper.wake(),
            system=functools.partial(wiring.system_info, settings, store, plan),
            checks={"database": store.ping, "storage": objects.ping},
            advisory={"broker": wiring.open_hints(settings, runtime).ping, "model": model},
            free_bytes=wiring.free_bytes(settings),
            origins=wiring.open_origins(settings, objects),
            measure=_measure(settings, objects),
            probe=wiring.open_probe(),
            version=wiring.version(),
            limiter=RequestLimiter(settings.broker),
            check_url=lambda url: post().check(url),
        )
        keys = KeyTable(store, given=settings.known_keys)
        stack.callback(keys.close)
        authenticator = KeyAuthenticator(
            keys, limits=settings.key_limits, open_without_keys=settings.loopback or settings.allow_open
        )
        config = uvicorn.Config(
            create_app(deps, store, authenticator),
            http=BoundedHttp,
            ws="websockets-sansio",
            ws_max_size=wiring.MESSAGE_BYTES,
            ws_per_message_deflate=False,  # a window for each of a thousand followers would cost more than it saves
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_graceful_shutdown=wiring.API_SHUTDOWN_SECONDS,
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


def _measure(settings: Settings, objects: ObjectStore) -> Measure:
    """What measures the audio of jobs; ffmpeg is looked for at first need."""
    find = functools.cache(ffmpeg.find)

    def ask(job: Job) -> bytes:
        program = find()
        request = Request(
            ffmpeg=program.path,
            version=program.version,
            max_seconds=settings.max_audio_hours * 3600,
            media_type=job.source.media_type,
            track=job.params.audio_track,
        )
        path = objects.local_path(job.source.key)
        if path is not None:
            return measure(request, path, nice=settings.engine_nice)
        with objects.open(job.source.key) as stream:
            return measure(request, stream, nice=settings.engine_nice)

    return ask


if __name__ == "__main__":
    loaded = load()
    logs.setup(loaded.log_level, loaded.log_format, role="api")
    # asyncio sends small answers at once only from sockets known to be TCP's, which not every system can tell of a descriptor
    listening = socket.socket(proto=socket.IPPROTO_TCP, fileno=int(sys.argv[1]))
    sys.exit(serve(loaded, listening, Path(sys.argv[2])))
