"""The engine manager of a consumer: how much it may take of the machine, and how it is started and reached."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from core.config.settings import Settings
from core.system import machine
from core.system.machine import Plan
from parascribe.run.supervisor import Child
from whisper.engine.manager_process import ManagerOptions, manager_command
from whisper.enhance import package
from whisper.host.scaling import MOST_THREADS, ScalingRule
from whisper.models.sizes import size_of
from whisper.wire.process import engine_environment

_PLAN = "plan"
"""File of the runtime folder that holds the plan in force."""


def plan_of(settings: Settings) -> Plan:
    """What a start at this moment would resolve to: it depends on the memory that is free."""
    size = size_of(settings.whisper_model)
    plan = machine.resolve_plan(
        model=settings.whisper_model,
        weights_mb=size.weights_mb,
        worker_mb=size.worker_mb,
        max_parallel_workers=settings.max_parallel_workers,
        whisper_threads=settings.whisper_threads,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        use_parallel_transcription=settings.use_parallel_transcription,
        machine=machine.inspect(),
    )
    return (
        plan if settings.whisper_executable is not None else replace(plan, pool=_scaling_rule(settings, plan).words())
    )


def start_plan(settings: Settings, runtime: Path) -> Plan:
    """Resolve the plan for all programs that share a runtime folder, those that are started later or again too."""
    plan = plan_of(settings)
    (runtime / _PLAN).write_text(json.dumps(plan.to_dict()), "utf-8")
    return plan


def plan_in_force(runtime: Path) -> Plan:
    """What `start_plan` has resolved."""
    return Plan.from_dict(json.loads((runtime / _PLAN).read_text("utf-8")))


def _scaling_rule(settings: Settings, plan: Plan) -> ScalingRule:
    return ScalingRule(
        most=plan.workers,
        threads=plan.threads,
        worker_mb=size_of(settings.whisper_model).worker_mb,
        idle_seconds=settings.worker_idle_seconds,
        memory_limit=settings.memory_pressure_limit,
        cpu_limit=settings.cpu_pressure_limit,
        lone_threads=min(MOST_THREADS, plan.whole_cores) if settings.lone_chunk_threads else 0,
        cores=plan.whole_cores,
    )


def manager_socket(runtime: Path) -> Path:
    return runtime / "engine"


def manager_options(settings: Settings, plan: Plan) -> ManagerOptions:
    rule = _scaling_rule(settings, plan)
    return {
        "workers": rule.most,
        "threads": rule.threads,
        "worker_idle_seconds": rule.idle_seconds,
        "memory_pressure": rule.memory_limit,
        "cpu_pressure": rule.cpu_limit,
        "lone_threads": rule.lone_threads,
        "cores": rule.cores,
        "max_loaded_models": settings.max_loaded_models,
        "idle_seconds": settings.model_idle_seconds,
        "library": settings.whisper_library,
        "engine_dir": settings.engine_path,
        "nice": settings.engine_nice,
        "log_level": settings.log_level,
        "log_format": settings.log_format,
    }


def engine_child(settings: Settings, runtime: Path, plan: Plan) -> Child:
    """The engine manager of one consumer; it sees none of our secrets."""
    command = manager_command(manager_socket(runtime), **manager_options(settings, plan))
    return Child(name="engine", command=command, env=engine_environment())


def enhancements(settings: Settings) -> tuple[str, ...]:
    """Values of a job's option `enhance` that a consumer of this machine can do: it takes an engine host."""
    return ("denoise",) if settings.whisper_executable is None and package.installed() else ()
