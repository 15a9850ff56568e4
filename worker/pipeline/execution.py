"""One task, from its lease to its place in the table."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from core.errors import ChunkFailed, Interrupted, LeaseLost, ServiceError, TransientError
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.system import logs, tracing
from core.system.crashpoints import reached
from core.system.retry import retry
from worker.context.figures import ChunkEnded
from worker.context.stage import Grain, OnFailure, Output, Place, Stage
from worker.context.work import Work

log = logging.getLogger(__name__)

_BORNE: Mapping[OnFailure, tuple[type[Exception], ...]] = MappingProxyType(
    {OnFailure.FAIL: (), OnFailure.GAP: (ChunkFailed,), OnFailure.DEGRADE: (Exception,)}
)
"""What a task may fail with and the job goes on."""


def run_task(stage: Stage, work: Work, task: Task) -> Task | None:
    """The task as it ended; None: it is somebody else's. Raises what ends or interrupts the run."""
    about = {"stage": stage.name} | ({} if stage.grain is Grain.JOB else {stage.grain.value: task.number + 1})
    with logs.bound(**about), tracing.span(stage.name, about) as span:
        done = _run_task(stage, work, task)
        span.set(outcome=done.state.value if done else "another's")
        return done


def _run_task(stage: Stage, work: Work, task: Task) -> Task | None:
    task = replace(task, identity=task.identity or work.identities[stage.name])
    lease = work.lease(task)
    if lease is None:
        return None
    began = time.monotonic()
    done = _done(stage, work, task, lease.crashes)
    if stage.place is Place.HERE:
        work.upload.verify()
    reached("before_commit")
    try:
        # a finished task is never computed again: while the database is away, wait with it in hand
        work.patiently(lambda: work.parts.store.commit(lease, done))
    except LeaseLost:
        work.patiently(lambda: work.parts.store.heartbeat(work.claim, work.parts.settings.lease_seconds))
        return None  # the task is another's, and the job is still ours
    reached("after_commit")
    if stage.name == TRANSCRIBE:
        work.report.chunk(done, seconds=time.monotonic() - began)
        work.parts.tell(
            ChunkEnded(outcome=done.state.value, audio_seconds=done.audio_seconds, engine_seconds=done.engine_seconds)
        )
    return done


def _done(stage: Stage, work: Work, task: Task, crashes: int) -> Task:
    """The task with what came of it."""
    if work.is_poison(crashes):
        message = f"The job's process died {crashes} times while it worked on this."
        return _given_up(stage, work, task, "worker_crashed", message)
    try:
        output = _asked(stage, work, task)
    except Exception as error:
        if isinstance(error, Interrupted) or work.cancel.is_set() or not isinstance(error, _BORNE[stage.on_failure]):
            raise
        if not isinstance(error, ServiceError):
            log.exception("Unexpected error in %s", stage.name)
            error = ServiceError("Something went wrong.")
        return _given_up(stage, work, task, error.code, error.message)
    return replace(task, state=TaskState.DONE, output=output.data, engine_seconds=output.engine_seconds)


def _asked(stage: Stage, work: Work, task: Task) -> Output:
    """A part of the service that is away for a moment costs a stage that degrades some patience, as it does the whole run of
    one that does not."""
    if stage.on_failure is not OnFailure.DEGRADE:
        return stage.run(work, task)
    return retry(
        lambda: stage.run(work, task),
        pauses=work.parts.settings.backoff,
        retryable=lambda error: isinstance(error, TransientError) and not work.cancel.is_set(),
        wait=work.lease_keeper.wait,
    )


def _given_up(stage: Stage, work: Work, task: Task, code: str, message: str) -> Task:
    """Raises ChunkFailed where that is the job's end."""
    if stage.on_failure is OnFailure.FAIL:
        raise ChunkFailed(f"{stage.name}: {message}")
    if stage.on_failure is OnFailure.DEGRADE:
        work.warn(f"{stage.name}_failed", f"The transcript comes without {stage.name}. {message}")
    return replace(task, state=TaskState.FAILED, error={"code": code, "message": message})
