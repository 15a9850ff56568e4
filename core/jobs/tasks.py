"""A task: one part of a job's work, stored before anybody works on it. A finished one is never computed again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

TRANSCRIBE = "transcribe"
"""The stage whose tasks are the job's chunks: their number is the progress that everybody sees."""


class TaskState(StrEnum):
    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"  #: gave up after its own attempts


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row: what is to be done and, when it is done, what came of it."""

    stage: str
    #: 0 for a stage that works on the whole job; otherwise the number of the chunk or segment
    number: int = 0
    #: what it is about, JSON; of `transcribe`, `core.speech.chunks.Chunk.to_dict`
    plan: dict[str, Any] | None = None
    state: TaskState = TaskState.PLANNED
    #: what it gave, JSON; of `transcribe`, `whisper.types.ChunkTranscript.to_dict` (None: there was nothing to hear)
    output: dict[str, Any] | None = None
    #: of a failed one: {"code", "message"}
    error: dict[str, Any] | None = None
    #: hash of all that the output depends on: jobs whose tasks have the same may share them
    identity: str | None = None
    engine_seconds: float = 0.0
    #: how much of the recording it covers
    audio_seconds: float = 0.0
    #: how often a process died while it worked on this (poison is counted per task)
    crashes: int = 0

    @property
    def ended(self) -> bool:
        return self.state is not TaskState.PLANNED


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to work on one task: valid until it runs out, and only with the newest fence."""

    job_id: str
    stage: str
    number: int
    owner: str
    fence: int
    #: as in Task, with the crash that made the task free for this lease
    crashes: int
