"""The final segments of jobs while they run: made from the stored chunks, once per job however many follow it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.jobs.job import Job
from core.jobs.tasks import Task
from core.speech.chunks import Chunk
from core.store.protocols import JobStore
from core.transcript.formats import segment_body
from core.transcript.merge import Merger, Piece
from core.transcript.values import Segment
from whisper.types import ChunkTranscript

MOST_BYTES = 64 << 20
"""Of all segments that are kept: some 250 hours of speech, or 20 with the times of each word."""

CHUNKS = 64
"""Read and merged at once, some 0.1 s: longer, and the followers of other jobs would notice."""

SEGMENTS = 500
"""Given at once."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of a job's final segments, each as JSON."""

    #: number of the first one
    first: int
    segments: tuple[bytes, ...]
    #: how many are known to be final
    total: int
    #: there are no more in the table now; of a job that has ended: at all
    complete: bool

    @property
    def end(self) -> int:
        """Number of the first one that is not among them."""
        return self.first + len(self.segments)

    def body(self, first: int) -> str:
        """From that number on, as a JSON list."""
        return f"[{b','.join(self.segments[first - self.first :]).decode()}]"


class Growing:
    """One job's, fed with its chunks in order. words: with the times of each word"""

    def __init__(self, *, words: bool) -> None:
        self._words = words
        self._merger = Merger()
        self.chunks = 0
        self.segments: list[bytes] = []
        self.bytes = 0
        self.ended = False

    def add(self, chunks: Iterable[Task]) -> None:
        """The next ones, which have ended."""
        for task in chunks:
            self.chunks += 1
            chunk = Chunk.from_dict(task.plan or {})
            if task.output is None:
                self._keep(self._merger.skip(chunk))
            else:
                said = ChunkTranscript.from_dict(task.output)
                self._keep(self._merger.add(Piece(chunk=chunk, segments=said.segments)))

    def end(self) -> None:
        """No more will come."""
        self._keep(self._merger.finish())
        self.ended = True

    def _keep(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            body = segment_body(len(self.segments), segment, words=self._words)
            self.segments.append(json.dumps(body, ensure_ascii=False).encode())
            self.bytes += len(self.segments[-1])


class FinalSegments:
    """Belongs to one thread. most_bytes: what is kept beyond it is made anew when it is asked for"""

    def __init__(self, store: JobStore, *, most_bytes: int = MOST_BYTES) -> None:
        self._store, self._most = store, most_bytes
        self._known: OrderedDict[str, Growing] = OrderedDict()

    def read(self, job: Job, first: int) -> Part:
        """At most SEGMENTS from that number on. Looks at the table where there is something new.

        job: as it was before this call: what has ended by then is told completely
        Raises DatabaseUnavailable.
        """
        if job.expired_result:  # and with it the text of the chunks
            self._known.pop(job.id, None)
            return Part(first=first, segments=(), total=0, complete=True)
        known = self._known.pop(job.id, None) or Growing(words=job.params.shows_words)
        complete = known.ended or not (job.terminal or job.chunks_done > known.chunks)
        if not complete:
            chunks = self._store.ended_chunks(job.id, first=known.chunks, limit=CHUNKS)
            known.add(chunks)
            complete = len(chunks) < CHUNKS
            if complete and job.terminal:
                known.end()
        self._known[job.id] = known
        while len(self._known) > 1 and sum(one.bytes for one in self._known.values()) > self._most:
            self._known.popitem(last=False)
        found = tuple(known.segments[first : first + SEGMENTS])
        return Part(first=first, segments=found, total=len(known.segments), complete=complete)
