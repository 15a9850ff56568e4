"""What can be started: the whole service (solo), the API alone, one consumer alone. Each blocks and returns an exit code."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import logging
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from core.config.loading import remarks
from core.config.settings import Settings
from core.errors import ServiceError
from core.jobs.consumers import ConsumerInfo
from core.system import identity, logs, tracing
from parascribe.run import live_door
from parascribe.run.runtime import private_folder
from parascribe.run.supervisor import API_SHUTDOWN_SECONDS, Child, Supervisor, listen
from parascribe.run.wiring.about import FIGURES, consumer_info, version
from parascribe.run.wiring.broker import BrokerWatch, doorbell
from parascribe.run.wiring.engine import engine_child, start_plan
from parascribe.run.wiring.models import fetch_model
from parascribe.run.wiring.stores import make_sweeper, open_objects, open_store, open_to_all
from whisper.speakers import sherpa
from worker.context.figures import Tell, nobody
from worker.watch import ConsumerWatch, free_dead_neighbours

log = logging.getLogger(__name__)


PROGRAMS = "parascribe.run"
"""The package with the children's programs, `api_main`, `consumer_main` and `live_main`; the fault tests bring their own."""

_CHILD = [sys.executable, "-m", "core.system.program"]

_CONSUMER = {"MALLOC_MMAP_THRESHOLD_": str(512 << 10)}
"""Fixed, else glibc raises it to the size of the first chunk's samples freed, and each thread of a job's process keeps
as much for good: 10 MB less of 60. Below 512 KiB the VAD's arrays would be new pages each time: 2.5 times its CPU."""


LIVE_GRACE = 15.0
"""For telling clients to go on elsewhere, and for storing what has come (`worker.live.serving.streams.STOP_SECONDS`, each)."""


def run_serve(settings: Settings, *, programs: str = PROGRAMS) -> int:
    """API and consumer under one supervisor: `parascribe serve`, `make run`."""
    return _supervised(settings, with_api=True, programs=programs)


def run_consumer(settings: Settings, *, programs: str = PROGRAMS) -> int:
    """One consumer: `parascribe consumer`, `cmd/consumer/main.py`."""
    return _supervised(settings, with_api=False, programs=programs)


def run_api(settings: Settings) -> int:
    """The API in this process: `parascribe api`, `cmd/api/main.py`."""
    logs.setup(settings.log_level, settings.log_format, role="api")
    try:
        _check(settings, with_api=True)
        with listen(settings.api_host, settings.api_port) as sock:
            log.info("API on %s", _address(settings, sock.getsockname()[1]))
            from parascribe.run.api_main import serve

            return serve(settings, sock, runtime=None)
    except (OSError, ServiceError) as error:
        return _refuse(error, settings)


def _supervised(settings: Settings, *, with_api: bool, programs: str) -> int:
    role = "serve" if with_api else "consumer"
    logs.setup(settings.log_level, settings.log_format, role=role)
    try:
        _check(settings, with_api=with_api)
        if settings.diarization_backend == "sherpa":
            sherpa.installed_version()
        with contextlib.ExitStack() as stack:
            runtime = stack.enter_context(private_folder())
            store = open_store(settings)
            stack.callback(store.close)
            consumer = identity.new_consumer()
            # Celery sets process titles, which must not overwrite the environment: stray processes are found by DATA_DIR in it
            env = dict(os.environ) | settings.environment() | {"SPT_NOENV": "1"}
            plan = start_plan(settings, runtime)
            for line in plan.warnings:
                log.warning("%s", line)
            children = [engine_child(settings, runtime, plan)] if settings.whisper_executable is None else []
            command = [*_CHILD, f"{programs}.consumer_main", consumer, str(runtime)]
            grace = settings.shutdown_seconds + 10
            children.append(Child(name="consumer", env=env | _CONSUMER, grace=grace, command=command))
            sweeper = make_sweeper(settings, store, open_objects(settings), runtime)
            if settings.broker is not None:
                watched = BrokerWatch(settings.broker, settings.sweep_seconds)
                watched.start()
                for name, word, wanted in (
                    ("poller", "poll", lambda: watched.away or sweeper.hints_fail),
                    ("extra", "extra", lambda: True),
                ):
                    children.append(
                        Child(name=name, env=env | _CONSUMER, grace=grace, command=[*command, word], wanted=wanted)
                    )
            live = _live(stack, settings, runtime, [f"{programs}.live_main", consumer], env, children)
            url = ""
            if with_api:
                sock = stack.enter_context(listen(settings.api_host, settings.api_port))
                url = _address(settings, sock.getsockname()[1])
                children.append(
                    Child(
                        name="api",
                        env=env,
                        pass_fds=(sock.fileno(),),
                        grace=API_SHUTDOWN_SECONDS + 5,  # to clean up after what it then cuts
                        command=[*_CHILD, f"{programs}.api_main", str(sock.fileno()), str(runtime)],
                    )
                )
            supervisor = Supervisor(children)
            free_dead_neighbours(store)
            info = consumer_info(settings, runtime, consumer, plan, live)
            watch = ConsumerWatch(
                store,
                consumer,
                settings.work_path,
                info,
                ring=doorbell(runtime, extra=settings.broker is not None).send,
                tell=_figures(stack, settings, runtime, children, info),
            )
            watch.start()
            stack.callback(watch.stop)
            sweeper.start()
            stack.callback(sweeper.stop)
            _thread(functools.partial(fetch_model, settings), "model")
            if url:
                _thread(functools.partial(_announce, url, settings), "announce")
            return supervisor.run()
    except (OSError, ServiceError) as error:
        return _refuse(error, settings)


def _live(
    stack: contextlib.ExitStack,
    settings: Settings,
    runtime: Path,
    program: Sequence[str],
    env: dict[str, str],
    children: list[Child],
) -> dict[str, str] | None:
    """The process that serves live streams, behind those that it needs; returns what API processes have to know of it."""
    if not settings.live_enabled:
        return None
    command = [*_CHILD, *program, str(runtime)]
    port: int | None = None
    pass_fds: tuple[int, ...] = ()
    if settings.live_host:
        sock = stack.enter_context(_live_listen(settings))
        port, pass_fds = sock.getsockname()[1], (sock.fileno(),)
        command.append(str(sock.fileno()))
    children.append(Child(name="live", env=env | _CONSUMER, command=command, pass_fds=pass_fds, grace=LIVE_GRACE))
    return live_door.start_live(settings, runtime, port)


def _live_listen(settings: Settings) -> socket.socket:
    """Raises ServiceError."""
    try:
        return listen(settings.live_host, settings.live_port)
    except OSError as error:
        raise ServiceError(
            f"Port {settings.live_port} of {settings.live_host} cannot be had for live streams (LIVE_HOST, LIVE_PORT): {error.strerror}. "
            "Each consumer on one machine needs its own; LIVE_PORT=0 picks a free one."
        ) from error


def _figures(
    stack: contextlib.ExitStack,
    settings: Settings,
    runtime: Path,
    children: Sequence[Child],
    info: Callable[[], ConsumerInfo],
) -> Tell:
    """The consumer's own figures at METRICS_PORT, until the stack is closed. Raises ServiceError where the port cannot be had."""
    if not settings.metrics_port:
        return nobody
    from worker.metrics import ConsumerMetrics, Seen
    from worker.pools.slots import Slots

    slots = Slots(settings.max_concurrent_jobs, runtime / "slots")
    seen = Seen(
        info=info,
        busy=lambda: sum(not slots.is_free(index) for index in range(slots.count)),
        restarts=lambda: {child.name: child.restarts for child in children},
    )
    metrics = ConsumerMetrics(runtime / FIGURES, seen, version=version())
    try:
        metrics.start(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        raise ServiceError(
            f"Port {settings.metrics_port} of {settings.metrics_host} cannot be had for figures (METRICS_PORT): {error.strerror}. "
            "Each consumer on one machine needs its own; 0 does without."
        ) from error
    stack.callback(metrics.stop)
    log.info("Figures of this consumer on http://%s:%d/metrics", settings.metrics_host, settings.metrics_port)
    return metrics.tell


def _check(settings: Settings, *, with_api: bool) -> None:
    """Refuse or warn of what would surprise later."""
    if settings.tracing:
        tracing.check()
    for line in remarks(settings):
        log.warning("%s", line)
    if with_api and settings.wyoming_port and importlib.util.find_spec("wyoming") is None:
        raise ServiceError("WYOMING_PORT needs the extra: pip install 'parascribe[wyoming]', or WYOMING_PORT=0.")
    for folder in (settings.data_dir, settings.work_path, settings.models_path):
        folder.mkdir(parents=True, exist_ok=True)
    if open_to_all(settings) and not settings.allow_open:
        raise ServiceError(
            f"API_HOST={settings.api_host} would let anybody on the network use this service: it has no keys. "
            "Make one (parascribe keys create NAME), keep API_HOST=127.0.0.1, or set ALLOW_OPEN=true if the network is trusted."
        )


def _address(settings: Settings, port: int) -> str:
    host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "localhost") else settings.api_host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refuse(error: Exception, settings: Settings) -> int:
    if isinstance(error, ServiceError):
        log.error("%s", error.message)
    elif isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        log.error(
            "Port %d of %s is in use: stop what uses it, or set API_PORT (0 picks a free one)",
            settings.api_port,
            settings.api_host,
        )
    else:
        log.error("Cannot start: %s", error)
    return 1


def _thread(run: Callable[[], None], name: str) -> None:
    threading.Thread(target=run, name=name, daemon=True).start()


def _announce(url: str, settings: Settings) -> None:
    """Say where the service is once it answers; the demo and the tests wait for this line too."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # not httpx: its 15 MB would stay for good
    for _ in range(600):
        with contextlib.suppress(OSError), direct.open(f"{url}/readyz", timeout=2) as answer:
            if answer.status == 200:
                log.info(
                    "Parascribe is ready on %s (open it in a browser; API description: %s/docs), model %s",
                    url,
                    url,
                    settings.whisper_model,
                )
                return
        threading.Event().wait(0.1)
    log.error("The API has not become ready; see above, or run `parascribe doctor`")
