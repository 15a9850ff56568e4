"""Which tasks of a job can begin: pure bookkeeping over what its stages declare and what has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from core.jobs.tasks import TRANSCRIBE, Task
from worker.context.stage import Grain, Stage


class _Progress:
    """One stage's tasks."""

    def __init__(self) -> None:
        self.open: deque[Task] = deque()
        self.suspects: deque[Task] = deque()
        self.running: set[int] = set()
        self.ended: set[int] = set()
        self.begun = False
        self.closed = False
        """No task comes any more."""

    @property
    def complete(self) -> bool:
        return self.closed and not (self.open or self.suspects or self.running)


class Graph:
    """Not thread-safe: the pipeline's own thread asks and tells.

    stages: those the job has, in the order of the walk; a need that is not among them counts as met
    stored: the table's tasks; those that have ended are never given out again
    due: names of stages that must run although nothing of them is stored and nobody else needs them
    """

    def __init__(self, stages: Sequence[Stage], stored: Iterable[Task] = (), *, due: Iterable[str] = ()) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self._due = set(due)
        self._progress = {name: _Progress() for name in self._stages}
        self._known = {(task.stage, task.number): task for task in stored}
        for stage in stages:
            if stage.grain is Grain.JOB:
                self.add([Task(stage=stage.name)])
                self.close(stage.name)

    @property
    def complete(self) -> bool:
        """Whether all that is stored has ended, and what had to run besides."""
        return all(
            progress.complete
            for name, progress in self._progress.items()
            if self._stages[name].stored or name in self._due
        )

    @property
    def only_the_end_is_left(self) -> bool:
        """Whether all tasks that are stored have ended."""
        return all(self._progress[name].complete for name, stage in self._stages.items() if stage.stored)

    def waiting(self, stage: str) -> int:
        """Tasks of a stage that have not begun."""
        return len(self._progress[stage].open)

    def is_complete(self, stage: str) -> bool:
        """Whether all tasks of a stage have been added, and have ended."""
        return self._progress[stage].complete

    def is_closed(self, stage: str) -> bool:
        return self._progress[stage].closed

    def add(self, tasks: Iterable[Task]) -> None:
        """Tasks of stages by chunk or segment, as they are found."""
        for task in tasks:
            progress = self._progress[task.stage]
            known = self._known.get((task.stage, task.number), task)
            if known.ended:
                progress.ended.add(known.number)
                self._pass_on(known)
            else:
                (progress.suspects if known.crashes else progress.open).append(known)

    def close(self, stage: str) -> None:
        """All tasks of that stage have been added."""
        self._progress[stage].closed = True
        self._close_behind(stage)

    def ready(self) -> Iterator[tuple[Stage, Task]]:
        """For each stage the next task that could begin. Suspects of a crash come last, and each alone."""
        alone = any(self._is_suspect(name) for name in self._stages)
        if alone:
            return
        waiting = False
        for name, progress in self._progress.items():
            stage = self._stages[name]
            if progress.open and self._is_wanted(stage) and self._is_supplied(stage, progress.open[0]):
                waiting = waiting or stage.stored
                yield stage, progress.open[0]
        if waiting or any(self._progress[name].running for name, stage in self._stages.items() if stage.stored):
            return
        for name, progress in self._progress.items():
            stage = self._stages[name]
            if progress.suspects and not progress.open and progress.closed:
                first = min(progress.suspects, key=lambda task: (task.crashes, task.number))
                if self._is_wanted(stage) and self._is_supplied(stage, first):
                    yield stage, first
                    return

    def start(self, task: Task) -> None:
        progress = self._progress[task.stage]
        (progress.suspects if task.crashes else progress.open).remove(task)
        progress.running.add(task.number)
        progress.begun = True

    def put_back(self, task: Task) -> None:
        """It is somebody else's for now."""
        progress = self._progress[task.stage]
        progress.running.discard(task.number)
        (progress.suspects if task.crashes else progress.open).append(task)

    def end(self, task: Task) -> None:
        progress = self._progress[task.stage]
        progress.running.discard(task.number)
        progress.ended.add(task.number)
        self._pass_on(task)
        self._close_behind(task.stage)

    def running(self, *, besides: Grain | None = None) -> int:
        """How many stored tasks are in flight, but for those of one grain."""
        return sum(
            len(progress.running)
            for name, progress in self._progress.items()
            if self._stages[name].stored and self._stages[name].grain is not besides
        )

    @property
    def by_segment(self) -> list[str]:
        """Stages that want the transcript's segments as they become final."""
        return [name for name, stage in self._stages.items() if stage.grain.by_segment]

    def grain(self, stage: str) -> Grain:
        return self._stages[stage].grain

    def _pass_on(self, task: Task) -> None:
        """A chunk that has been through one stage is the next one's."""
        for name, stage in self._stages.items():
            if stage.grain is Grain.CHUNK and name != TRANSCRIBE and task.stage == self._leads(stage):
                self.add([Task(stage=name, number=task.number)])

    def _close_behind(self, stage: str) -> None:
        if self._progress[stage].complete:
            for name, other in self._stages.items():
                if other.grain is Grain.CHUNK and name != TRANSCRIBE and self._leads(other) == stage:
                    self.close(name)

    def _leads(self, stage: Stage) -> str | None:
        """Of a stage by chunk: the last of those it needs that are by chunk too."""
        return next(
            (
                name
                for name in reversed(stage.needs)
                if name in self._stages and self._stages[name].grain is Grain.CHUNK
            ),
            None,
        )

    def _is_suspect(self, name: str) -> bool:
        progress = self._progress[name]
        return any(self._known_crashes(name, number) for number in progress.running)

    def _known_crashes(self, stage: str, number: int) -> int:
        known = self._known.get((stage, number))
        return known.crashes if known else 0

    def _is_wanted(self, stage: Stage) -> bool:
        """What is not stored runs only for those that still need it."""
        if stage.stored or stage.name in self._due:
            return True
        return any(
            stage.name in other.needs and not self._progress[name].complete and self._is_wanted(other)
            for name, other in self._stages.items()
        )

    def _is_supplied(self, stage: Stage, task: Task) -> bool:
        return all(self._gives(self._stages[name], task, stage) for name in stage.needs if name in self._stages)

    def _gives(self, need: Stage, task: Task, stage: Stage) -> bool:
        progress = self._progress[need.name]
        if need.grain is Grain.CHUNK and stage.grain is not Grain.JOB:
            return stage.grain.by_segment or task.number in progress.ended
        return progress.complete or (need.streams and progress.begun)


def behind(stage: Stage, stages: Mapping[str, Stage]) -> set[str]:
    """All that it needs, and what that needs in turn."""
    found = set(stage.needs)
    return found.union(*(behind(stages[name], stages) for name in found & stages.keys()))
