"""Stages beside each other: what may begin while chunks are still being transcribed, and what a failure means."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from core.errors import AudioUndecodable, ChunkFailed, EngineUnavailable
from core.jobs.job import Claim
from core.jobs.tasks import TRANSCRIBE, Lease, Task, TaskState
from core.objects.local import LocalObjects
from core.system.cancel import Cancel
from tests.faults.stages import Fingerprint, Shout
from tests.worker.kit import Kit
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.types import Call
from worker.context.stage import Grain, Lane, OnFailure, Output, Stage
from worker.context.upload import Upload
from worker.context.work import Work
from worker.stages import source
from worker.stages.catalogue import catalogue
from worker.stop import Stop


class Made(Stage):
    """Does what a test says."""

    name = "made"
    needs = ("decode",)

    def __init__(self, run: Callable[[Work, Task], dict[str, Any] | None], **traits: Any) -> None:
        self._run = run
        for name, value in traits.items():
            setattr(self, name, value)

    def run(self, work: Work, task: Task) -> Output:
        return Output(data=self._run(work, task))


class Waiting(ScriptedEngine):
    """Does no chunk from the fifth on before `go` is set."""

    def __init__(self, go: threading.Event, **script: Any) -> None:
        super().__init__(**script)
        self._go = go

    def transcribe(self, model, pcm, options, call=Call()):
        if int(call.label.removeprefix("chunk ").partition("/")[0]) >= 5:
            assert self._go.wait(20), "nothing was given out before the last chunk was done"
        return super().transcribe(model, pcm, options, call)


class Hearing(ScriptedEngine):
    """Tells the language beside the text."""

    hears_languages = True

    def transcribe(self, model, pcm, options, call=Call()):
        return replace(super().transcribe(model, pcm, options, call), languages={"en": 0.99})


def kit(folder: Path, *more: Stage, rules: tuple[Rule, ...] = (), go: threading.Event | None = None) -> Kit:
    made = Kit(folder, *rules)
    made.stages = catalogue(*more)
    if go is not None:
        engine = Waiting(go, call_log=made.call_log)
        made.parts = replace(made.parts, transcriber=WhisperTranscriber(engine, made.parts.transcriber.downloader))
    return made


def test_segments_go_on_while_later_chunks_are_transcribed(tmp_path: Path, minute: bytes) -> None:
    seen = threading.Event()

    def say(work: Work, task: Task) -> dict[str, Any]:
        seen.set()
        return {"text": work.segments[task.number].text}

    place = kit(tmp_path, Made(say, needs=(TRANSCRIBE,), grain=Grain.SEGMENT, lane=Lane.IO), go=seen)
    job = place.submit(minute)
    assert place.run() == "completed"
    said = [segment["text"] for segment in place.result(job)["segments"]]
    assert [(task.output or {})["text"] for task in place.store.tasks(job.id, "made")] == said


def test_a_stage_by_chunk_goes_on_chunk_by_chunk_and_one_by_job_beside_it(tmp_path: Path, minute: bytes) -> None:
    both = threading.Barrier(3, timeout=20)

    def beside(work: Work, task: Task) -> None:
        both.wait()

    place = kit(
        tmp_path,
        Made(beside),
        Made(beside, name="other"),
        Made(
            lambda work, task: both.wait() and None if task.number == 1 else None,
            name="touch",
            needs=(TRANSCRIBE,),
            grain=Grain.CHUNK,
        ),
    )
    job = place.submit(minute)
    assert place.run() == "completed"
    stages = [task.stage for task in place.store.tasks(job.id) if task.state is TaskState.DONE]
    chunks = len(place.chunks(job))
    assert sorted(stages) == sorted(["made", "other", *["touch"] * chunks, *[TRANSCRIBE] * chunks])


@pytest.mark.parametrize("error", [AudioUndecodable("no"), EngineUnavailable(), RuntimeError("secret detail")])
def test_a_stage_that_degrades_costs_a_warning_and_no_word(tmp_path: Path, minute: bytes, error: Exception) -> None:
    def broken(work: Work, task: Task) -> None:
        raise error

    place = kit(tmp_path, Made(broken, on_failure=OnFailure.DEGRADE))
    calm = kit(tmp_path / "calm")
    job, other = place.submit(minute), calm.submit(minute)
    assert (place.run(), calm.run()) == ("completed", "completed")
    assert place.result(job)["segments"] == calm.result(other)["segments"]
    (warning,) = place.result(job)["warnings"]
    assert warning["code"] == "made_failed" and "secret" not in warning["message"]
    (task,) = place.store.tasks(job.id, "made")
    assert task.state is TaskState.FAILED


def test_an_engine_that_is_away_for_a_moment_costs_a_stage_that_degrades_nothing(tmp_path: Path, minute: bytes) -> None:
    calls: list[int] = []

    def away_once(work: Work, task: Task) -> dict[str, Any]:
        calls.append(task.number)
        if len(calls) == 1:
            raise EngineUnavailable
        return {"tries": len(calls)}

    place = kit(tmp_path, Made(away_once, on_failure=OnFailure.DEGRADE))
    job = place.submit(minute)
    assert place.run() == "completed" and place.result(job)["warnings"] == []
    assert place.store.tasks(job.id, "made")[0].output == {"tries": 2}


def test_a_stage_that_must_not_fail_ends_the_job(tmp_path: Path, minute: bytes) -> None:
    def broken(work: Work, task: Task) -> None:
        raise ChunkFailed("no")

    place = kit(tmp_path, Made(broken))
    place.submit(minute)
    assert place.run() == "failed chunk_failed"


def test_a_failed_chunk_has_no_segments_and_keeps_none_back(tmp_path: Path, minute: bytes) -> None:
    place = kit(tmp_path, Shout(tmp_path / "log"), rules=(Rule(kind="crash", label="chunk 3/*"),))
    job = place.submit(minute)
    assert place.run() == "completed"
    said = [segment["text"].upper() for segment in place.result(job)["segments"]]
    assert [(task.output or {})["text"] for task in place.store.tasks(job.id, "shout")] == said


def test_interrupted_stages_go_on_where_they_were(tmp_path: Path, minute: bytes) -> None:
    log = tmp_path / "log"
    place = kit(tmp_path, Fingerprint(log), Shout(log))
    place.script(delay=0.02)
    job = place.submit(minute)
    for chunks in (1, 3, 5):
        place.run_until(job, chunks)
    assert place.run() == "completed" if not place.job(job).terminal else True
    lines = [line.split()[1:] for line in log.read_text().splitlines()]
    shouts = [number for stage, number in lines if stage == "shout"]
    assert len(shouts) == len(set(shouts)) == len(place.result(job)["segments"])
    (task,) = place.store.tasks(job.id, "fingerprint")
    assert (task.output or {})["samples"] == 60 * 16_000


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_a_chunk_that_another_works_on_is_waited_for(tmp_path: Path, minute: bytes, crashed: bool, ends: bool) -> None:
    """ends: it is done there; else whoever had it dies, and it is done here. Meanwhile it alone is looked at."""
    place = kit(tmp_path)
    place.script(delay=0.15)
    job = place.submit(minute)
    place.run_until(job, 2)
    place.script()
    chunk = next(task for task in place.chunks(job) if not task.ended)
    claim = place.store.claim(owner="dead", consumer="test", lease_seconds=30)
    assert claim is not None and (not crashed or place.store.take(claim, chunk))
    place.store.free_owner("dead")
    lease = place.store.help_with(job.id, chunk, owner="helper", lease_seconds=30)
    assert lease is not None
    refused = threading.Event()
    output = place.chunks(job)[0].output

    def help_on() -> None:
        refused.wait(20)
        if ends:
            place.store.commit(lease, replace(chunk, state=TaskState.DONE, output=output))
        else:
            place.store.free_owner("helper")

    take = place.store.take

    def seen(claim: Claim, part: Task) -> Lease | None:
        found = take(claim, part)
        if found is None:
            refused.set()
        return found

    tasks, looks = place.store.tasks, []

    def look(job_id: str, stage: str | None = None, numbers: Collection[int] | None = None) -> list[Task]:
        looks.append(numbers if numbers is None else list(numbers))
        return tasks(job_id, stage, numbers)

    place.store.take, place.store.tasks = seen, look  # type: ignore[method-assign]
    helper = threading.Thread(target=help_on)
    helper.start()
    outcome: list[str] = []
    run = threading.Thread(target=lambda: outcome.append(place.run()), daemon=True)
    run.start()
    run.join(20)
    helper.join()
    assert outcome == ["completed"] and refused.is_set()
    assert looks[0] is None and looks[-1] is None, "at the beginning, and to put all together"
    assert looks[1:-1] and all(one == [chunk.number] for one in looks[1:-1])
    assert all(task.state is TaskState.DONE for task in place.chunks(job))


def test_what_is_left_of_a_job_whose_chunks_are_done_waits_for_no_file(tmp_path: Path, minute: bytes) -> None:
    def stopped(work: Work, task: Task) -> None:
        place.stop.set()
        while not work.cancel.is_set():
            work.lease_keeper.wait(0.01)
        work.check()

    place = kit(tmp_path, Made(stopped, needs=(TRANSCRIBE,)))
    job = place.submit(minute)
    assert place.run() == "handed back"
    place.stop = Stop()
    place.stages = catalogue(Made(lambda work, task: None, needs=(TRANSCRIBE,)))
    outcome: list[str] = []
    run = threading.Thread(target=lambda: outcome.append(place.run()), daemon=True)
    run.start()
    run.join(20)
    place.stop.set()
    assert outcome == ["completed"] and place.job(job).chunks_done == len(place.chunks(job))


def test_a_retry_takes_over_what_other_stages_have_finished(tmp_path: Path, minute: bytes) -> None:
    log = tmp_path / "log"
    place = kit(tmp_path, Fingerprint(log), rules=(Rule(kind="crash", label="chunk 3/*"),))
    first = place.submit(minute)
    assert place.run() == "completed"
    place.script()
    second = place.submit(minute, retry_of=first.id)
    assert place.run() == "completed" and not place.job(second).partial
    assert len(log.read_text().splitlines()) == 1
    assert place.store.tasks(second.id, "fingerprint") == place.store.tasks(first.id, "fingerprint")


def test_a_retry_takes_over_nothing_that_was_made_of_a_gap(tmp_path: Path, minute: bytes) -> None:
    """The segments behind it have other numbers now."""
    place = kit(tmp_path, Shout(tmp_path / "log"), rules=(Rule(kind="crash", label="chunk 3/*"),))
    first = place.submit(minute)
    assert place.run() == "completed" and place.job(first).partial
    place.script()
    second = place.submit(minute, retry_of=first.id)
    assert place.run() == "completed" and not place.job(second).partial
    said = [segment["text"].upper() for segment in place.result(second)["segments"]]
    assert [(task.output or {})["text"] for task in place.store.tasks(second.id, "shout")] == said


def test_the_identity_of_a_stage_is_that_of_what_it_needs_too() -> None:
    class Options(Made):
        def options(self, work: Work) -> dict[str, Any]:
            return work  # type: ignore[return-value]

    def identity(needs: Sequence[str] = (), traits: dict[str, Any] | None = None, **given: Any) -> str:
        return Options(lambda work, task: None, **traits or {}).identity(given, needs)  # type: ignore[arg-type]

    assert identity(a=1, b=2) == identity(b=2, a=1) != identity(a=1)
    assert identity(a=1) != identity(a=1, traits={"version": "2"})
    assert identity(["x"], a=1) != identity(["y"], a=1)
    assert len(identity()) == len(hashlib.sha256().hexdigest())


def test_another_file_has_another_identity_and_a_known_language_changes_none(tmp_path: Path, minute: bytes) -> None:
    place = kit(tmp_path, Made(lambda work, task: None, needs=("language", "decode")))
    jobs = [place.submit(minute), place.submit(minute, language="en"), place.submit(minute + b"\0\0")]
    assert [place.run() for _ in jobs] == ["completed"] * 3
    first, named, other = (place.store.tasks(job.id, "made")[0].identity for job in jobs)
    assert len({first, named, other}) == 3
    again = place.submit(minute)
    place.run_until(again, 1)  # the language is known then
    if not place.job(again).terminal:
        assert place.run() == "completed"
    assert place.store.tasks(again.id, "made")[0].identity == first


def test_a_window_asked_for_its_language_late_takes_no_chunk_away(
    tmp_path: Path, minute: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease comes (from a database that was away, say) after that of the chunk itself."""
    place = kit(tmp_path)
    engine = Hearing(call_log=place.call_log)
    place.parts = replace(place.parts, transcriber=WhisperTranscriber(engine, place.parts.transcriber.downloader))
    take, asked, taken = place.store.take, threading.Semaphore(1), threading.Event()

    def late(claim: Claim, part: Task) -> Lease | None:
        if part.number == 1 and asked.acquire(blocking=False):
            assert taken.wait(20)
            return take(claim, part)
        lease = take(claim, part)
        if part.number == 1:
            taken.set()
        return lease

    monkeypatch.setattr(place.store, "take", late)
    job = place.submit(minute)
    assert place.run() == "completed" and taken.is_set()
    assert place.job(job).chunks_done == len(place.chunks(job))


def test_a_file_that_is_damaged_in_the_store_is_not_called_undecodable(tmp_path: Path, minute: bytes) -> None:
    place = kit(tmp_path)
    job = place.submit(minute)
    path = tmp_path / "objects" / job.source.key
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF" + bytes(job.source.bytes - 4))
    place.parts = replace(place.parts, objects=LocalObjects(tmp_path / "objects"))
    assert place.run() == "failed source_corrupt"
    assert not place.chunks(job)


def test_nothing_is_planned_on_a_file_that_may_be_damaged(
    tmp_path: Path, minute: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry would take it over, with the speech that was not there, when the file has been restored."""
    place = kit(tmp_path)
    job = place.submit(minute)
    path = tmp_path / "objects" / job.source.key
    path.parent.mkdir(parents=True)
    path.write_bytes(minute[: len(minute) // 2] + bytes(len(minute) // 2))
    place.parts = replace(place.parts, objects=LocalObjects(tmp_path / "objects"))
    found = threading.Event()
    verify, plan, blocks = Upload.verify, place.store.plan, source._blocks

    def asked(upload: Upload) -> None:
        found.set()
        verify(upload)

    def planned(claim: Claim, tasks: Sequence[Task]) -> None:
        plan(claim, tasks)
        found.set()

    def late(data: BinaryIO, cancel: Cancel) -> Iterator[bytes]:
        assert found.wait(20), "no chunk was found"
        yield from blocks(data, cancel)

    monkeypatch.setattr(Upload, "verify", asked)
    monkeypatch.setattr(place.store, "plan", planned)
    monkeypatch.setattr(source, "_blocks", late)
    assert place.run() == "failed source_corrupt"
    assert not place.chunks(job)
