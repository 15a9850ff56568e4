"""Solo mode under real signals: whatever dies, the job ends once, complete, with no finished chunk computed again."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import suppress

import httpx
import pytest

from testbed.service import ENDED, Service, audio, running


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Four minutes: long enough to be hit in the middle."""
    return audio(tmp_path_factory.mktemp("talk"), minutes=4, seed=21, name="talk.flac")[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Whatever is killed of it, its supervisor starts again."""
    with running(tmp_path_factory.mktemp("shared")) as service:
        yield service


@pytest.fixture(scope="module")
def undisturbed(shared, talk):
    job = shared.wait(shared.submit(talk)["id"])
    return shared.result(job["id"]).json()["segments"]


def engine_calls(service: Service, job_id: str) -> dict[int, int]:
    """How often each chunk was committed, from the log."""
    calls: dict[int, int] = {}
    for found in re.finditer(rf"{job_id} \[(\d+)/[\d?]+\] Completed", service.log):
        calls[int(found[1])] = calls.get(int(found[1]), 0) + 1
    return calls


def kill(service: Service, title: str) -> int:
    victims = service.processes(title)
    assert victims, f"no process {title!r}"
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none takes over the work of another
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, number)
    return len(victims)


def midway(service: Service, talk) -> str:
    job = service.submit(talk)
    service.wait(job["id"], lambda j: j["progress"]["chunks_done"] >= 2)
    return job["id"]


def check(service: Service, job_id: str, undisturbed) -> dict:
    done = service.wait(job_id)
    assert (done["status"], done["partial"]) == ("completed", False), done
    assert service.result(job_id).json()["segments"] == undisturbed
    calls = engine_calls(service, job_id)
    assert set(calls.values()) == {1}, f"chunks committed more than once: {calls}"
    return done


@pytest.mark.parametrize("title", ["whisper worker", "whisper host", "whisper manager", "parascribe.run.consumer_main"])
def test_kill_9_of_a_process_loses_nothing(shared, talk, undisturbed, title):
    job_id = midway(shared, talk)
    kill(shared, title)
    check(shared, job_id, undisturbed)


def test_kill_9_of_the_job_process_frees_its_lease_at_once(tmp_path, talk, undisturbed):
    with running(tmp_path, LEASE_SECONDS="120") as service:
        job_id = midway(service, talk)
        with sqlite3.connect(tmp_path / "data" / "parascribe.db") as database:
            (owner,) = database.execute("select lease_owner from job where id = ?", (job_id,)).fetchone()
        os.kill(int(owner.rpartition("/")[2].partition(":")[0]), signal.SIGKILL)
        done = check(service, job_id, undisturbed)
        assert done["attempts"] == 2


def test_kill_9_of_everything_and_start_again(tmp_path, talk, undisturbed):
    service = Service(tmp_path, LEASE_SECONDS="120").start()
    job_id = midway(service, talk)
    assert service.process is not None
    service.process.kill()
    service.process.wait()
    service.assert_gone()
    service.start()
    check(service, job_id, undisturbed)
    service.stop()


def test_sigterm_hands_back_without_costing_an_attempt(tmp_path, talk, undisturbed):
    service = Service(tmp_path).start()
    job_id = midway(service, talk)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 15
    assert not list((tmp_path / "data" / "work").glob("*-*")), "work folders left behind"
    with sqlite3.connect(tmp_path / "data" / "parascribe.db") as database:
        assert database.execute("select status, lease_owner from job where id = ?", (job_id,)).fetchone() == (
            "queued",
            None,
        )
    service.start()
    done = check(service, job_id, undisturbed)
    assert done["attempts"] == 1
    service.stop()


def test_ctrl_c_twice_is_quick(tmp_path, talk):
    service = Service(tmp_path, SHUTDOWN_SECONDS="60", MAX_PARALLEL_WORKERS="1").start()
    midway(service, talk)
    assert service.process is not None
    service.process.send_signal(signal.SIGINT)
    service.wait_log("Stopping")
    began = time.monotonic()
    assert service.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 15  # of 60


def test_kill_9_of_the_api_is_mended(shared, talk, undisturbed):
    job_id = midway(shared, talk)
    before = shared.log_file.stat().st_size
    kill(shared, "parascribe.run.api_main")
    shared.wait_log("Started api", since=before)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{shared.url}/healthz", timeout=10).raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    check(shared, job_id, undisturbed)


def test_a_job_that_crashes_its_process_every_time_fails_with_a_code(tmp_path, talk):
    """MAX_ATTEMPTS deaths without a finished chunk end it, and the queue goes on."""
    with running(tmp_path, MAX_ATTEMPTS="2", MAX_CONCURRENT_JOBS="1", WHISPER_MODEL="demo") as service:
        job = service.submit(talk)
        deaths = 0
        while (state := service.job(job["id"]))["status"] not in ENDED:
            with sqlite3.connect(tmp_path / "data" / "parascribe.db") as database:
                (owner,) = database.execute("select lease_owner from job where id = ?", (job["id"],)).fetchone()
            if owner and state["progress"]["chunks_done"] == 0:
                pid = int(owner.rpartition("/")[2].partition(":")[0])
                try:
                    os.kill(pid, signal.SIGKILL)
                    deaths += 1
                except ProcessLookupError:
                    pass
            assert deaths < 20
            time.sleep(0.01)
        assert state["error"]["code"] == "worker_crashed"
        small, _ = audio(tmp_path, minutes=0.1, seed=1)
        assert service.wait(service.submit(small)["id"])["status"] == "completed"
