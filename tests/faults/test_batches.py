"""A batch while the API and a consumer are killed: nothing is lost, nothing comes twice."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx

from testbed.faults import made
from testbed.faults.invariants import Accepted
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from testbed.service import PLAIN
from tests.faults.test_api import kill_api

FILES, SECONDS, UPLOADS = 8, 6, 3


def patiently(rig: Rig, method: str, path: str, **request: object) -> httpx.Response:
    """As a client does that goes on until it is answered."""
    deadline = time.monotonic() + 90  # what is killed has to start again, and the machine may be busy
    while True:
        try:
            answer = httpx.request(method, rig.url + path, timeout=15, verify=PLAIN, **request)  # type: ignore[arg-type]
            if answer.status_code < 500 and answer.json().get("code") != "idempotency_in_flight":
                return answer
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


def kill_consumer(rig: Rig) -> None:
    if rig.servers is not None:
        rig.kill_tree("consumer-1")
    else:
        os.kill(rig.processes("testbed.faults.consumer_main")[0].pid, signal.SIGKILL)


def test_kill_9_of_api_and_consumer_on_the_way(either: Rig) -> None:
    batch_id = patiently(either, "POST", "/api/v1/batches", json={"params": {"language": "en"}}).json()["id"]
    path = f"/api/v1/batches/{batch_id}"
    files = [made.noise(SECONDS, seed) for seed in range(100, 100 + FILES)]
    heard = [made.heard(either.folder / "calm", data) for data in files]

    def send(n: int) -> str:
        answer = patiently(
            either,
            "POST",
            "/api/v1/jobs",
            files={"file": (f"{n}.wav", files[n])},
            data={"batch": batch_id},
            headers={"Idempotency-Key": f"{batch_id}-{n}"},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    batches = either.store.batches_of(None)
    with ThreadPoolExecutor(UPLOADS) as pool:
        sent = [pool.submit(send, n) for n in range(FILES)]
        wait_for(lambda: batches.tally(batch_id)[1].jobs >= 2)
        kill_consumer(either)
        kill_api(either)
        either.heal()
        ids = [one.result() for one in sent]
    assert len({*ids}) == FILES
    either.accepted += [
        Accepted(id=job_id, sha256=hashlib.sha256(data).hexdigest(), text=text)
        for job_id, data, text in zip(ids, files, heard, strict=True)
    ]
    patiently(either, "POST", f"{path}/close")
    if either.servers is None:  # what a close has said is in the table: the database is where the two differ
        kill_api(either)
        either.heal()
    wait_for(lambda: patiently(either, "GET", path).json()["status"] == "completed", 40)
    counts = patiently(either, "GET", path).json()["counts"]
    assert (counts["total"], counts["completed"]) == (FILES, FILES)
    archive = httpx.get(f"{either.url}{path}/results.zip", params={"format": "txt"}, timeout=15, verify=PLAIN)
    found = zipfile.ZipFile(io.BytesIO(archive.content))
    assert {*found.namelist()} == {f"{n}.txt" for n in range(FILES)}
    for n, text in enumerate(heard):
        assert found.read(f"{n}.txt").decode().split() == text.split()
