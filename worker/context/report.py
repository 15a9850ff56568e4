"""A job's story in its log, and the figures behind it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from core.jobs.job import Job
from core.jobs.tasks import Task, TaskState
from core.system.machine import Plan
from whisper.types import ChunkTranscript
from worker.context.resources import Meter

log = logging.getLogger(__name__)

ETA_SECONDS = 5.0
"""How often the time left is written, at most: each time the job's row changes for all who look at it."""

EVERY_LINE = 40
"""Up to so many chunks each gets its lines; a longer job logs every total / EVERY_LINE-th."""


class Report:
    """Counts one run's chunks; safe to call from the pool's threads.

    most: workers that the job may have at once (its option `workers`); None: all
    """

    def __init__(self, plan: Plan, parallel: bool, *, most: int | None = None, meter: Meter | None = None) -> None:
        self.meter = meter or Meter()
        self._workers = min(plan.workers, most or plan.workers) if parallel else 1
        self._parallel = self._workers > 1
        self._lock = threading.Lock()
        self.total: int | None = None
        self._restart(0)

    def _restart(self, done: int) -> None:
        self._done = done
        self._engine_seconds = self._audio_seconds = 0.0
        self._started = time.monotonic()
        self._eta_at = self._started + 1.0 - ETA_SECONDS  # the first one after a second

    def begin(self, *, done: int, total: int | None) -> None:
        """The run begins, or begins again after an outage. done: chunks that are finished already."""
        self.total = total
        self._restart(done)
        mode = f"parallel, {self._workers} workers" if self._parallel else "sequential"
        log.info(
            "Transcribing (%s): %s chunks, %d done before", mode, total if total is not None else "yet uncounted", done
        )

    def chunk(self, row: Task, *, seconds: float) -> None:
        characters = len(ChunkTranscript.from_dict(row.output).text) if row.output else 0
        with self._lock:
            self._done += 1
            self._engine_seconds += row.engine_seconds
            self._audio_seconds += row.audio_seconds
            done, total = self._done, self.total
        level = (
            logging.DEBUG
            if total and total > EVERY_LINE and done % (total // EVERY_LINE) and done != total
            else logging.INFO
        )
        of = total if total is not None else "?"
        if row.state is TaskState.FAILED:
            log.error("[%d/%s] Failed in %.2f s: %s", row.number + 1, of, seconds, (row.error or {}).get("message"))
        else:
            log.log(level, "[%d/%s] Completed in %.2f s: %d chars", row.number + 1, of, seconds, characters)
        log.log(level, "Progress: %d/%s (%s)", done, of, f"{100 * done / total:.0f}%" if total else "?%")

    def eta(self, duration: float | None) -> float | None:
        """Seconds left at this run's pace; None more often than every ETA_SECONDS or while nothing is known."""
        now = time.monotonic()
        with self._lock:
            if now - self._eta_at < ETA_SECONDS or not duration or not self._audio_seconds or self.total is None:
                return None
            self._eta_at = now
            left = max(0.0, duration * (1 - self._done / self.total))
            return round(left * (now - self._started) / self._audio_seconds, 1)

    def performance(self, job: Job, rows: Sequence[Task], detect_seconds: float) -> dict[str, Any]:
        """The `performance` object of contract: wall seconds since the job first started, CPU seconds of the engine."""
        wall = (datetime.now(UTC) - (job.started_at or job.created_at)).total_seconds()
        stage_wall = max(1e-3, time.monotonic() - self._started)
        engine = sum(row.engine_seconds for row in rows) + detect_seconds
        return {
            "wall": round(wall, 3),
            "engine_seconds": round(engine, 3),
            "workers": self._workers,
            "real_time_factor": round(wall / job.duration, 4) if job.duration else 0.0,
            "speed_up": round((self._engine_seconds + detect_seconds) / stage_wall, 2),
            "parallel": self._parallel,
            "resources": self.meter.read(),
        }

    def end(self, rows: Sequence[Task], performance: dict[str, Any]) -> None:
        good = sum(row.state is TaskState.DONE for row in rows)
        share = 100 * good / len(rows) if rows else 100
        log.info(
            "Finished in %.1f s. Success rate: %.0f%% (%d/%d), speed-up %.2f, real-time factor %.3f",
            performance["wall"],
            share,
            good,
            len(rows),
            performance["speed_up"],
            performance["real_time_factor"],
        )
