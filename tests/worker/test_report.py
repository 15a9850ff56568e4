"""The figures of a run."""

from __future__ import annotations

from pathlib import Path

from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from tests.worker.kit import PLAN, Kit
from worker.context.report import Report


def test_a_run_that_begins_again_forgets_the_pace_of_the_one_before(tmp_path: Path) -> None:
    job = Kit(tmp_path).submit(b"audio")
    row = Task(stage=TRANSCRIBE, state=TaskState.DONE, engine_seconds=1000.0, audio_seconds=1.0)
    report = Report(PLAN, parallel=True)
    report.begin(done=0, total=10)
    report.chunk(row, seconds=1)
    assert report.performance(job, [row], 0.0)["speed_up"] > 0
    report.begin(done=1, total=10)
    assert report.performance(job, [row], 0.0)["speed_up"] == 0.0
