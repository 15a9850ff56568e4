"""Known speakers as they are asked for: what is kept of them, what is refused, and where their samples go."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import JobNotFound, NotInResult, ValidationFailed, VoiceExists, VoiceNotFound
from core.jobs import known_speakers
from core.jobs.job import JobFailure
from core.jobs.known_speakers import SAMPLE_BYTES, packed, samples_in, unpacked
from core.jobs.params import JobParams
from core.jobs.tasks import Task, TaskState
from core.objects.memory import MemoryObjects
from core.objects.store import samples_key, source_key
from core.options import read
from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.store.sql import SqlStore
from core.submission import batches
from core.submission.retry import retry
from core.system.clock import ManualClock
from tests.api.serving import wav
from tests.core.store_kit import clock, new_job, store, take
from tests.core.test_submission import intake

__all__ = ["clock", "store"]


def data_url(data: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(data).decode()}"


ANNA, BERT = wav(4000), wav(5000, b"\x02")
SAMPLES: list[dict[str, Any]] = [
    {"name": " Anna ", "sample": data_url(ANNA)},
    {"name": "Bert", "sample": data_url(BERT)},
]


# --- what is kept of them
@pytest.mark.parametrize("given", [SAMPLES, json.dumps(SAMPLES)])
def test_of_a_sample_its_hash_is_kept(given: Any) -> None:
    values, errors = read(JobParams, {"known_speakers": given})
    kept = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (ANNA, BERT)]
    assert not errors
    assert values["known_speakers"] == [{"name": "Anna", "sample": kept[0]}, {"name": "Bert", "sample": kept[1]}]
    assert (
        samples_in(given)
        == dict(zip(kept, (ANNA, BERT), strict=True))
        == unpacked(io.BytesIO(packed(samples_in(given))))
    )


def test_a_kept_voice_is_named_by_its_name_or_by_another() -> None:
    values, errors = read(JobParams, {"known_speakers": [{"name": "Anna"}, {"name": "Dr. B.", "voice": "Bert"}]})
    kept = [{"name": "Anna", "voice": "Anna"}, {"name": "Dr. B.", "voice": "Bert"}]
    assert values == {"known_speakers": kept} and not errors
    assert read(JobParams, {"known_speakers": kept}) == (values, []), "as a batch gives it to its jobs"
    assert read(JobParams, {"known_speakers": []}) == ({"known_speakers": None}, [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Anna", "valid JSON array"),
        ('{"name": "Anna"}', "valid JSON array of objects"),
        (["Anna"], "valid JSON array of objects"),
        ('[{"name": "Anna", "name": "Bert"}]', "names come once"),
        ("[" * 5000, "valid JSON array"),
        ([{"name": "Anna"}] * 21, "at most 20 items"),
        ([{"name": "Anna"}, {"name": "Anna "}], "the name Anna is there twice"),
        ([{"sample": data_url(ANNA)}], "entry 0: a name has 1 to 100 characters"),
        ([{"name": "x" * 101}], "entry 0: a name has 1 to 100 characters"),
        ([{"name": 7}], "entry 0: a name has 1 to 100 characters"),
        ([{"name": "a\tb"}], "control characters"),
        ([{"name": "SPEAKER_01"}], "not known"),
        ([{"name": "Anna", "age": 7}], "but no age"),
        ([{"name": "Anna", "sample": data_url(ANNA), "voice": "Anna"}], "not both"),
        ([{"name": "Anna"}, {"name": "Bert", "sample": "https://a.test/bert.wav"}], "entry 1: a sample is a data URL"),
        ([{"name": "Anna", "sample": "sha256:" + "0" * 64}], "entry 0: a sample is a data URL"),
        ([{"name": "Anna", "sample": "data:audio/wav,abc"}], "entry 0: a sample is a data URL with base64"),
        ([{"name": "Anna", "sample": "data:audio/wav;base64,UklGR!"}], "no base64"),
        ([{"name": "Anna", "sample": "data:;base64,"}], "the sample is empty"),
        ([{"name": "Anna", "sample": data_url(bytes(SAMPLE_BYTES + 3))}], f"at most {SAMPLE_BYTES} bytes"),
        ([{"name": "Anna", "sample": 7}], "a sample is a data URL"),
    ],
)
def test_what_cannot_be_used_is_named(given: Any, said: str) -> None:
    _, errors = read(JobParams, {"known_speakers": given})
    assert [error["field"] for error in errors] == ["known_speakers"] and said in errors[0]["message"]


# --- where samples go
def test_samples_lie_beside_the_source_and_go_with_it(tmp_path: Path) -> None:
    jobs, objects = SqlStore.in_memory(clock=ManualClock()), MemoryObjects()
    taking = intake(objects, tmp_path)
    job_id, source = taking.store("talk.wav", io.BytesIO(wav()))
    job = taking.accept(jobs, job_id, source, {"diarize": "true", "known_speakers": json.dumps(SAMPLES)})
    assert job.samples_key == samples_key(job_id) and "base64" not in json.dumps(job.params.shown())
    with objects.open(job.samples_key) as data:
        assert unpacked(data) == samples_in(SAMPLES)
    jobs.fail(take(jobs), JobFailure(code="chunk_failed", message="no", stage="transcribing"))
    again = retry(jobs, job_id, everything=False)
    assert (again.samples_key, again.params) == (job.samples_key, job.params)
    sweeper = Sweeper(jobs, objects, MemoryHints(), interval=5, max_attempts=2)
    jobs.request_delete(job_id)
    sweeper.sweep_once()
    sweeper.collect_orphans(older_than=0)
    assert {*objects.keys("jobs/")} == {source_key(job_id), samples_key(job_id)}, "the retry needs them"
    jobs.request_delete(again.id)
    sweeper.sweep_once()
    assert not {*objects.keys("jobs/")}
    jobs.close()


def test_samples_have_the_retention_of_audio(tmp_path: Path) -> None:
    jobs, objects = SqlStore.in_memory(clock=ManualClock()), MemoryObjects()
    taking = intake(objects, tmp_path)
    job_id, source = taking.store("talk.wav", io.BytesIO(wav()))
    taking.accept(jobs, job_id, source, {"diarize": True, "known_speakers": SAMPLES})
    jobs.fail(take(jobs), JobFailure(code="chunk_failed", message="no", stage="transcribing"))
    Sweeper(jobs, objects, MemoryHints(), interval=5, max_attempts=2, audio_hours=1e-9).sweep_once()
    assert not {*objects.keys("jobs/")} and jobs.get(job_id).expired_audio
    jobs.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"known_speakers": SAMPLES}, "diarize"),
        ({"diarize": True, "known_speakers": [{"name": "Anna", "sample": data_url(b"no recording" * 99)}]}, "entry 0"),
        ({"diarize": True, "known_speakers": [*SAMPLES, {"name": "Carl"}]}, "kept no voice of the name Carl"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    jobs, objects = SqlStore.in_memory(), MemoryObjects()
    taking = intake(objects, tmp_path)
    job_id, source = taking.store("talk.wav", io.BytesIO(wav()))
    with pytest.raises(ValidationFailed, match=said):
        taking.accept(jobs, job_id, source, given)
    assert not {*objects.keys("jobs/")} and not jobs.list()[0]
    jobs.close()


def test_a_batch_takes_kept_voices_and_no_samples(tmp_path: Path) -> None:
    taking = intake(MemoryObjects(), tmp_path)
    planned = batches.plan(taking, {"diarize": True, "known_speakers": [{"name": "Anna"}]}, {})
    assert planned.new.params.known_speakers == [{"name": "Anna", "voice": "Anna"}]
    with pytest.raises(ValidationFailed, match="a batch takes no samples"):
        batches.plan(taking, {"diarize": True, "known_speakers": SAMPLES}, {})


# --- voices that are kept
def heard(jobs: SqlStore, owner: str | None = None, **more: Any) -> str:
    """Id of a job of that owner's in which two voices were heard."""
    job = jobs.of(owner).create(new_job())
    claim = take(jobs)
    task = Task(stage="diarize")
    lease = jobs.take(claim, task)
    assert lease is not None
    output = {"turns": [], "voices": [[1.0, 0.0], [0.0, 1.0]], "embedding": "e 1"} | more
    jobs.commit(lease, Task(stage="diarize", state=TaskState.DONE, output=output))
    jobs.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})
    return job.id


def test_a_voice_is_its_owners_alone(store: SqlStore) -> None:
    job_id = heard(store, "anna")
    anna, bert, nobody = (store.voices_of(owner) for owner in ("anna", "bert", None))
    kept = anna.keep("Carl", job_id=job_id, number=1)
    assert (kept.name, kept.vector, kept.embedding) == ("Carl", (0.0, 1.0), "e 1") and kept.created_at is not None
    assert "0.0" not in repr(kept), "what it sounds like is in no log line"
    for other in (bert, nobody):
        assert other.list() == [] and other.named(["Carl"]) == {}
        with pytest.raises(VoiceNotFound):
            other.remove("Carl")
        with pytest.raises(NotInResult):
            other.keep("Carl", job_id=job_id, number=1)
    asked = JobParams(model="base", diarize=True, known_speakers=[{"name": "Dr. C.", "voice": "Carl"}])
    theirs = [store.of(owner) for owner in ("bert", None)]
    for jobs in theirs:
        with pytest.raises(ValidationFailed, match="kept no voice"):
            jobs.create(new_job(params=asked))
    made = store.of("anna").create(new_job(params=asked))
    with pytest.raises(VoiceExists):
        anna.keep("Carl", job_id=job_id, number=0)
    store.request_delete(job_id)
    assert list(anna.named(["Carl", "Dora"])) == ["Carl"], "it outlives its job"
    anna.remove("Carl")
    assert anna.list() == []
    store.fail(take(store), JobFailure(code="chunk_failed", message="no", stage="transcribing"))
    assert store.of("anna").create(store.get(made.id).again()).params == asked, "a retry is no new question"


def test_what_was_not_heard_cannot_be_kept(store: SqlStore) -> None:
    mine = store.voices_of(None)
    for job_id, number in [(heard(store), 2), (heard(store, embedding=""), 0), ("none", 0)]:
        with pytest.raises(NotInResult):
            mine.keep("Anna", job_id=job_id, number=number)
    gone = heard(store)
    store.request_delete(gone)
    with pytest.raises(NotInResult):
        mine.keep("Anna", job_id=gone, number=0)
    with pytest.raises(JobNotFound):
        store.get(gone)


def test_there_is_an_end_to_what_one_may_keep(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.store.roles.owners import voices

    monkeypatch.setattr(voices, "MOST", 2)
    job_id, mine = heard(store), store.voices_of(None)
    for name in "AB":
        mine.keep(name, job_id=job_id, number=0)
    with pytest.raises(ValidationFailed, match="no more may be"):
        mine.keep("C", job_id=job_id, number=0)
    assert [one.name for one in mine.list()] == ["A", "B"]


def test_names_are_compared_as_they_are_read() -> None:
    assert known_speakers.name_of(" Ame\u0301lie ") == "Am\u00e9lie"
