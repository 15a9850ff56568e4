"""What a stage of a job declares about itself; the pipeline does the rest."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.jobs.job import Phase
from core.jobs.tasks import Task
from worker.context.work import Work


class Grain(StrEnum):
    """What one task of a stage is about."""

    JOB = "job"  #: the whole job: one task
    CHUNK = "chunk"  #: one chunk of the plan, as soon as that is stored (or has been through the stage it needs)
    SEGMENT = "segment"  #: one segment of the transcript, as soon as nothing can change it any more
    SEGMENTS = "segments"  #: SEGMENTS_AT_ONCE of them that follow one another, or what is left at the end

    @property
    def by_segment(self) -> bool:
        """Whether its tasks come as segments become final."""
        return self in (Grain.SEGMENT, Grain.SEGMENTS)


SEGMENTS_AT_ONCE = 20
"""Of a task by `Grain.SEGMENTS`: task n is about the segments from n times as many on."""


class Lane(StrEnum):
    """What a stage waits for most of the time; each lane runs so many tasks at once as that allows."""

    IO = "io"
    CPU = "cpu"
    ENGINE = "engine"
    GPU = "gpu"


class Place(StrEnum):
    HERE = "here"  #: needs what lies in this job's work folder
    ANYWHERE = "anywhere"  #: needs the table and the object store alone


class OnFailure(StrEnum):
    FAIL = "fail"  #: the job fails
    GAP = "gap"  #: a chunk without text; the job fails when there are too many (CHUNK_FAIL_SHARE)
    DEGRADE = "degrade"  #: a warning; the transcript comes without what this stage would have added


@dataclass(frozen=True, kw_only=True)
class Output:
    """What came of one task."""

    data: dict[str, Any] | None = None
    #: CPU seconds of engine workers
    engine_seconds: float = 0.0


class Stage(ABC):
    """One step on a job's way. An instance holds no job's state, so one serves all jobs."""

    name: str
    #: stages that come first: their tasks have ended when this one's run (of the same chunk, where both are by chunk)
    needs: tuple[str, ...] = ()
    grain: Grain = Grain.JOB
    lane: Lane = Lane.CPU
    place: Place = Place.HERE
    on_failure: OnFailure = OnFailure.FAIL
    #: whether each finished task is a checkpoint in the table. What is not stored lies in the work folder or in the job's
    #: row: each owner makes it again, if a stage that needs it still has work
    stored: bool = True
    #: whoever needs this stage reads along while it runs, instead of waiting for its end
    streams: bool = False
    #: what users are told when all words are there and nothing but this is still at work; None: what they were told before
    phase: Phase | None = None
    #: raised when the same input gives another output than before
    version: str = "1"

    def wanted(self, work: Work) -> bool:
        """Whether this job has such a stage."""
        return True

    def due(self, work: Work) -> bool:
        """Of a stage that is not stored: whether it must run even if nobody who needs it has work left."""
        return False

    def ready(self, work: Work, task: Task) -> bool:
        """Whether the task could begin at once: what waits for its input is not in flight, and cannot be blamed for a crash."""
        return True

    def options(self, work: Work) -> Mapping[str, Any]:
        """The job's parameters, settings and versions that change the output, besides what other stages give."""
        return {}

    def identity(self, work: Work, needs: Sequence[str]) -> str:
        """SHA-256 of all that the output depends on: tasks of two jobs with the same are the same.

        needs: the identities of the stages that this one needs
        """
        parts = [self.name, self.version, json.dumps(dict(self.options(work)), sort_keys=True), *needs]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @abstractmethod
    def run(self, work: Work, task: Task) -> Output:
        """Do one task; many of them may run at once. Raises ServiceError (see OnFailure), Interrupted."""
