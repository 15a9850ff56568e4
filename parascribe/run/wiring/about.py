"""What is told of programs: their version, what /system shows, where figures go."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from core.audio import ffmpeg
from core.config.settings import Settings
from core.errors import ServiceError
from core.jobs.consumers import ConsumerInfo
from core.store.protocols import Consumers
from core.system import identity, machine
from core.system.machine import Plan
from parascribe.run.live_door import live_streams
from parascribe.run.wiring.engine import enhancements, manager_socket
from whisper.engine.host_client import HostClient
from worker.context.figures import Sender, Tell, nobody

FIGURES = "figures"
"""Socket of the runtime folder that a consumer's figures listen at."""


def version() -> str:
    return metadata.version("parascribe")


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
