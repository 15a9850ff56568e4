"""What the stages of one run share: the job, its files, its plan, and ways to say what was learnt."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

from core.errors import Interrupted, TransientError
from core.jobs.job import Claim, Phase
from core.jobs.tasks import Lease, Task
from core.jobs.turns import INTERACTIVE
from core.system.crashpoints import reached
from core.system.retry import doubling, retry
from core.transcript.values import Language, Segment
from whisper.models.store import ValidModel
from whisper.types import Call, ChunkTranscript, LanguageGuess, Urgency
from worker.context.growing_plan import GrowingPlan
from worker.context.lease_keeper import LeaseKeeper
from worker.context.parts import Parts
from worker.context.recording import Recording
from worker.context.report import Report
from worker.context.upload import Upload

log = logging.getLogger(__name__)

T = TypeVar("T")

Evidence = ChunkTranscript | LanguageGuess | None
"""What one window tells about its language."""


class Cancel:
    """Set when this run is to stop, whatever the reason."""

    def __init__(self, lease_keeper: LeaseKeeper) -> None:
        self._lease_keeper = lease_keeper
        self._abort = threading.Event()

    def abort(self) -> None:
        self._abort.set()

    def is_set(self) -> bool:
        return self._abort.is_set() or self._lease_keeper.is_set()


class Work:
    """One run of one claim. All methods may be called from any of its threads.

    model: the job's, with a valid file
    stored: all tasks in the table when the run began
    """

    def __init__(
        self,
        parts: Parts,
        claim: Claim,
        folder: Path,
        lease_keeper: LeaseKeeper,
        *,
        on_duration: Callable[[float], None] | None,
        report: Report,
    ) -> None:
        self.parts, self.claim, self.folder, self.lease_keeper = parts, claim, folder, lease_keeper
        self.report = report
        self.job = claim.job
        self.shown = claim.job.stage
        self.warnings: list[dict[str, str]] = list(claim.job.warnings)
        params = claim.job.params
        self.width = min(parts.width, params.workers or parts.width) if parts.settings.parallel else 1
        """Chunks of this job that are handed to the engine at once."""
        self.chunk_seconds = params.chunk_duration or parts.settings.chunk_seconds
        self.wake = threading.Event()
        """Set whenever something has happened that may let a task begin."""
        self.cancel = Cancel(lease_keeper)
        self.upload = Upload(self.cancel)
        self.recording = Recording(folder / "pcm.s16le", head=self.width + 1, cancel=self.cancel, on_grow=self.wake.set)
        self.cleaned = Recording(folder / "cleaned.s16le", head=0, cancel=self.cancel, on_grow=self.wake.set)
        """The same without noise, where the job asks for it (`worker.stages.enhance`)."""
        clean = params.is_cleaned
        self.for_speakers = self.cleaned if clean else self.recording
        """Where speech is looked for, and voices are told apart."""
        self.for_words = self.cleaned if clean and params.enhance_for == "all" else self.recording
        """What is transcribed."""
        self.for_words_too = self.cleaned if clean and params.enhance_for == "both" else None
        """What is transcribed besides, for the surer text of the two."""
        self.model: ValidModel
        self.prompt: str | None = None
        """What every chunk is decoded behind (`worker.stages.preparation.prompt`)."""
        self.plan: GrowingPlan
        self.identities: Mapping[str, str] = {}
        """By stage: what its tasks depend on."""
        self.stored: list[Task] = []
        self.engine: Executor
        self.language: Language | None = None
        """Of the whole job; None until it is known, and where each chunk finds its own."""
        self.spoken: dict[int, str] = {}
        """By channel, where each is heard by itself and nobody has named the language: what was spoken there last."""
        self.early: dict[int, Future[Evidence]] = {}
        """By chunk: what finding the language has already asked the engine."""
        self.segments: list[Segment] = []
        """The transcript's segments as far as they are final, while a stage wants them one by one."""
        self.translations: dict[tuple[str, str], str] = {}
        """By language and text: what this run has had translated."""
        self.unaccounted_seconds = 0.0
        """The engine's CPU seconds that no task will account for."""
        self._on_duration = on_duration
        self._lock, self._warning = threading.Lock(), threading.Lock()

    # --- stopping
    def check(self) -> None:
        """Raises Interrupted when the run is to stop."""
        self.lease_keeper.check()
        if self.cancel.is_set():
            raise Interrupted("Stopped.")

    def is_poison(self, crashes: int) -> bool:
        """Give a task up before the job's own attempts run out?

        Only when the process has also died again and again without any task getting done: a job that is killed
        often and gets further each time loses none.
        """
        most = self.parts.settings.max_attempts
        return crashes >= most and self.claim.job.strikes >= most - 1

    # --- the table
    def patiently(self, ask: Callable[[], T]) -> T:
        """A database that is away holds the run up, and undoes nothing of it, until the lease has run out."""
        return retry(ask, pauses=doubling(0.2, 5.0), retryable=_away, wait=self.lease_keeper.wait)

    def lease(self, task: Task) -> Lease | None:
        """The task is in flight from here on: it may be what kills this process. None: it is another's, or has ended."""
        lease = self.patiently(lambda: self.parts.store.take(self.claim, task))
        reached("after_start")
        return lease

    def learn(self, **fields: Any) -> None:
        """Write what the run has found out into the job's row. Raises LeaseLost."""
        self.patiently(lambda: self.parts.store.progress(self.claim, **fields))
        with self._lock:
            self.job = self.job.evolve(**fields)

    def learn_duration(self, seconds: float, **more: Any) -> None:
        self.learn(duration=seconds, **more)
        if self._on_duration:
            self._on_duration(seconds)

    def show(self, stage: Phase, **more: Any) -> None:
        """What users see of where the job is, and what is named if it fails here."""
        self.shown = stage
        if self.job.stage is not stage or more:
            self.learn(stage=stage, **more)

    def warn(self, code: str, message: str) -> None:
        """Once for each code."""
        with self._warning:  # two at once: the row shall end with both
            if all(code != warning["code"] for warning in self.warnings):
                self.warnings.append({"code": code, "message": message})
                self.learn(warnings=tuple(self.warnings))

    def tasks(self, stage: str | None = None, numbers: Collection[int] | None = None) -> list[Task]:
        """The stored tasks, or those of a stage, or of these numbers; those that have ended with what they gave."""
        return self.patiently(lambda: self.parts.store.tasks(self.job.id, stage, numbers))

    # --- the engine
    def call(self, label: str) -> Call:
        """For whom the engine is called: what it goes by when more calls wait than there are workers."""
        urgency = Urgency.INTERACTIVE if self.job.priority >= INTERACTIVE else Urgency.JOB
        return Call(job=self.job.id, owner=self.job.owner or "", label=label, urgency=urgency, cancel=self.cancel)

    def submit(self, ask: Callable[..., T], *args: Any) -> Future[T]:
        """Ask the engine beside the tasks, as one of them would."""
        return self.engine.submit(contextvars.copy_context().run, ask, *args)


def _away(error: Exception) -> bool:
    if isinstance(error, TransientError):
        log.warning("Not stored yet: %s", error.message)
    return isinstance(error, TransientError)
