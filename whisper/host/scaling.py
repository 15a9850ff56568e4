"""How many workers an engine host ought to have: forked when chunks wait, retired when idle, held back under pressure."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.system.pressure import Pressure, ReadPressure

LOOK_SECONDS = 1.0
"""How old a reading of the pressure may be: the kernel itself averages every 2 s."""
MARGIN = 0.8
"""Share of the available memory that is counted on, as in `core.system.machine.resolve_plan`."""
RELEASE = 0.75
"""What was held back is released below this share of the limit, so that it does not go to and fro."""
MOST_THREADS = 8
"""More per chunk never pay (whisper.cpp #200, #106, #1184)."""
SAY_SECONDS = 60.0
"""At most one line about workers held back in so long: with short chunks a busy machine comes and goes with each of them."""
QUIET_CPU = 10.0
"""`some avg10` above which a chunk is not spread over idle cores: they are not idle. Without OpenMP ggml's threads
spin while they wait for each other, and on shared cores a chunk took ten times as long with 2 threads as with 1.
Those of an own build yield (`ScalingRule.shares_cores`), and nothing is to be feared: `whisper.workshop.kernels`."""


@dataclass(frozen=True, kw_only=True)
class ScalingRule:
    """most: workers at most (at least one always stays)
    threads: of each worker
    worker_mb: what one takes for itself while it decodes, MB; 0: not looked at
    idle_seconds: a worker that had nothing to do for so long is ended; 0: never
    memory_limit, cpu_limit: percent (`some avg10`) from which no worker is added; 0: not looked at
    lone_threads: threads that busy workers may use together while no chunk waits; 0: never more than `threads` each
    cores: that can be used; 0: not known
    shares_cores: whether threads let others run while they wait for each other; then a live request that is alone gets all
        the cores that are left, whatever `lone_threads` says
    """

    most: int
    threads: int = 1
    worker_mb: int = 0
    idle_seconds: float = 60.0
    memory_limit: float = 0.0
    cpu_limit: float = 0.0
    lone_threads: int = 0
    cores: int = 0
    shares_cores: bool = False

    @classmethod
    def of(cls, options: Namespace) -> ScalingRule:
        """From the arguments of `add_arguments`; `worker_mb` depends on the model and is not among them."""
        return cls(
            most=options.workers,
            threads=options.threads,
            idle_seconds=options.worker_idle_seconds,
            memory_limit=options.memory_pressure,
            cpu_limit=options.cpu_pressure,
            lone_threads=options.lone_threads,
            cores=options.cores,
        )

    @property
    def in_one_process(self) -> int:
        """Threads of a kind that does not fork: what it does beside the workers may use the cores that they do not."""
        return max(self.most, self.cores)

    def words(self) -> tuple[str, ...]:
        """The rule as people read it: in the log, `parascribe plan` and GET /system."""
        first = f"1 to {self.most} workers: one more when a chunk waits" if self.most > 1 else "1 worker"
        if self.most > 1 and self.idle_seconds:
            first += f", one fewer after {self.idle_seconds:g} s without work"
        limits = [
            f"{name} pressure is {limit:g} % or more"
            for name, limit in (("memory", self.memory_limit), ("CPU", self.cpu_limit))
            if limit
        ]
        if self.worker_mb:
            limits.append(f"less than {self.worker_mb / MARGIN:.0f} MB are available")
        found = [first]
        if self.most > 1 and limits:
            found.append(f"none is added while {', or '.join(limits)}")
        if self.lone_threads > self.threads:
            found.append(f"a chunk that starts while no other waits gets what is left of {self.lone_threads} threads")
        return tuple(found)

    def arguments(self) -> list[str]:
        """What gives this rule to a process with `add_arguments`."""
        given = {
            "--workers": self.most,
            "--threads": self.threads,
            "--worker-idle-seconds": self.idle_seconds,
            "--memory-pressure": self.memory_limit,
            "--cpu-pressure": self.cpu_limit,
            "--lone-threads": self.lone_threads,
            "--cores": self.cores,
        }
        return [word for name, value in given.items() for word in (name, str(value))]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of a ScalingRule."""
    parser.add_argument("--workers", type=int, default=1, help="at most; forked as chunks wait")
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument(
        "--worker-idle-seconds", type=float, default=60.0, help="after which a worker is retired; 0: never"
    )
    parser.add_argument(
        "--memory-pressure", type=float, default=0.0, help="PSI some avg10 from which none is added; 0: not looked at"
    )
    parser.add_argument("--cpu-pressure", type=float, default=0.0, help="likewise")
    parser.add_argument(
        "--lone-threads", type=int, default=0, help="of all busy workers while no chunk waits; 0: --threads each"
    )
    parser.add_argument("--cores", type=int, default=0, help="that can be used; 0: not known")


class Autoscaler:
    """Applies the rule. `held` says why no worker is added just now, "" when nothing stands against it.

    read: asked at most once a second of `clock`, and only when there is something to decide
    say: told when workers are held back and when they no longer are, at most once in SAY_SECONDS
    """

    def __init__(
        self,
        rule: ScalingRule,
        read: ReadPressure,
        say: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rule = rule
        self.held = ""
        self._read, self._say, self._clock = read, say, clock
        self._pressure, self._looked = Pressure(), float("-inf")
        self._said_held, self._said_at = False, float("-inf")

    def missing(self, *, waiting: int, free: int, workers: int, unproven: int, extra: int = 0) -> int:
        """How many workers to add now.

        extra: workers above the most there are to be, in place of others that stand aside
        waiting: chunks without a worker; free: workers without a chunk; unproven: those among `workers` that have
        not decoded yet, so that their memory does not show in what is available
        """
        first = workers == 0
        wanted = min(self.rule.most + extra - workers, waiting - free) - first
        if wanted <= 0:
            if not waiting:
                self.held = ""  # nothing is wanted, which says nothing of the machine
            return int(first)
        return first + min(wanted, self._room(unproven + first))

    def retired_after(self) -> float:
        """Idle seconds after which a worker beyond the first is ended: at once while memory is short."""
        if self._short_of_memory(self._look()):
            return 0.0
        return self.rule.idle_seconds or float("inf")

    def threads(self, *, taken: int, waiting: int, live: bool = False) -> int:
        """Threads for a chunk that starts now. taken: threads of the other chunks' workers; waiting: chunks without one."""
        rule = self.rule
        most = max(rule.lone_threads, min(MOST_THREADS, rule.cores) if live and rule.shares_cores else 0)
        spread = most - taken
        if waiting or spread <= rule.threads:
            return rule.threads
        return spread if rule.shares_cores or (self._look().cpu or 0.0) <= QUIET_CPU else rule.threads

    def status(self) -> dict[str, Any]:
        seen = self._pressure
        return {"most": self.rule.most, "held": self.held, "memory_pressure": seen.memory, "cpu_pressure": seen.cpu}

    def _room(self, unproven: int) -> int:
        """Workers that may be added."""
        seen, rule, slack = self._look(), self.rule, RELEASE if self.held else 1.0
        room = rule.most
        if rule.worker_mb and seen.available_mb is not None:
            room = int(seen.available_mb * MARGIN * slack // rule.worker_mb) - unproven
        if self._short_of_memory(seen):
            why = f"memory pressure is {seen.memory:.0f} %"
        elif rule.cpu_limit and seen.cpu is not None and seen.cpu >= rule.cpu_limit * slack:
            why = f"CPU pressure is {seen.cpu:.0f} %"
        elif room <= 0 and not (unproven and room + unproven > 0):
            why = f"{seen.available_mb} MB of memory are available and a worker takes {rule.worker_mb}"
        else:
            self._hold("")
            return max(0, room)
        self._hold(why)
        return 0

    def _short_of_memory(self, seen: Pressure) -> bool:
        limit = self.rule.memory_limit * (RELEASE if self.held else 1.0)
        return bool(limit) and seen.memory is not None and seen.memory >= limit

    def _hold(self, why: str) -> None:
        self.held = why
        if bool(why) != self._said_held and self._clock() - self._said_at >= SAY_SECONDS:
            self._said_held, self._said_at = bool(why), self._clock()
            self._say(f"no more workers for now: {why}" if why else "workers are no longer held back")

    def _look(self) -> Pressure:
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._pressure, self._looked = self._read(), now
        return self._pressure
