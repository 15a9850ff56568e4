"""What a job's options of pace and cut do to its run, and what the engine and the pool are told of its urgency."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.audio.samples import Pcm
from core.jobs.consumers import ConsumerInfo
from core.jobs.job import Job, NewJob
from core.jobs.params import JobParams
from core.jobs.turns import CLASSES
from core.speech.chunks import Chunk
from tests.worker.kit import Kit, talk
from whisper.engine.scripted import ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.types import Call, ChunkTranscript, TranscribeOptions, Urgency
from worker.watch import ConsumerWatch


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """20 s of sentences."""
    return talk(tmp_path_factory.mktemp("words"), minutes=1 / 3)


class Noting(ScriptedEngine):
    """Remembers what it was told of whose chunk it is, and how many it had at once."""

    def __init__(self, *, pairs: bool = False) -> None:
        super().__init__()
        self._two = threading.Barrier(2) if pairs else None
        self.told: list[tuple[str, str, Urgency]] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        with self._lock:
            self.told.append((call.job, call.owner, call.urgency))
            number = len(self.told)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            if self._two is not None and number <= 2:
                self._two.wait(20)
            return super().transcribe(model, pcm, options, call)
        finally:
            with self._lock:
                self.at_once -= 1


def noting(kit: Kit, *, pairs: bool = False) -> Noting:
    """pairs: the first chunk is not done before there are two."""
    engine = Noting(pairs=pairs)
    kit.parts = replace(kit.parts, transcriber=WhisperTranscriber(engine, kit.parts.transcriber.downloader))
    return engine


def test_a_job_has_no_more_chunks_at_once_than_it_asks_for(tmp_path: Path, words: bytes) -> None:
    kit = Kit(tmp_path, chunk_strategy="fixed", chunk_seconds=5.0)
    engine = noting(kit)
    job = kit.submit(words, workers=1)
    assert kit.run() == "completed"
    assert engine.most == 1 and len(engine.told) >= 4
    performance = kit.job(job).performance
    assert performance is not None and (performance["workers"], performance["parallel"]) == (1, False)
    engine = noting(kit, pairs=True)
    kit.submit(words, workers=512)
    assert kit.run() == "completed"
    assert 2 <= engine.most <= kit.parts.width, "there are no more than there are"


def test_a_job_is_cut_as_it_asks(tmp_path: Path, words: bytes) -> None:
    kit = Kit(tmp_path, chunk_strategy="fixed", chunk_seconds=8.0)

    def cut(**params: Any) -> tuple[list[Chunk], str | None]:
        job = kit.submit(words, **params)
        assert kit.run() == "completed"
        return [Chunk.from_dict(task.plan or {}) for task in kit.chunks(job)], kit.job(job).plan_hash

    usual, identity = cut()
    short, other = cut(chunk_duration=5.0)
    assert max(chunk.seconds for chunk in short) <= 5.0 < max(chunk.seconds for chunk in usual) <= 8.0
    assert identity != other
    assert cut(chunk_duration=8.0) == (usual, identity), "the same as the service's own"
    assert cut(priority="bulk", workers=1) == (usual, identity), "when and how fast makes no other transcript"


def urgent(kit: Kit, owner: str | None, priority: Any, data: bytes) -> Job:
    """As `core.submission` makes it."""
    first = kit.submit(data)
    kit.store.request_delete(first.id)
    params = JobParams(model="demo", priority=priority)
    new = NewJob(id=first.id[:-4] + "ffff", source=first.source, params=params, priority=CLASSES[params.priority])
    return kit.store.of(owner).create(new)


def test_the_engine_is_told_whose_chunk_it_is_and_how_urgent(tmp_path: Path, words: bytes) -> None:
    kit = Kit(tmp_path, chunk_strategy="fixed")
    engine = noting(kit)
    job = urgent(kit, "anna", "interactive", words)
    assert kit.run() == "completed"
    assert set(engine.told) == {(job.id, "anna", Urgency.INTERACTIVE)}
    engine.told.clear()
    plain = kit.submit(words, priority="normal")
    assert kit.run() == "completed"
    assert set(engine.told) == {(plain.id, "", Urgency.JOB)}


def test_the_pool_is_told_once_of_an_interactive_job_that_waits(tmp_path: Path, words: bytes) -> None:
    kit, rung = Kit(tmp_path), list[str]()
    info: Callable[[], ConsumerInfo] = ConsumerInfo
    watch = ConsumerWatch(kit.store, "test", kit.parts.settings.work, info, ring=rung.append)
    kit.submit(words)
    watch.look()
    assert rung == []
    job = urgent(kit, None, "interactive", words)
    watch.look()
    watch.look()
    assert rung == [job.id]
    kit.store.request_cancel(job.id)
    watch.look()
    assert rung == [job.id]
