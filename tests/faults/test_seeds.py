"""200 single faults against the flow, by number: see tests/faults/seeds.py."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import JobNotFound
from core.system import crashpoints
from testbed.faults import made
from testbed.faults.invariants import Accepted, check_jobs, leftovers, read_calls
from tests.core.store_kit import consumer
from tests.faults.seeds import Place
from whisper.engine.scripted import ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber

SEEDS = 200
AT_ONCE = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all: what it has compiled, the children of the next test need not."""
    place = Place(tmp_path_factory.mktemp("seeds"))
    place.warm()
    yield place
    place.close()


def test_killed_twenty_times_in_a_row(place: Place, tmp_path: Path) -> None:
    """Each time as soon as one more chunk is done: the letter-same transcript, whatever was in flight beside it."""
    calls = tmp_path / "script"
    engine = ScriptedEngine(delay=0.02, call_log=calls)
    parts = replace(place.parts, transcriber=WhisperTranscriber(engine, place.parts.transcriber.downloader))
    data = made.noise(240)
    job = made.submit(place.store, place.objects, data, language="en")
    for _ in range(20):
        place.run_once(parts, random.Random(0), "many kills", job_id=job.id)
    state = place.store.get(job.id)
    assert not state.terminal and state.attempts == 20 and place.chunks_done(job.id) >= 20
    assert place.run_here(parts) == "completed"
    want = Accepted(id=job.id, sha256=job.source.sha256, text=made.heard(tmp_path / "calm", data))
    found = check_jobs(place.store, place.objects, [want], read_calls(calls))
    assert not found.broken and found.in_flight >= 10, found
    assert not place.store.get(job.id).partial


@pytest.mark.parametrize("point", ["after_send", "after_drop"])
def test_a_sweeper_killed_between_two_steps_is_followed_up_by_the_next(
    place: Place, tmp_path: Path, point: str
) -> None:
    """The two crash points that no run of a job passes; with servers: test_api.py."""
    place.store.beat("consumer", consumer(2))  # hints are for slots that are free
    data = made.noise(8)
    jobs = [made.submit(place.store, place.objects, data, language="en") for _ in range(2)]
    want = [Accepted(id=job.id, sha256=job.source.sha256, text=made.heard(tmp_path / "calm", data)) for job in jobs]
    if point == "after_drop":
        for _ in jobs:
            assert place.run_here(place.parts) == "completed"
        place.store.request_delete(want.pop().id)
    if (pid := os.fork()) == 0:
        try:
            crashpoints.arm(point)
            place.sweeper.send_hints()
            place.sweeper.sweep_once()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == crashpoints.EXIT
    if point == "after_send":
        assert [job_id for _, job_id in place.store.unsent(10)] == [job.id for job in jobs], "sent, and nobody knows"
        assert place.sweeper.send_hints() == 2, "so they are sent again"
        for _ in jobs:
            assert place.run_here(place.parts) == "completed"
        assert [place.store.get(job.id).attempts for job in jobs] == [1, 1]
    else:
        gone = jobs[-1].id
        assert [job.id for job in place.store.removable(limit=10)] == [gone], "the row says what is still to do"
        assert not list(place.objects.keys(f"jobs/{gone}/"))
        place.sweeper.sweep_once()
        assert not place.store.removable(limit=10)
        with pytest.raises(JobNotFound):
            place.store.get(gone)
    found = check_jobs(place.store, place.objects, want, [])
    assert not found.broken + leftovers(place.store, place.objects, [place.work], want)
    place.store.leave("consumer")


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_single_faults(place: Place, first: int) -> None:
    broken = []
    for seed in range(first, first + AT_ONCE):
        kind, found = place.run_seed(seed)
        assert found.jobs == 1, "checked"
        broken += [f"seed {seed} ({kind}): {line}" for line in found.broken]
    place.sweeper.sweep_once()
    assert not broken, "\n".join(broken)
    assert not list(place.work.glob("*-*.*")), "the sweep leaves no work folder of the dead"
