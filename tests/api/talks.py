"""Jobs whose chunks a test ends, one by one, as a consumer does."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from core.audio.samples import SAMPLE_RATE, Region
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.objects.store import ObjectStore
from core.speech.chunks import Chunk
from core.store.sql import SqlStore
from core.transcript.formats import to_result
from core.transcript.merge import Piece, merge
from core.transcript.values import Language, Segment, Transcript
from tests.core.store_kit import new_job, take
from whisper.types import ChunkTranscript

S = SAMPLE_RATE


def chunk(n: int, seconds: int = 10) -> Chunk:
    start = n * seconds * S
    return Chunk(index=n, start=start, end=start + seconds * S, regions=(Region(start=start, end=start + 9 * S),))


def said(segments: Sequence[Segment]) -> dict[str, Any]:
    """As the stage `transcribe` stores it."""
    made = ChunkTranscript(
        segments=tuple(segments), language="en", no_speech_prob=0.1, engine_seconds=0.1, wall_seconds=0.1, engine={}
    )
    return json.loads(json.dumps(made.to_dict()))  # type: ignore[no-any-return]


class Talk:
    """A running job of so many chunks, two segments in each. made: by this; else it is the next one that waits"""

    def __init__(
        self,
        store: SqlStore,
        *,
        chunks: int = 3,
        owner: str | None = None,
        params: JobParams | None = None,
        made: bool = True,
    ) -> None:
        self.store = store
        if made:
            store.of(owner).create(new_job(params=params or JobParams(model="base")))
        self.claim = take(store)
        self.id = self.claim.job.id
        self.pieces: dict[int, Piece] = {}
        self.chunks = [chunk(n) for n in range(chunks)]
        store.plan(self.claim, [Task(stage=TRANSCRIBE, number=c.index, plan=c.to_dict()) for c in self.chunks])
        store.progress(self.claim, chunks_total=chunks, duration=chunks * 10.0, language="en", stage="transcribing")

    def end(self, n: int, *, heard: bool = True) -> None:
        """One chunk is done, or has failed."""
        output = said([Segment(start=i * 4.0, end=i * 4.0 + 3, text=f"Words {n}.{i} süß.") for i in range(2)])
        part = Task(stage=TRANSCRIBE, number=n)
        lease = self.store.take(self.claim, part)
        assert lease is not None
        values: dict[str, Any] = {"state": TaskState.FAILED, "error": {"code": "chunk_failed", "message": "no"}}
        if heard:
            self.pieces[n] = Piece(chunk=self.chunks[n], segments=ChunkTranscript.from_dict(output).segments)
            values = {"state": TaskState.DONE, "output": output}
        assert self.store.commit(lease, Task(stage=TRANSCRIBE, number=n, **values))
        done = sum(task.ended for task in self.store.tasks(self.id, TRANSCRIBE))
        self.store.progress(self.claim, chunks_done=done, audio_seconds_done=done * 10.0)

    @property
    def transcript(self) -> Transcript:
        return Transcript(
            segments=merge(self.pieces.values()).segments,
            language=Language(code="en", confidence=1.0),
            duration=len(self.chunks) * 10.0,
            model="base",
        )

    def finish(self, objects: ObjectStore | None = None) -> None:
        key = f"jobs/{self.id}/result.json"
        if objects is not None:
            objects.put(key, io.BytesIO(json.dumps(to_result(self.transcript)).encode()))
        self.store.finish(self.claim, result_key=key, partial=False, gaps=[], warnings=[], performance={})

    def whole(self, objects: ObjectStore | None = None) -> Talk:
        """To the end."""
        for n in sorted({*range(len(self.chunks))} - {*self.pieces}):
            self.end(n)
        self.finish(objects)
        return self


@contextmanager
def following(client: httpx.Client, path: str, last: str = "", **headers: str) -> Iterator[Iterator[ServerSentEvent]]:
    if last:
        headers["Last-Event-ID"] = last
    with connect_sse(client, "GET", path, headers=headers) as source:
        assert source.response.status_code == 200, source.response.read()
        yield (event for event in source.iter_sse() if event.data)  # ids and comments alone tell a program nothing


def segments_of(events: Sequence[ServerSentEvent]) -> list[dict[str, Any]]:
    """Those of all events, which must follow one another."""
    found: list[dict[str, Any]] = []
    for event in events:
        if event.event == "segments":
            body = event.json()
            assert body["from"] == (found[-1]["id"] + 1 if found else body["segments"][0]["id"])
            found += body["segments"]
    return found
