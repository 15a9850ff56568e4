"""`parascribe.run.live_main` with streams that are heard by a rule: started by the supervisor of testbed/faults/program.py."""

from __future__ import annotations

import os
import sys
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


if __name__ == "__main__":
    from core.config.loading import load
    from parascribe.run.live_main import main

    main(sys.argv[1], Path(sys.argv[2]), load(), int(sys.argv[3]) if len(sys.argv) > 3 else None, make=make)
