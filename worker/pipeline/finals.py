"""The transcript's segments one by one, as soon as nothing can change them any more, for the stages that want them so."""

from __future__ import annotations

from collections.abc import Sequence

from core.jobs.tasks import Task
from core.speech.chunks import Chunk
from core.transcript.merge import Merger, Piece
from core.transcript.values import Segment
from whisper.types import ChunkTranscript
from worker.context.stage import SEGMENTS_AT_ONCE, Grain
from worker.context.work import Work
from worker.pipeline.graph import Graph


class FinalSegments:
    """Fed with chunks that have ended, in any order. Does nothing where no stage wants segments."""

    def __init__(self, work: Work, graph: Graph) -> None:
        self._work, self._graph = work, graph
        self._stages = graph.by_segment
        self._one_by_one = [name for name in self._stages if graph.grain(name) is Grain.SEGMENT]
        self._batched = 0
        self._merger = Merger()
        self._waiting: dict[int, Task] = {}
        self._next = 0
        self._total: int | None = None

    def add(self, chunks: Sequence[Task]) -> None:
        """What has been planned, and may have been done by a former owner."""
        for task in chunks:
            if task.ended:
                self.ended(task)

    def end(self) -> None:
        """The plan is complete."""
        self._total = len(self._work.plan.tasks)
        self._close()

    def ended(self, task: Task) -> None:
        if not self._stages:
            return
        self._waiting[task.number] = task
        while (task_ := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            chunk = Chunk.from_dict(task_.plan or {})
            if task_.output is None:
                self._hand_out(self._merger.skip(chunk))
            else:
                said = ChunkTranscript.from_dict(task_.output)
                self._hand_out(self._merger.add(Piece(chunk=chunk, segments=said.segments)))
        self._close()

    def _close(self) -> None:
        if self._next == self._total:
            self._hand_out(self._merger.finish())
            self._batches(-(-len(self._work.segments) // SEGMENTS_AT_ONCE))
            for name in self._stages:
                self._graph.close(name)

    def _hand_out(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            number = len(self._work.segments)
            self._work.segments.append(segment)
            self._graph.add(Task(stage=name, number=number) for name in self._one_by_one)
        self._batches(len(self._work.segments) // SEGMENTS_AT_ONCE)

    def _batches(self, complete: int) -> None:
        """Those tasks by several segments that there are by now."""
        for number in range(self._batched, complete):
            self._graph.add(Task(stage=name, number=number) for name in self._stages if name not in self._one_by_one)
        self._batched = max(self._batched, complete)
