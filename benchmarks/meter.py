"""Wall time, CPU seconds and memory of this process and everything it started, read from /proc.

CPU seconds of ended processes are kept by the parent that reaped them, so the sum over a tree loses nothing.
Time that other programs took is measured too: on a machine that is not idle it is what makes two walls differ.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

_TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


@dataclass(kw_only=True)
class Span:
    """What a piece of work took, in seconds.

    wall: on the clock; own: CPU of this process and its descendants; foreign: CPU that everything else on the
        machine took meanwhile (the kernel's threads and a hypervisor's steal included); idle: unused core seconds
    width: how many cores the work can use at once
    """

    wall: float = 0.0
    own: float = 0.0
    foreign: float = 0.0
    idle: float = 0.0
    width: int = CORES

    @property
    def alone(self) -> float:
        """The wall, less what others took of the cores that the work can use: about what an idle machine would need.

        Others are harmless as long as the cores that are left over suffice for them.
        """
        taken = max(0.0, self.foreign - (CORES - self.width) * self.wall)
        return self.wall - taken / self.width

    @property
    def disturbance(self) -> float:
        """Share of all cores that others took."""
        return self.foreign / (self.wall * CORES) if self.wall else 0.0

    def to_dict(self) -> dict[str, float]:
        figures = {"wall": self.wall, "alone": self.alone, "own": self.own, "foreign": self.foreign, "idle": self.idle}
        return {name: round(value, 3) for name, value in figures.items()}


@contextmanager
def span(width: int = CORES) -> Iterator[Span]:
    """Measures the block; the figures are there once it has ended."""
    result = Span(width=width)
    own, (busy, idle), start = tree_cpu(os.getpid()), _machine_cpu(), time.monotonic()
    yield result
    result.wall = time.monotonic() - start
    busy_after, idle_after = _machine_cpu()
    result.own = tree_cpu(os.getpid()) - own
    result.foreign = max(0.0, busy_after - busy - result.own)
    result.idle = idle_after - idle


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    try:
        process = psutil.Process(root)
        return [root, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def tree_cpu(root: int) -> float:
    """CPU seconds of a process tree, ended descendants included."""
    return sum(process_cpu(pid, reaped=True) for pid in tree(root))


def process_cpu(pid: int, *, reaped: bool = False) -> float:
    """CPU seconds of one process, with or without those of its ended children; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in fields[11 : 15 if reaped else 13]) / _TICK


def _machine_cpu() -> tuple[float, float]:
    """(busy, idle) seconds of the cores we may use, since boot."""
    mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = idle = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name in mine:
            user, nice, system, free, waiting, irq, soft, steal = map(int, rest.split()[:8])
            busy += user + nice + system + irq + soft + steal
            idle += free + waiting
    return busy / _TICK, idle / _TICK


def pss(pids: Iterable[int]) -> float:
    """Proportional set size of processes together, MiB: shared pages are counted once."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
                    break
        except OSError:
            continue
    return total / 1024


@dataclass
class PssSampler:
    """Samples the PSS of whatever `pids` returns, in a thread, while the `with` block runs; MiB."""

    pids: Callable[[], Iterable[int]]
    every: float = 0.2
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def peak(self) -> float:
        return max((value for _, value in self.samples), default=0.0)

    def __enter__(self) -> Self:
        self._stop, self._start = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.samples.append((time.monotonic() - self._start, pss(self.pids())))
            if self._stop.wait(self.every):
                return
