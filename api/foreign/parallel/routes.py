"""`/api/v1/parallel/*`: the same jobs under the names of an older interface."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, Base, Deps, Jobs, PartsDep, get_job_id
from api.foreign.caller import Caller, CallerDep, transcript_of
from api.foreign.parallel.answers import STATUS, failed_item, item, performance, result_of, stats_of, status_of
from api.foreign.parallel.errors import ERRORS
from api.foreign.parallel.wanted import ParallelForm, wanted
from api.foreign.tables import form_body, form_of
from core.errors import NotReady, ServiceError
from core.jobs.job import Job, JobStatus
from core.keys import JOBS
from core.transcript.values import Transcript

router = APIRouter(
    prefix=f"{PREFIX}/parallel", tags=["parallel"], dependencies=[needs(JOBS), NO_QUERY], responses=ERRORS
)

FORM, SEVERAL = form_of(ParallelForm), form_of(ParallelForm, file="files")

ACTIVE_SHOWN = 200
"""Of each kind, running and waiting, the newest."""


async def get_task_id(task_id: Annotated[str, Path(description="Id of the job.")]) -> str:
    return await get_job_id(task_id)


TaskId = Annotated[str, Depends(get_task_id)]


@router.post("/transcribe", openapi_extra=form_body(ParallelForm))
async def create_parallel(caller: CallerDep, response: Response) -> dict[str, Any]:
    """Waits for the transcript. A client that goes cancels its job."""
    job, want = await caller.accept(FORM, wanted)
    result = await caller.wait(job, lambda transcript: result_of(job.id, transcript, want.warnings))
    caller.told(response, job, want.warnings)
    return {"message": "The file was transcribed.", **result}


@router.post("/transcribe/async", openapi_extra=form_body(ParallelForm))
async def create_parallel_async(caller: CallerDep, response: Response, base: Base) -> dict[str, Any]:
    """Answers as soon as the file is stored: follow `status`, then fetch `result`."""
    job, want = await caller.accept(FORM, wanted, priority=None)
    caller.told(response, job, want.warnings)
    return {
        "success": True,
        "message": "The file is waiting to be transcribed.",
        "task_id": job.id,
        "status": STATUS[job.status],
        "warnings": want.warnings,
        "endpoints": {name: f"{base}/parallel/{name}/{job.id}" for name in ("status", "result")},
    }


@router.get("/status/{task_id}")
def get_parallel_status(task_id: TaskId, jobs: Jobs) -> dict[str, Any]:
    """Where a job stands: queued, processing, completed or failed."""
    return {"success": True, "task_id": task_id, "status": status_of(jobs.get(task_id))}


@router.get("/result/{task_id}")
def get_parallel_result(task_id: TaskId, jobs: Jobs, parts: PartsDep) -> dict[str, Any]:
    """The transcript of a job that has completed."""
    job = jobs.get(task_id)
    if job.status is not JobStatus.COMPLETED:
        raise NotReady(f"Task not completed. Status: {STATUS[job.status]}")
    warnings = [f"{warning['code']}: {warning['message']}" for warning in job.warnings]
    return result_of(job.id, transcript_of(parts, jobs, job.id), warnings)


@router.post("/batch", openapi_extra=form_body(ParallelForm, file="files", several=True))
async def create_parallel_batch(caller: CallerDep, response: Response) -> dict[str, Any]:
    """Waits for all files. One that cannot be transcribed leaves the others alone. A client that goes cancels its jobs."""
    begun = time.monotonic()
    jobs, refused, want = await caller.accept_several(SEVERAL, wanted)
    results = await _ended(caller, jobs)
    items = [_item(job, one) for job, one in zip(jobs, results, strict=True)]
    items += [failed_item(filename, None, error) for filename, error in refused]
    seconds = time.monotonic() - begun
    good = [one for one in results if isinstance(one, Transcript)]
    caller.told(response, None, want.warnings)
    worked = sum(one.performance.get("engine_seconds", 0.0) for one in good)
    parallel = any(one.performance.get("parallel") for one in good)
    return {
        "success": True,
        "message": f"{len(good)} of {len(items)} files were transcribed.",
        "total_files": len(items),
        "successful": len(good),
        "failed": len(items) - len(good),
        "results": items,
        "total_processing_time": round(seconds, 3),
        "warnings": want.warnings,
        "performance": performance(parallel=parallel, speed_up=worked / seconds, seconds=round(seconds, 3)),
    }


@router.get("/stats")
def get_parallel_stats(jobs: Jobs) -> dict[str, Any]:
    """Figures of all jobs of who asks, and those that have not ended."""
    running = [job for status in _RUNNING for job in jobs.list(status=status, limit=ACTIVE_SHOWN)[0]]
    return stats_of(jobs.totals(), running)


@router.get("/features")
def get_parallel_features(deps: Deps) -> dict[str, Any]:
    """What this service can do of what this interface has names for."""
    return {
        "success": True,
        "parallel_processing_features": {
            "parallel_processing": deps.settings.use_parallel_transcription,
            "max_workers": deps.settings.max_parallel_workers,
            "batch_processing": True,
            "task_management": True,
            "progress_tracking": True,
            "performance_monitoring": True,
            "source_separation": False,
            "enhanced_alignment": True,
            "speaker_diarization": True,
        },
        "models": [status.info.name for status in deps.models.list()],
    }


_RUNNING = (JobStatus.PROCESSING, JobStatus.CANCELLING, JobStatus.QUEUED)


def _item(job: Job, found: Transcript | ServiceError) -> dict[str, Any]:
    return item(job, found) if isinstance(found, Transcript) else failed_item(job.source.filename, job.id, found)


async def _ended(caller: Caller, jobs: list[Job]) -> list[Transcript | ServiceError]:
    """What came of each. Raises SyncTimeout for all; Cancelled when the client has gone."""
    deadline = caller.deadline()
    async with contextlib.AsyncExitStack() as stack:
        scope, receive = caller.request.scope, caller.request.receive
        followers = [await stack.enter_async_context(caller.follow(job.id, scope)) for job in jobs]
        if followers:
            await stack.enter_async_context(followers[0].closing(receive, *followers[1:]))
        for follower in followers:
            await caller.until(follower, lambda seen: seen.ended, deadline)
    return [await _outcome(caller, job) for job in jobs]


async def _outcome(caller: Caller, job: Job) -> Transcript | ServiceError:
    try:
        return await caller.transcript(job.id)
    except ServiceError as error:
        return error
