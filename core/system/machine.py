"""What the machine really offers (affinity, cgroup limits, memory) and the plan of workers that follows from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from core.system import pressure

_CGROUP = Path("/sys/fs/cgroup")

BASE_MB = 350
"""Supervisor, engine manager and host, consumer main and two job processes, measured together as PSS."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """cores: usable ones (affinity and cgroup quota), may be fractional; memory_mb: usable in all, MB."""

    cores: float
    cpus: int
    memory_mb: int
    available_mb: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The resolved worker plan, as logged at start and shown by `parascribe plan` and GET /system.

    workers: at most; pool: the rule by which they come and go, in words (`whisper.host.scaling`)
    """

    workers: int
    threads: int
    jobs: int
    parallel: bool
    cores: float
    memory_mb: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    pool: tuple[str, ...] = ()

    @property
    def whole_cores(self) -> int:
        return whole(self.cores)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {name: list(getattr(self, name)) for name in _TEXTS}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Plan:
        """What is stored, read as far as this version knows it. Raises TypeError when it lacks a number."""
        known = {field.name: data[field.name] for field in fields(Plan) if field.name in data}
        return Plan(**known | {name: tuple(data.get(name, ())) for name in _TEXTS})


_TEXTS = ("reasons", "warnings", "pool")


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def inspect(cgroup: Path = _CGROUP) -> Machine:
    """Look at affinity, cgroup v2 (and v1) limits and memory."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    cores = float(cpus)
    if (limit := _read(cgroup / "cpu.max")) and not limit.startswith("max"):
        quota, period = limit.split()
        cores = min(cores, int(quota) / int(period))
    elif (quota1 := _read(cgroup / "cpu/cpu.cfs_quota_us")) and int(quota1) > 0:
        cores = min(cores, int(quota1) / int(_read(cgroup / "cpu/cpu.cfs_period_us") or 100_000))
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for limit in (_read(cgroup / "memory.max"), _read(cgroup / "memory/memory.limit_in_bytes")):
        if limit and limit.isdigit():
            total = min(total, int(limit))
    if (left := pressure.room(cgroup)) is not None:
        available = min(available, left * pressure.MB)
    return Machine(cores=cores, cpus=cpus, memory_mb=total // 10**6, available_mb=available // 10**6)


def whole(cores: float) -> int:
    """How many threads it takes to use so many cores, at least one."""
    return max(1, int(cores + 0.5))


def resolve_plan(
    *,
    model: str,
    weights_mb: int,
    worker_mb: int,
    max_parallel_workers: int,
    whisper_threads: int,
    max_concurrent_jobs: int,
    use_parallel_transcription: bool,
    machine: Machine,
) -> Plan:
    """Workers x threads <= cores, weights + workers <= memory. A given number is obeyed and warned of when it cannot pay.

    weights_mb, worker_mb: MB (10^6) of the model, and of each worker's own
    """
    cores = whole(machine.cores)
    reasons, warnings = [], []
    fit = max(1, int((machine.available_mb * 0.8 - weights_mb - BASE_MB) // worker_mb))
    if max_parallel_workers:
        workers = max_parallel_workers
        reasons.append(f"MAX_PARALLEL_WORKERS={workers} as given")
        if workers > cores:
            warnings.append(
                f"MAX_PARALLEL_WORKERS={workers} is more than the {machine.cores:g} cores that can be used: slower, not faster"
            )
        if workers > fit:
            warnings.append(
                f"{workers} workers of {model} may need more memory than the {machine.available_mb} MB available ({fit} would fit)"
            )
    else:
        workers = min(cores, fit)
        reasons.append(f"{workers} workers: {machine.cores:g} usable cores, memory for {fit}")
    threads = whisper_threads or max(1, cores // workers)
    if whisper_threads:
        reasons.append(f"WHISPER_THREADS={threads} as given")
        if threads * workers > cores:
            warnings.append(
                f"{workers} workers x {threads} threads are more than {machine.cores:g} cores: over-subscribed"
            )
    else:
        reasons.append(f"{threads} threads each: cores divided by workers")
    if not use_parallel_transcription:
        reasons.append("USE_PARALLEL_TRANSCRIPTION=false: each job works on one chunk at a time")
    return Plan(
        workers=workers,
        threads=threads,
        jobs=max_concurrent_jobs,
        parallel=use_parallel_transcription and workers > 1,
        cores=machine.cores,
        memory_mb=machine.memory_mb,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
    )
