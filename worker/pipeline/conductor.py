"""The conductor of one job: begins each task when what it needs is there, and stores what comes of it.

Whatever dies, the next owner finds the same graph in the table and goes on where it was.
"""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import Cancelled, HandedBack, JobNotFound
from core.jobs.job import Claim, Job, Phase
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.transcript.values import Language
from worker.context.growing_plan import GrowingPlan
from worker.context.lease_keeper import LeaseKeeper
from worker.context.parts import Parts
from worker.context.report import Report
from worker.context.resources import Meter
from worker.context.stage import Grain, Lane, Stage
from worker.context.work import Work
from worker.pipeline.execution import run_task
from worker.pipeline.finals import FinalSegments
from worker.pipeline.graph import Graph, behind
from worker.pipeline.lanes import Lanes
from worker.stages.enhance import ENHANCE
from worker.stages.preparation.bring import bring
from worker.stages.preparation.finals_of_stream import take_over
from worker.stages.preparation.prompt import tell_model

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often the conductor looks when nothing wakes it: a stop is heard of within so long."""

WRITE_SECONDS = 0.25
"""Progress is written to the job's row at most so often: nobody is told of it more often either."""

BUSY_SECONDS = 1.0
"""After so long a task that was somebody else's is asked for again."""


class Pipeline:
    """One claim's work. `run` may be called again after a TransientError and goes on where it was."""

    def __init__(
        self,
        parts: Parts,
        claim: Claim,
        folder: Path,
        lease_keeper: LeaseKeeper,
        *,
        stages: Sequence[Stage],
        meter: Meter | None = None,
        on_duration: Callable[[float], None] | None,
    ) -> None:
        self._parts, self._claim, self._folder, self._lease_keeper = parts, claim, folder, lease_keeper
        self._stages, self._on_duration = stages, on_duration
        self._report = Report(parts.plan, parts.settings.parallel, most=claim.job.params.workers, meter=meter)
        self._unaccounted = 0.0
        self.job = claim.job
        """As far as the run knows it."""
        self.shown = Phase.DECODING
        """Where the run is, or has failed."""

    def run(self) -> None:
        """Raises JobError, TransientError or Interrupted; returns when the job is completed."""
        work = Work(
            self._parts,
            replace(self._claim, job=self.job),
            self._folder,
            self._lease_keeper,
            on_duration=self._on_duration,
            report=self._report,
        )
        work.unaccounted_seconds = self._unaccounted
        lanes = Lanes(engine=work.width, on_end=work.wake.set)
        work.engine = lanes.pool(Lane.ENGINE)
        try:
            self._unless_stopped(lambda: bring(work, _StopOrDrain(self._lease_keeper)))
            work.show(Phase.DECODING)
            self._prepare(work)
            _Run(work, [stage for stage in self._stages if stage.wanted(work)], lanes).conduct()
        finally:
            # the threads must be gone before the recording is; on the way out of an error their calls are cancelled
            work.cancel.abort()
            lanes.close()
            work.recording.close()
            work.cleaned.close()
            self.shown, self.job, self._unaccounted = work.shown, work.job, work.unaccounted_seconds

    def _prepare(self, work: Work) -> None:
        """The model, what is known of the job, and what its former owners have planned and finished."""
        parts, params = work.parts, work.job.params
        stop = _StopOrDrain(self._lease_keeper)
        self._unless_stopped(lambda: parts.transcriber.downloader.ensure_model_exists(params.model, cancel=stop))
        work.model = parts.models.validate(params.model)
        tell_model(work)
        work.check()
        work.identities = _identities(work, self._stages)
        self._adopt(work)
        work.stored = work.tasks()
        chunks = [task for task in work.stored if task.stage == TRANSCRIBE]
        if not chunks and take_over(work):
            chunks = work.tasks(TRANSCRIBE)
            work.stored += chunks
        complete = bool(chunks) and work.job.chunks_total == len(chunks)
        work.plan = GrowingPlan(
            chunks,
            complete=complete,
            cancel=work.cancel,
            on_change=work.wake.set,
            on_wait=lambda: work.recording.want_more(beyond=work.recording.planned),
        )
        work.language = _known_language(work)
        work.report.begin(done=sum(task.ended for task in chunks), total=len(chunks) if complete else None)

    def _unless_stopped(self, fetch: Callable[[], object]) -> None:
        """What is fetched before there is anything in flight to wait for. Raises HandedBack at a shutdown."""
        try:
            fetch()
        except Cancelled:
            self._lease_keeper.check()
            raise HandedBack from None

    def _adopt(self, work: Work) -> None:
        """Take over what the retried job has finished. An owner that dies here leaves it to the next."""
        store, job = self._parts.store, work.job
        identity = work.identities[TRANSCRIBE]
        if job.plan_hash is None:
            work.learn(plan_hash=identity)
        elif job.plan_hash != identity:
            work.warn(
                "mixed_versions", "The job went on under another version or model file; finished chunks were kept."
            )
        if not job.retry_of or job.retry_all or work.patiently(lambda: store.tasks(job.id, TRANSCRIBE)):
            return
        old: str = job.retry_of
        try:
            before: Job = work.patiently(lambda: store.get(old))
        except JobNotFound:
            return
        if before.plan_hash != identity or any(one["code"] == f"{ENHANCE}_failed" for one in before.warnings):
            return  # of other sound
        if before.language:
            # first, for nobody comes here again once there are chunks: those still to do must be heard in the same language
            work.learn(language=before.language, language_confidence=before.language_confidence)
        # what failed there is done anew, and with it whatever was made of what it left
        failed = {task.stage for task in work.patiently(lambda: store.tasks(old)) if task.state is TaskState.FAILED}
        stages = {stage.name: stage for stage in self._stages}
        identities = {
            name: work.identities[name]
            for name, stage in stages.items()
            if stage.stored and not failed & behind(stage, stages)
        }
        adopted = work.patiently(lambda: store.adopt(work.claim, old, identities))
        if adopted:
            log.info("Took over %d finished chunks of job %s", adopted, old)
            work.job = work.patiently(lambda: store.get(job.id))


class _Run:
    """The conductor's loop over one graph."""

    def __init__(self, work: Work, stages: Sequence[Stage], lanes: Lanes) -> None:
        self._work, self._lanes = work, lanes
        due = [stage.name for stage in stages if not stage.stored and stage.due(work)]
        self._graph = Graph(stages, work.stored, due=due)
        self._planned = 0
        self._seconds = {task.number: task.audio_seconds for task in work.plan.tasks if task.ended}
        self._written = 0.0
        self._running: dict[Future[Any], tuple[Stage, Task]] = {}
        self._busy: list[tuple[float, Task]] = []
        self._finals = FinalSegments(work, self._graph)

    def conduct(self) -> None:
        """Until all is done. Raises what a stage raised whose failure is the job's."""
        work, graph = self._work, self._graph
        while True:
            self._grow()
            if graph.complete:
                return
            draining = work.lease_keeper.draining.is_set() and not graph.only_the_end_is_left
            if not draining:
                self._start()
            elif not graph.running(besides=Grain.JOB):
                work.lease_keeper.check()
                self._count()
                raise HandedBack
            work.wake.wait(LOOK_SECONDS)
            work.wake.clear()
            for future in self._lanes.ended():
                self._end(*self._running.pop(future), future)
            if not draining:
                work.lease_keeper.check()
            self._show()

    def _grow(self) -> None:
        """What has been planned since the last look."""
        work, graph = self._work, self._graph
        complete, tasks = work.plan.complete, work.plan.tasks  # in this order: what is complete does not grow
        if len(tasks) > self._planned:
            new = tasks[self._planned :]
            self._planned += len(new)
            graph.add(new)
            self._finals.add(new)
        if complete and not graph.is_closed(TRANSCRIBE):
            work.report.total = len(tasks)
            graph.close(TRANSCRIBE)
            self._finals.end()
        due = [task for until, task in self._busy if until <= time.monotonic()]
        self._busy = [(until, task) for until, task in self._busy if until > time.monotonic()]
        for stage in {task.stage for task in due}:
            elsewhere = {task.number: task for task in due if task.stage == stage}
            ended = {task.number: task for task in work.tasks(stage, elsewhere) if task.ended}
            for number, task in elsewhere.items():
                if number in ended:
                    self._settle(ended[number])
                else:
                    graph.put_back(task)

    def _start(self) -> None:
        started = True
        while started:
            started = False
            for stage, task in list(self._graph.ready()):
                if self._lanes.room(stage.lane) and stage.ready(self._work, task):
                    self._graph.start(task)
                    context = contextvars.copy_context()
                    run = partial(run_task, stage) if stage.stored else stage.run
                    future = self._lanes.start(stage.lane, context.run, run, self._work, task)
                    self._running[future] = (stage, task)
                    started = True
        if self._lanes.room(Lane.ENGINE) and not self._graph.waiting(TRANSCRIBE):
            self._work.recording.want_more(beyond=self._planned)

    def _end(self, stage: Stage, task: Task, future: Future[Any]) -> None:
        done = future.result()
        if not stage.stored:
            self._graph.end(task)
        elif done is None:
            self._busy.append((time.monotonic() + BUSY_SECONDS, task))
        else:
            self._settle(done)

    def _settle(self, done: Task) -> None:
        self._graph.end(done)
        if done.stage == TRANSCRIBE:
            self._seconds[done.number] = done.audio_seconds
            self._work.recording.go_on()
            self._finals.ended(done)

    # --- what users see
    def _show(self) -> None:
        """Nothing more once the end may be under way in its thread: who has ended a job writes no more to it."""
        work = self._work
        if self._graph.only_the_end_is_left:
            return
        if work.shown is Phase.DECODING and work.recording.available:
            work.show(Phase.TRANSCRIBING)
        phases = {stage.phase for stage, _ in self._running.values()}
        if (
            len(phases) == 1
            and (phase := phases.pop()) not in (None, work.shown)
            and self._graph.is_complete(TRANSCRIBE)
        ):
            self._count()
            work.show(phase)
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self._count()

    def _count(self) -> None:
        """Written by this thread alone: chunks that end do not queue up for the job's row."""
        work = self._work
        if len(self._seconds) != work.job.chunks_done:
            eta = work.report.eta(work.job.duration)
            more = {} if eta is None else {"eta_seconds": eta}
            work.learn(chunks_done=len(self._seconds), audio_seconds_done=sum(self._seconds.values()), **more)
            self._written = time.monotonic()


class _StopOrDrain:
    """Cancel flag of what comes before the first chunk: at a shutdown there is nothing in flight to wait for."""

    def __init__(self, lease_keeper: LeaseKeeper) -> None:
        self._lease_keeper = lease_keeper

    def is_set(self) -> bool:
        return self._lease_keeper.is_set() or self._lease_keeper.draining.is_set()


def _identities(work: Work, stages: Sequence[Stage]) -> dict[str, str]:
    """By stage, of all there are: which of them this job still needs changes nothing."""
    found: dict[str, str] = {}
    for stage in stages:
        found[stage.name] = stage.identity(work, [found[name] for name in stage.needs if name in found])
    return found


def _known_language(work: Work) -> Language | None:
    job = work.job
    if not work.model.info.multilingual:
        return Language(code="en", confidence=1.0)
    if job.params.language:
        return Language(code=job.params.language, confidence=1.0)
    if job.language:
        return Language(code=job.language, confidence=job.language_confidence or 0.0)
    return None
