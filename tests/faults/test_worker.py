"""Rows 1-8: job processes, consumers and the engine die, hang or freeze; each job ends once, complete."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.jobs.tasks import TRANSCRIBE
from testbed.faults import made
from testbed.faults.invariants import Accepted, check_jobs, leftovers
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from testbed.service import audio
from tests.faults.seeds import Place
from whisper.engine.cli_engine import CliEngine
from whisper.engine.transcriber import WhisperTranscriber
from worker.pools.solo import IDLE_SECONDS

MUTE = """#!{python} -I
import sys
if "--help" in sys.argv:
    print("usage: -m FNAME -f FNAME -l LANG -t N -oj -ojf -np")
for word, file in zip(sys.argv, sys.argv[1:]):
    if word == "-f":
        good = '{{"result": {{"language": "en"}}, "transcription": []}}'
        open(file + ".json", "w").write(good if "silence" in file else "{{]")
"""
"""A whisper-cli that works, as far as the check with a second of silence sees, and then exits 0 and leaves no JSON."""


def test_01_kill_9_of_a_job_process(cluster: Rig) -> None:
    job = cluster.midway()
    os.kill(owner := cluster.owner(job), signal.SIGKILL)
    cluster.logged(rf"Freed the leases of dead process \S+/{owner}:")
    assert cluster.ended(job).attempts == 2
    assert cluster.check(stop=False).in_flight >= 1


def test_02_kill_9_of_a_consumer_is_taken_over_when_its_lease_ends(cluster: Rig) -> None:
    job = cluster.midway()
    before = cluster.store.get(job).fence
    cluster.kill_tree(cluster.holder(job))
    killed = time.monotonic()
    wait_for(lambda: cluster.store.get(job).fence > before, 30)
    assert time.monotonic() - killed < 6 + 5, "later than lease and a few sweeps (I12)"


def test_03_sigterm_hands_back_without_costing_an_attempt(cluster: Rig) -> None:
    job = cluster.midway(held=True)
    process = cluster.processes_[cluster.holder(job)]
    began = time.monotonic()
    process.terminate()
    assert process.wait(20) == 0 and time.monotonic() - began < 15
    cluster.release()
    done = cluster.ended(job)
    assert (done.attempts, done.fence) == (1, 2), "handed back once, at no cost"
    assert cluster.check(stop=False).in_flight == 0


def test_05_a_frozen_whisper_worker_is_replaced_at_its_deadline(own_solo: Callable[..., Rig], tmp_path: Path) -> None:
    rig = own_solo(
        script={"real": True},
        WHISPER_EXECUTABLE="",
        CHUNK_STRATEGY="vad",
        CHUNK_DURATION="10",
        ENCODER_CONTEXT="fit",
        CHUNK_TIMEOUT="3",
    )
    path, truth = audio(tmp_path, minutes=0.7, seed=5)
    job = rig.submit(path, language="en")
    wait_for(lambda: rig.store.get(job["id"]).chunks_done >= 1, 30)
    frozen = wait_for(lambda: [p for p in rig.processes("whisper worker") if p.status() == psutil.STATUS_RUNNING][:1])
    frozen[0].suspend()
    done = rig.ended(job["id"], 60)
    assert (done.status, done.partial, done.attempts) == ("completed", False, 1), done
    assert not frozen[0].is_running() or frozen[0].status() == psutil.STATUS_ZOMBIE
    assert "trying once more" in rig.log
    assert len(rig.result(job["id"]).json()["text"].split()) > 0.9 * len(truth["text"].split())


def test_06_an_engine_that_says_nothing_of_use_fails_the_job_with_a_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "whisper-cli"
    program.write_text(MUTE.format(python=sys.executable))
    program.chmod(0o755)
    place = Place(tmp_path)
    engine = CliEngine(program, tmp_path / "engine")
    parts = replace(place.parts, transcriber=WhisperTranscriber(engine, place.parts.transcriber.downloader))
    job = made.submit(place.store, place.objects, made.noise(10), language="en")
    assert place.run_here(parts) == "failed chunk_failed"
    engine.close()
    error, chunks = place.store.get(job.id).error, place.store.tasks(job.id, TRANSCRIBE)
    assert error is not None and error.code == "chunk_failed"
    assert chunks and caplog.text.count("trying once more") == len(chunks), "each chunk has a second try, and no third"
    want = Accepted(id=job.id, sha256=job.source.sha256, ends=frozenset({"failed"}))
    found = check_jobs(place.store, place.objects, [want], ())
    assert not found.broken + leftovers(place.store, place.objects, [place.work], [want])
    place.close()


def test_07_poison_ends_with_a_code_and_holds_up_nobody(either: Rig) -> None:
    poison = either.upload(8, language="", compare=False, ends="failed")
    job = either.upload(8, seed=2)
    assert either.ended(job).attempts == 1
    done = either.ended(poison, 60)
    assert (done.error.code, done.attempts) == ("worker_crashed", 3)


def test_08_an_owner_frozen_past_its_lease_writes_nothing_when_it_wakes(either: Rig) -> None:
    job = either.midway()
    frozen = psutil.Process(either.owner(job))
    before = either.store.get(job)
    either.freeze(frozen)
    wait_for(lambda: either.store.get(job).fence > before.fence, 30)
    successor = either.store.get(job).lease_owner
    frozen.resume()
    done = either.ended(job)
    assert done.fence == before.fence + 1 and successor != before.lease_owner
    either.logged("Let go: ")
    assert done.result_key.endswith(f"result.{done.fence}.json")


def test_08_an_owner_stopped_inside_a_transaction_does_not_lock_sqlite_for_ever(solo: Rig) -> None:
    job = solo.midway()
    owner = solo.owner(job)
    (solo.folder / f"stop.{owner}").touch()
    solo.logged(rf"Process {owner} was stopped and may have kept the database locked", 90)
    assert solo.ended(job).attempts == 2


def test_job_processes_come_when_wanted_and_go_when_idle(solo: Rig) -> None:
    consumer = solo.processes("testbed.faults.consumer_main")[0]

    def jobs() -> list[psutil.Process]:
        found = []
        for process in consumer.children():
            with suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    wait_for(lambda: len(jobs()) == 1, 3 * IDLE_SECONDS)  # an idle service keeps one
    solo.hold(1)
    running = [solo.upload(30, seed=seed, compare=False) for seed in range(3)]
    wait_for(lambda: all(solo.store.get(job).status == "processing" for job in running))
    assert 3 <= len(jobs()) <= 4, "and one that looks for an interactive job, perhaps"
    busy = next(p for p in jobs() if p.pid == solo.owner(running[0]))
    busy.kill()
    solo.release()
    assert [solo.ended(job).status for job in running] == ["completed"] * 3, (
        "the killed one's job too, though nobody rang"
    )
    wait_for(lambda: len(jobs()) == 1, 3 * IDLE_SECONDS)
    (idle,) = jobs()
    solo.freeze(idle)
    assert solo.ended(solo.upload(8, seed=4)).status == "completed", "one that is stopped is not waited for"
    idle.resume()
