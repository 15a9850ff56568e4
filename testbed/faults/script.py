"""What the programs of the fault tests do differently: read from the file that PARASCRIBE_TEST_SCRIPT names.

{"delay": 0.1, "rules": [{"kind", "label", "calls"}], "calls": "/path", "gate": "/path", "wall_shift": 3600,
 "full_temp": "/path", "stop_at_commit": "/path", "crash": [{"role": "consumer" | "api" | "supervisor", "point", "times"}]}
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

VARIABLE = "PARASCRIBE_TEST_SCRIPT"


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(os.environ[VARIABLE]).read_text())
    return found


def arm(role: str, *, again: bool = False) -> None:
    """Arm the script's first crash point for this role that no process before has armed. again: also whenever a SIGUSR2 comes"""
    if again:
        signal.signal(signal.SIGUSR2, lambda *_: arm(role))
    for n, crash in enumerate(read().get("crash", ())):
        if crash["role"] != role:
            continue
        try:
            Path(f"{os.environ[VARIABLE]}.armed-{n}").touch(exist_ok=False)
        except FileExistsError:
            continue
        from core.system import crashpoints

        crashpoints.arm(crash["point"], crash.get("times", 1))
        return


def fill_temp_folder() -> None:
    """While the file that the script names is there, this process finds no space in the temp folder.

    A small file system of its own would be truer, but mounting one is not allowed everywhere.
    """
    flag = read().get("full_temp")
    if not flag:
        return
    real = tempfile.gettempdir

    def gettempdir() -> str:
        if Path(flag).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real()

    tempfile.gettempdir = gettempdir


def stop_at_commit() -> None:
    """Once the file that the script names is there, with a process' number behind its name, that one stops just before it
    commits what it wrote: only then has it SQLite's write lock."""
    flag = read().get("stop_at_commit")
    if not flag:
        return
    from sqlalchemy import Connection, Engine, event

    def stop(connection: Connection) -> None:
        if not connection.get_execution_options().get("immediate"):
            return
        try:
            os.unlink(f"{flag}.{os.getpid()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)

    event.listen(Engine, "commit", stop)


def engine(runtime: Path) -> Any:
    """The scripted engine, or None when the script says that the real one shall work ("real").

    "mixed": jobs in German go to the real one.
    """
    script = read()
    if script.get("real"):
        return None
    from whisper.engine.scripted import Rule, ScriptedEngine

    if script.get("mixed"):
        from parascribe.run.wiring.engine import manager_socket
        from whisper.engine.host_engine import HostEngine

        return Mixed(
            ScriptedEngine(delay=script.get("delay", 0.0), call_log=Path(script["calls"])),
            HostEngine(manager_socket(runtime)),
        )
    rules = [
        Rule(kind=r["kind"], label=r.get("label", "*"), calls=tuple(r.get("calls", ())))
        for r in script.get("rules", ())
    ]
    scripted = ScriptedEngine(delay=script.get("delay", 0.0), rules=rules, call_log=Path(script["calls"]))
    from testbed.faults.gate import Gated

    return Gated(scripted, Path(script["gate"])) if "gate" in script else scripted


class Mixed:
    """Two engines in one, for jobs that name their language."""

    hears_languages = False

    def __init__(self, scripted: Any, real: Any) -> None:
        self._scripted, self._real = scripted, real

    def transcribe(self, model: str, pcm: Any, options: Any, call: Any) -> Any:
        return (self._real if options.language == "de" else self._scripted).transcribe(model, pcm, options, call)

    def detect_language(self, model: str, pcm: Any, call: Any) -> Any:
        return self._scripted.detect_language(model, pcm, call)

    def close(self) -> None:
        self._real.close()


def shift_wall_clock() -> None:
    """Let this process believe in another time of day. To be called before anything else imports `datetime`."""
    seconds = read().get("wall_shift", 0)
    if not seconds:
        return
    real_time = time.time
    real_datetime = dt.datetime
    time.time = lambda: real_time() + seconds

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real_datetime)

    class Shifted(dt.datetime, metaclass=Meta):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.fromtimestamp(real_time() + seconds, tz)

    dt.datetime = Shifted  # type: ignore[misc]
