"""`parascribe.run.live_main` with streams that are heard by a rule: started by the supervisor of testbed/faults/program.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from core.config.settings import Settings
from parascribe.run.live_parts import LiveParts
from worker.live.scripted import ScriptedIntake, ScriptedPipeline
from worker.live.serving.admission import Admission

RESUME_VARIABLE = "PARASCRIBE_TEST_RESUME_SECONDS"


def make(settings: Settings, runtime: Path, admission: Admission, executor: Executor) -> LiveParts:
    """As `parascribe.run.live_parts.make_parts`."""
    return LiveParts(
        intake=ScriptedIntake,
        pipeline=lambda session, before, sink: ScriptedPipeline(session, sink),
        pace={"resume": float(os.environ.get(RESUME_VARIABLE, "30")), "acks": 0.1},
    )


def run(arguments: Sequence[str]) -> None:
    """As of `parascribe.run.live_main`."""
    from core.config.loading import load
    from parascribe.run.live_main import main

    consumer, runtime, *fd = arguments
    main(consumer, Path(runtime), load(), int(fd[0]) if fd else None, make=make)
