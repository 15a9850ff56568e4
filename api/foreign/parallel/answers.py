"""Jobs and transcripts as the clients of `/api/v1/parallel` read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from core.errors import ServiceError
from core.jobs.job import Job, JobStatus
from core.store.owners import Totals
from core.transcript.formats import FORMATS
from core.transcript.values import Transcript

STATUS = {
    JobStatus.QUEUED: "queued",
    JobStatus.PROCESSING: "processing",
    JobStatus.CANCELLING: "processing",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "failed",
}
"""The four that its clients know."""


def status_of(job: Job) -> dict[str, Any]:
    """Where it stands. progress: 0 to 100"""
    error = "The job was cancelled." if job.status is JobStatus.CANCELLED else job.error and job.error.message
    return {
        "task_id": job.id,
        "status": STATUS[job.status],
        "progress": job.percent,
        "error": error,
        "stage": job.stage,
        "started_at": _moment(job.started_at),
        "finished_at": _moment(job.finished_at),
    }


def active(job: Job) -> dict[str, Any]:
    """One of those that are waited for."""
    whole = status_of(job)
    return {name: whole[name] for name in ("task_id", "status", "progress", "stage", "started_at")}


def result_of(job_id: str, transcript: Transcript, warnings: Sequence[str]) -> dict[str, Any]:
    """A transcript. result: as `?format=json` has it"""
    found = transcript.performance
    return {
        "success": True,
        "task_id": job_id,
        "status": "completed",
        "result": json.loads(FORMATS["json"].render(transcript)),
        "warnings": list(warnings),
        "performance": performance(
            parallel=bool(found.get("parallel")), speed_up=found.get("speed_up"), seconds=found.get("wall")
        ),
    }


def performance(*, parallel: bool, speed_up: float | None, seconds: float | None) -> dict[str, Any]:
    """Under both names that have been in use. speed_up: as it was measured, None where it was not"""
    said = f"{speed_up:.1f}x" if speed_up else "not measured"
    return {
        "parallel_processing": parallel,
        "processing_time": seconds,
        "speedup_estimate": said,
        "estimated_speedup": said,
    }


def item(job: Job, transcript: Transcript) -> dict[str, Any]:
    """One file of a batch."""
    return {
        "filename": job.source.filename,
        "task_id": job.id,
        "status": "completed",
        "error": None,
        "duration": transcript.duration,
        "speakers": None if transcript.speakers is None else len(transcript.speakers),
        "segments": len(transcript.segments),
        "text": transcript.text,
    }


def failed_item(filename: str, task_id: str | None, error: ServiceError) -> dict[str, Any]:
    """One without a transcript. task_id: None where it did not become a job"""
    nothing = dict.fromkeys(("duration", "speakers", "segments", "text"))
    return {"filename": filename, "task_id": task_id, "status": "failed", "error": error.message, **nothing}


def stats_of(totals: Totals, jobs: Sequence[Job]) -> dict[str, Any]:
    """jobs: those that have not ended"""
    count = totals.by_status
    return {
        "success": True,
        "total_tasks": sum(count.values()),
        "completed_tasks": count[JobStatus.COMPLETED],
        "failed_tasks": count[JobStatus.FAILED] + count[JobStatus.CANCELLED],
        "average_processing_time": totals.mean_seconds,
        "active_tasks": [active(job) for job in jobs],
    }


def _moment(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
