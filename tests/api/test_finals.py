"""Final segments from stored chunks: a prefix of the result at any time, and the result at the end."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from api.events import finals
from api.events.finals import FinalSegments
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.store.sql import SqlStore
from core.transcript.formats import segment_body
from core.transcript.merge import Piece, merge
from tests.api.talks import Talk, said
from tests.core.store_kit import new_job, take
from tests.core.test_merge import listen, monologue, planned
from whisper.types import ChunkTranscript


class Counting(SqlStore):
    """Counts what is read of the tasks."""

    looks = 0

    def ended_chunks(self, job_id: str, *, first: int, limit: int) -> Sequence[Task]:
        self.looks += 1
        return super().ended_chunks(job_id, first=first, limit=limit)


def read_all(found: FinalSegments, store: SqlStore, job_id: str, first: int = 0) -> list[dict[str, Any]]:
    """From that number on, all that is final."""
    bodies: list[dict[str, Any]] = []
    for _ in range(10_000):
        part = found.read(store.get(job_id), first + len(bodies))
        bodies += [json.loads(segment) for segment in part.segments]
        if part.complete and not part.segments:
            return bodies
    raise AssertionError("it does not end")


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 10**9), st.booleans(), st.booleans())
def test_they_are_a_prefix_of_the_result_and_at_the_end_all_of_it(seed: int, pauses: bool, words: bool) -> None:
    rng = random.Random(seed)
    heard, regions, total = monologue(rng, pauses)
    chunks = planned(regions, total, rng)
    outputs = [said(listen(c, heard, rng, jitter=0.03).segments) for c in chunks]
    pieces = [Piece(chunk=c, segments=ChunkTranscript.from_dict(outputs[c.index]).segments) for c in chunks]
    failed = {c.index for c in chunks if rng.random() < 0.1}
    merged = merge(piece for piece in pieces if piece.chunk.index not in failed).segments
    result = [segment_body(n, s, words=words) for n, s in enumerate(merged)]
    result = json.loads(json.dumps(result))

    store = SqlStore.in_memory()
    job_id = store.create(new_job(params=JobParams(model="base", word_timestamps=words))).id
    claim = take(store)
    store.plan(claim, [Task(stage=TRANSCRIBE, number=c.index, plan=c.to_dict()) for c in chunks])
    steady, forgetful = FinalSegments(store), FinalSegments(store, most_bytes=0)
    order = rng.sample(chunks, len(chunks))
    got: list[dict[str, Any]] = []
    for done, c in enumerate(order, 1):
        part = Task(stage=TRANSCRIBE, number=c.index)
        lease = store.take(claim, part)
        assert lease is not None
        state = {"state": TaskState.DONE, "output": outputs[c.index]}
        if c.index in failed:
            state = {"state": TaskState.FAILED, "error": {"code": "chunk_failed", "message": "no"}}
        store.commit(lease, Task(stage=TRANSCRIBE, number=c.index, **state))
        store.progress(claim, chunks_done=done)
        if rng.random() < 0.3:
            got += read_all(steady, store, job_id, len(got))
            assert got == result[: len(got)], "it was not final"
            again = rng.randint(0, len(got))
            assert read_all(FinalSegments(store), store, job_id, again) == got[again:], "another process tells the same"
    store.finish(claim, result_key="r", partial=bool(failed), gaps=[], warnings=[], performance={})
    got += read_all(steady, store, job_id, len(got))
    assert got == result == read_all(forgetful, store, job_id)
    store.close()


@pytest.fixture
def store() -> Counting:
    return Counting(SqlStore.in_memory().database)


def test_chunks_are_read_once_however_many_ask(store: Counting) -> None:
    talk = Talk(store)
    found = FinalSegments(store)
    for n in range(3):
        talk.end(n)
        for _ in range(10):
            found.read(store.get(talk.id), 0)
    assert store.looks == 3
    talk.finish()
    assert [len(read_all(found, store, talk.id, first)) for first in (0, 2, 6, 7, 1000)] == [6, 4, 0, 0, 0]
    assert store.looks == 4


def test_what_is_kept_is_bounded_and_what_is_forgotten_comes_again(store: Counting) -> None:
    talks = [Talk(store).whole() for _ in range(3)]
    found = FinalSegments(store, most_bytes=1)
    for _ in range(2):
        assert [len(read_all(found, store, talk.id)) for talk in talks] == [6] * 3
        assert len(found._known) == 1


def test_a_long_job_is_read_in_pieces(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finals, "CHUNKS", 2)
    monkeypatch.setattr(finals, "SEGMENTS", 3)
    talk = Talk(store, chunks=7).whole()
    found = FinalSegments(store)
    first = found.read(store.get(talk.id), 0)
    assert not first.complete and len(first.segments) <= 3
    assert [segment["id"] for segment in read_all(found, store, talk.id)] == list(range(14))


def test_a_chunk_that_is_missing_holds_up_those_behind_it(store: Counting) -> None:
    talk = Talk(store)
    found = FinalSegments(store)
    talk.end(2)
    talk.end(0)
    assert read_all(found, store, talk.id) == [], "what comes behind it may change it"
    talk.end(1, heard=False)
    texts = [segment["text"] for segment in read_all(found, store, talk.id)]
    assert texts == ["Words 0.0 süß.", "Words 0.1 süß."], "those of the last chunk wait for what comes"
    talk.finish()
    assert [s["text"] for s in read_all(found, store, talk.id)] == [s.text for s in talk.transcript.segments]


def test_of_a_job_that_did_not_complete_there_is_what_was_heard(store: Counting) -> None:
    talk = Talk(store)
    talk.end(0)
    found = FinalSegments(store)
    assert read_all(found, store, talk.id) == []
    store.request_cancel(talk.id)
    store.cancelled(talk.claim)
    assert len(read_all(found, store, talk.id)) == 2


def test_with_the_result_go_the_segments(store: Counting) -> None:
    talk = Talk(store).whole()
    found = FinalSegments(store)
    assert len(read_all(found, store, talk.id)) == 6
    expired = store.get(talk.id).evolve(expired_result=True)
    part = found.read(expired, 0)
    assert (part.segments, part.total, part.complete, found._known) == ((), 0, True, {})
