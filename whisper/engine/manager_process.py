"""How an engine manager is started."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TypedDict, Unpack

from core.errors import EngineUnavailable
from whisper.engine.host_client import HostClient
from whisper.wire.process import engine_environment, python_command


class ManagerOptions(TypedDict, total=False):
    """The manager's arguments, defaults included, are described by `python -m whisper.host.manager --help`."""

    workers: int
    threads: int
    worker_idle_seconds: float
    memory_pressure: float
    cpu_pressure: float
    lone_threads: int
    cores: int
    max_loaded_models: int
    idle_seconds: float
    library: Path | None
    engine_dir: Path | None
    nice: int
    log_level: str
    log_format: str


def manager_command(manager_socket: Path, **options: Unpack[ManagerOptions]) -> list[str]:
    """argv of an engine manager that is to be a child of this process."""
    given = [
        w for name, value in options.items() if value is not None for w in ("--" + name.replace("_", "-"), str(value))
    ]
    return python_command("whisper.host.manager", "--socket", str(manager_socket), "--parent", str(os.getpid()), *given)


def start_manager(
    manager_socket: Path, *, wait: float = 20.0, **options: Unpack[ManagerOptions]
) -> subprocess.Popen[bytes]:
    """Start an engine manager and wait until it answers. It ends on SIGTERM, and with the *thread* that called this.

    manager_socket: short path in a folder of its own (made if missing, mode 0700)

    Raises EngineUnavailable when it does not come up within `wait` seconds.
    """
    command = manager_command(manager_socket, **options)
    manager_socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    manager_socket.unlink(missing_ok=True)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=engine_environment(), start_new_session=True
    )
    client, end = HostClient(manager_socket), time.monotonic() + wait
    while True:
        try:
            client.status()
            return process
        except EngineUnavailable as error:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                process.wait()
                raise EngineUnavailable(f"The engine manager did not start: {error.message}") from error
            time.sleep(0.02)
