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

from testbed.service import Service, audio, running


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A dozen chunks: long enough to be hit in the middle."""
    return audio(tmp_path_factory.mktemp("talk"), minutes=1, seed=21, name="talk.flac")[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Whatever is killed of it, its supervisor or the test starts again. Nothing waits for a lease, nor for a grace, to end."""
    folder = tmp_path_factory.mktemp("shared")
    with running(
        folder, LEASE_SECONDS="120", SHUTDOWN_SECONDS="60", CHUNK_DURATION="5", ENCODER_CONTEXT="fit"
    ) as service:
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


def lease_owner(service: Service, job_id: str) -> tuple[str, str | None]:
    with sqlite3.connect(service.folder / "data" / "parascribe.db") as database:
        status, owner = database.execute("select status, lease_owner from job where id = ?", (job_id,)).fetchone()
        return status, owner


def test_kill_9_of_the_job_process_frees_its_lease_at_once(shared, talk, undisturbed):
    job_id = midway(shared, talk)
    _, owner = lease_owner(shared, job_id)
    os.kill(int(owner.rpartition("/")[2].partition(":")[0]), signal.SIGKILL)
    done = check(shared, job_id, undisturbed)
    assert done["attempts"] == 2


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


def test_kill_9_of_everything_costs_an_attempt_and_sigterm_hands_back_without_one(shared, talk, undisturbed):
    job_id = midway(shared, talk)
    assert shared.process is not None
    shared.process.kill()
    shared.process.wait()
    shared.assert_gone()
    shared.start()
    found = shared.wait(job_id, lambda j: j["progress"]["chunks_done"] >= 4)
    assert (found["status"], found["attempts"]) == ("processing", 2)

    began = time.monotonic()
    assert shared.stop() == 0
    assert time.monotonic() - began < 15
    assert not list((shared.folder / "data" / "work").glob("*-*")), "work folders left behind"
    assert lease_owner(shared, job_id) == ("queued", None)
    shared.start()
    done = check(shared, job_id, undisturbed)
    assert done["attempts"] == 2


def test_ctrl_c_twice_is_quick(shared, talk):
    """The last one here: nothing runs after it."""
    midway(shared, talk)
    assert shared.process is not None
    before = shared.log_file.stat().st_size
    shared.process.send_signal(signal.SIGINT)
    shared.wait_log("Stopping", since=before)
    began = time.monotonic()
    assert shared.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 15  # of 60
