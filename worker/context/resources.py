"""What one run of a job takes of this machine, measured where the system tells it truly."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Self

LOOK_SECONDS = 1.0
"""How often memory is looked at: what comes and goes in between is not seen. A look takes about a millisecond."""


class Meter:
    """From its making on; as a context, it looks at memory meanwhile. One process works on one job at a time.

    proc: of this process, as in proc(5)
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._began, self._cpu, self._disk = time.monotonic(), _cpu_seconds(), _disk_bytes(proc)
        self._lock = threading.Lock()
        self._engine_seconds = 0.0
        self._calls: list[tuple[float, float]] = []
        self._peak = 0
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def engine(self, *, cpu: float, wall: float = 0.0) -> None:
        """An engine worker has just answered: it took so many CPU seconds and, where that is known, so long."""
        now = time.monotonic()
        with self._lock:
            self._engine_seconds += cpu
            if wall:
                self._calls.append((now - wall, now))

    def read(self) -> dict[str, Any]:
        """So far: `performance.resources` of a job. None is what the system does not tell.

        cpu_seconds: of this process, the programs it has started and seen end, and the engine; cpu_percent: 100 = one core
        peak_pss_bytes: memory of this process and those it has started, what is shared counted in part
        disk_read_bytes, disk_written_bytes: to and from the disk itself, not its cache
        workers_used: engine workers at once, at most
        """
        self._look()
        with self._lock:
            cpu = _cpu_seconds() - self._cpu + self._engine_seconds
            used = _most_at_once(self._calls)
        disk = _disk_bytes(self._proc)
        read, written = (
            (now - then for now, then in zip(disk, self._disk, strict=True)) if disk and self._disk else (None, None)
        )
        return {
            "cpu_seconds": round(cpu, 3),
            "cpu_percent": round(100 * cpu / max(1e-3, time.monotonic() - self._began), 1),
            "peak_pss_bytes": self._peak or None,
            "disk_read_bytes": read,
            "disk_written_bytes": written,
            "workers_used": used,
        }

    def _watch(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, sum(_pss_bytes(folder) for folder in (self._proc, *_children(self._proc))))


def _cpu_seconds() -> float:
    """Of this process and of its children that were waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _disk_bytes(proc: Path) -> tuple[int, int] | None:
    """(read, written) of this process and of its children that were waited for: the kernel adds those up."""
    found = {name: int(value) for name, _, value in (line.partition(":") for line in _lines(proc / "io"))}
    return (found["read_bytes"], found["write_bytes"]) if {"read_bytes", "write_bytes"} <= found.keys() else None


def _pss_bytes(proc: Path) -> int:
    for line in _lines(proc / "smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _children(proc: Path) -> list[Path]:
    """Those that any of its threads has started."""
    try:
        threads = os.listdir(proc / "task")
    except OSError:
        return []
    lists = [line for thread in threads for line in _lines(proc / "task" / thread / "children")]
    return [Path("/proc") / pid for line in lists for pid in line.split()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # has ended, is not ours to read, or another system
        return []


def _most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most
