"""200 single faults against the flow, by number: see tests/faults/seeds.py."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import JobNotFound
from core.system import crashpoints
from testbed.faults import made
from testbed.faults.installation import ROOT
from testbed.faults.invariants import Accepted, check_jobs, leftovers, read_calls
from tests.core.store_kit import consumer
from tests.faults.seeds import Place
from whisper.engine.scripted import ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber

SEEDS = 200
AT_ONCE = 2


def test_killed_twenty_times_in_a_row(tmp_path: Path) -> None:
    """Each time as soon as one more chunk is done: the letter-same transcript, whatever was in flight beside it."""
    place = Place(tmp_path)
    place.warm()
    calls = tmp_path / "script"
    engine = ScriptedEngine(delay=0.02, call_log=calls)
    parts = replace(place.parts, transcriber=WhisperTranscriber(engine, place.parts.transcriber.downloader))
    data = made.noise(300)
    job = made.submit(place.store, place.objects, data, language="en")
    for _ in range(20):
        place.run_once(parts, random.Random(0), "many kills", job_id=job.id)
    state = place.store.get(job.id)
    assert not state.terminal and state.attempts == 20 and place.chunks_done(job.id) >= 20
    place.run_once(parts, random.Random(0))
    want = Accepted(id=job.id, sha256=job.source.sha256, text=made.heard(tmp_path / "calm", data))
    found = check_jobs(place.store, place.objects, [want], read_calls(calls))
    assert not found.broken and found.in_flight >= 10, found
    assert not place.store.get(job.id).partial
    place.close()


@pytest.mark.parametrize("point", ["after_send", "after_drop"])
def test_a_sweeper_killed_between_two_steps_is_followed_up_by_the_next(tmp_path: Path, point: str) -> None:
    """The two crash points that no run of a job passes; with servers: test_api.py."""
    place = Place(tmp_path)
    place.store.beat("consumer", consumer(2))  # hints are for slots that are free
    data = made.noise(8)
    jobs = [made.submit(place.store, place.objects, data, language="en") for _ in range(2)]
    want = [Accepted(id=job.id, sha256=job.source.sha256, text=made.heard(tmp_path / "calm", data)) for job in jobs]
    if point == "after_drop":
        for _ in jobs:
            place.run_once(place.parts, random.Random(0))
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
            place.run_once(place.parts, random.Random(0))
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
    place.close()


@pytest.mark.timeout(600)
def test_single_faults() -> None:
    ranges = [f"{SEEDS * n // AT_ONCE}-{SEEDS * (n + 1) // AT_ONCE - 1}" for n in range(AT_ONCE)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.seeds", "--seeds", seeds],
            cwd=ROOT,
            text=True,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for seeds in ranges
    ]
    said = [process.communicate()[0] for process in running]
    for process, output in zip(running, said, strict=True):
        print(output.splitlines()[-1])
        assert process.returncode == 0, output[-8000:]
        assert f"{SEEDS // AT_ONCE} seeds" in output and " 0 broken invariants" in output
