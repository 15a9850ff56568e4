"""One job from claim to end. Solo and cluster run exactly this."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import (
    Cancelled,
    DecoderKilled,
    DiskFull,
    EngineUnavailable,
    HandedBack,
    Interrupted,
    JobError,
    JobNotFound,
    LeaseLost,
    RequestError,
    ServiceError,
    TransientError,
)
from core.jobs.job import Claim, JobFailure, Phase
from core.jobs.workfolders import work_folder
from core.system import logs, tracing
from worker.context.figures import JobBegan, JobLeft
from worker.context.lease_keeper import LeaseKeeper
from worker.context.parts import Parts
from worker.context.resources import Meter
from worker.context.stage import Stage
from worker.pipeline.conductor import Pipeline
from worker.stages.catalogue import catalogue
from worker.stop import Stopping

log = logging.getLogger(__name__)

YIELD_SECONDS = 30.0
"""After that the job goes back to the queue for so long, and another may use the slot."""

HEARD_SECONDS = 0.5
"""Whoever stops the whole service may end its decoders first; the wish to stop is heard of within so long."""


STAGES = catalogue()


def run_job(
    parts: Parts,
    claim: Claim,
    stopping: Stopping,
    *,
    stages: Sequence[Stage] = STAGES,
    on_duration: Callable[[float], None] | None = None,
) -> str:
    """Work on a claimed job until it ends or must be let go; returns how it went, for the log and for tests.

    Never raises for anything the job did: an unexpected error ends it as `failed/internal`. The work
    folder of the job is gone afterwards.
    on_duration: told the audio's length as soon as it is known (slots are shared by it).
    """
    settings = parts.settings
    job = claim.job
    request = {"request_id": job.caller["request_id"]} if "request_id" in job.caller else {}
    about: dict[str, str | float | bool] = {"job_id": job.id, "model": job.params.model, "attempt": job.attempts}
    traced = tracing.span("job", about, kind="consumer", parent=job.caller.get("traceparent"))
    with logs.bound(job_id=job.id, **request), traced as span:
        if job.attempts == 1:
            tracing.past("queue", job.created_at, parent=job.caller.get("traceparent"))
        lease_keeper = LeaseKeeper(
            parts.store,
            claim,
            lease_seconds=settings.lease_seconds,
            work=settings.work,
            stopping=stopping,
            grace=settings.shutdown_seconds,
        )
        try:
            with work_folder(settings.work, claim.job.id, claim.fence) as folder, lease_keeper, Meter() as meter:
                pipeline = Pipeline(
                    parts, claim, folder, lease_keeper, stages=stages, meter=meter, on_duration=on_duration
                )
                outcome = _counted(parts, claim, lambda: _run(parts, claim, lease_keeper, pipeline, stopping), pipeline)
                span.set(outcome=outcome)
                return outcome
        except OSError as error:
            log.error("No work folder in %s (WORK_DIR): %s", settings.work, error.strerror)
            return _close(lambda: parts.store.release(claim, delay=YIELD_SECONDS), "put off", settings.backoff)


def _counted(parts: Parts, claim: Claim, run: Callable[[], str], pipeline: Pipeline) -> str:
    """The outcome of `run`, which the consumer's figures are told of."""
    job, began = claim.job, time.monotonic()
    if job.attempts == 1 and job.started_at is not None:
        parts.tell(JobBegan(waited=max(0.0, (job.started_at - job.created_at).total_seconds())))
    said = run()
    outcome, _, code = said.partition(" ") if said.startswith("failed ") else (said, "", "")
    whole = outcome == "completed" and job.attempts == 1 and not job.retry_of
    duration = (pipeline.job.duration or 0.0) if whole else 0.0
    parts.tell(JobLeft(outcome=outcome, code=code, seconds=time.monotonic() - began, audio_seconds=duration))
    return said


def _run(parts: Parts, claim: Claim, lease_keeper: LeaseKeeper, pipeline: Pipeline, stopping: Stopping) -> str:
    kills = 0
    for wait in (*parts.settings.backoff, None):
        try:
            try:
                pipeline.run()
                return "completed"
            except Exception as error:
                # what a stopped run raises on its way out is not the reason it stopped, whatever it is
                log.debug("Left by %r", error, exc_info=True)
                killed = isinstance(error, DecoderKilled)
                if killed:
                    lease_keeper.wait(HEARD_SECONDS)
                lease_keeper.check()
                if killed and stopping.is_set():
                    raise HandedBack from error
                raise
        except (Cancelled, JobNotFound):  # a job that was deleted has no row to read
            return _close(lambda: parts.store.cancelled(claim), "cancelled", parts.settings.backoff)
        except HandedBack:
            return _close(lambda: parts.store.release(claim), "handed back", parts.settings.backoff)
        except LeaseLost as lost:
            return _let_go(lost)
        except Interrupted as stop:
            return _close(lambda: parts.store.release(claim), stop.code, parts.settings.backoff)
        except (JobError, RequestError) as error:  # the latter: a model that this machine's version does not know
            return _fail(parts, claim, pipeline.shown, error)
        except TransientError as error:
            if isinstance(error, DecoderKilled):
                kills += 1
            if wait is None or kills > 1:
                if isinstance(error, EngineUnavailable | DiskFull | DecoderKilled):
                    return _fail(parts, claim, pipeline.shown, error)
                log.warning("Handed back for %d s: %s", YIELD_SECONDS, error.message)
                return _close(
                    lambda: parts.store.release(claim, delay=YIELD_SECONDS), "put off", parts.settings.backoff
                )
            log.warning("%s Trying again in %d s.", error.message, wait)
            lease_keeper.wait(wait)
        except Exception:
            log.exception("Unexpected error")
            return _fail(
                parts,
                claim,
                pipeline.shown,
                ServiceError("Something went wrong inside the service; its log says more."),
            )
    raise AssertionError("unreachable")


def _let_go(lost: LeaseLost) -> str:
    log.warning("Let go: %s", lost.message)
    return "lease lost"


def _fail(parts: Parts, claim: Claim, stage: Phase, error: ServiceError) -> str:
    failure = JobFailure(code=error.code, message=error.message, stage=stage.value, retryable=error.retryable)
    log.error("Failed while %s: %s (%s)", stage.value, error.message, error.code)
    return _close(lambda: parts.store.fail(claim, failure), f"failed {error.code}", parts.settings.backoff)


def _close(write: Callable[[], Any], outcome: str, backoff: Sequence[float]) -> str:
    """Write the last word; while the database is away the lease keeps others off, then it recovers the job."""
    for wait in (*backoff, None):
        try:
            write()
            log.info("Job %s", outcome)
            return outcome
        except LeaseLost as lost:  # the database tells it before the lease's keeper could
            return _let_go(lost)
        except Interrupted as lost:
            log.info("Job was ended by somebody else: %s", lost.message)
            return lost.code
        except TransientError as error:
            if wait is None:
                break
            log.warning("%s Trying again in %d s.", error.message, wait)
            time.sleep(wait)
    log.error("Could not write the job's end; its lease will run out and the sweeper takes over")
    return "unwritten"
