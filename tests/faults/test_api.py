"""Rows 20, 21, 24, 27, 28, and deletion: the API dies between two steps, clients misbehave, requests race."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg

from core.system import crashpoints
from testbed.faults import made
from testbed.faults.invariants import Accepted
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from testbed.service import PLAIN
from tests.faults.test_storage import collect, count


@contextmanager
def database_held(rig: Rig) -> Iterator[None]:
    """Nobody can write: another writer of SQLite, a silent PostgreSQL."""
    if rig.servers is not None:
        rig.servers.database.set("blackhole")
        yield
        rig.servers.database.set("reset")
        rig.servers.database.set("pass")
    else:
        database = sqlite3.connect(f"{rig.env['DATA_DIR']}/parascribe.db", isolation_level=None, timeout=10)
        database.execute("BEGIN IMMEDIATE")
        yield
        database.close()


@contextmanager
def writers_held(rig: Rig) -> Iterator[None]:
    """No job can be written. Reading goes on: who may come in is asked before a file is taken."""
    if rig.servers is None:
        with database_held(rig):
            yield
    else:
        with psycopg.connect(rig.servers.database_url.replace("+psycopg", "")) as connection:
            connection.execute("LOCK TABLE job IN EXCLUSIVE MODE")
            yield
            connection.rollback()


def kill_api(rig: Rig) -> None:
    if rig.servers is not None:
        rig.kill_tree("api")
    else:
        os.kill(rig.processes("testbed.faults.api_main")[0].pid, signal.SIGKILL)


def start_api(rig: Rig) -> None:
    """After it has died; where it has a supervisor, that has done it."""
    if rig.servers is not None:
        rig.start_api()
    else:
        wait_for(lambda: rig.get("/readyz").status_code == httpx.codes.OK)


def test_20_and_21_kill_9_between_object_and_row_and_between_row_and_hint(either: Rig) -> None:
    jobs, keys = count(either), set(either.objects.keys("jobs/"))
    outcome: list[object] = []
    data = made.noise(10)

    def send() -> None:
        try:
            outcome.append(
                httpx.post(
                    f"{either.url}/api/v1/jobs",
                    files={"file": ("a.wav", data)},
                    data={"language": "en"},
                    timeout=30,
                    verify=PLAIN,
                ).status_code
            )
        except httpx.HTTPError as error:
            outcome.append(error)

    with writers_held(either):
        sender = threading.Thread(target=send)
        sender.start()
        orphan = wait_for(lambda: set(either.objects.keys("jobs/")) - keys)
        either.arm("after_create")
        kill_api(either)
        sender.join(60)
    assert isinstance(outcome[0], httpx.HTTPError), f"the client was told {outcome}"
    start_api(either)
    assert count(either) == jobs
    assert collect(either) >= 1 and not orphan & set(either.objects.keys("jobs/"))
    before = {job.id for job in either.store.list()[0]}
    send()
    assert isinstance(outcome[1], httpx.HTTPError), f"the client was told {outcome}"
    (job,) = (job for job in either.store.list()[0] if job.id not in before)
    either.accepted.append(
        Accepted(id=job.id, sha256=hashlib.sha256(data).hexdigest(), text=made.heard(either.folder / "calm", data))
    )
    assert either.ended(job.id).attempts == 1, "committed, so it runs, although nobody sent a hint"


def test_21_kill_9_between_hint_and_outbox_and_in_the_middle_of_a_deletion(own_cluster: Callable[..., Rig]) -> None:
    """The broker has the hint, the outbox does not know: it is sent again, and the job runs once."""
    crash = [{"role": "api", "point": point} for point in ("after_send", "after_drop")]
    rig = own_cluster(consumers=0, script={"delay": 0.02, "crash": crash})
    data = made.noise(10)
    with suppress(httpx.HTTPError):  # answered or not, it is committed
        httpx.post(
            f"{rig.url}/api/v1/jobs", files={"file": ("a.wav", data)}, data={"language": "en"}, timeout=30, verify=PLAIN
        )
    assert rig.processes_["api"].wait(20) == crashpoints.EXIT
    (job,), _ = rig.store.list()
    assert [job_id for _, job_id in rig.store.unsent(10)] == [job.id]
    rig.accepted.append(
        Accepted(id=job.id, sha256=hashlib.sha256(data).hexdigest(), text=made.heard(rig.folder / "calm", data))
    )
    rig.start_api()
    wait_for(lambda: not rig.store.unsent(10))
    rig.start_consumer()
    done = rig.ended(job.id)
    assert (done.attempts, done.fence) == (1, 1)
    # a deletion that is broken off between objects and row is completed
    kept = rig.upload(8)
    assert rig.ended(kept).status == "completed"
    consumer = rig.processes_.pop("consumer-1")
    consumer.terminate()  # its sweeper too would remove the job
    assert consumer.wait(30) == 0
    with suppress(httpx.HTTPError):
        httpx.delete(f"{rig.url}/api/v1/jobs/{job.id}", timeout=30, verify=PLAIN)
    assert rig.processes_["api"].wait(20) == crashpoints.EXIT
    assert [row.id for row in rig.store.removable(limit=10)] == [job.id], "the row says what is still to do"
    assert not list(rig.objects.keys(f"jobs/{job.id}/"))
    rig.start_api()
    assert rig.get(f"/api/v1/jobs/{job.id}").status_code == 404
    wait_for(lambda: not rig.store.removable(limit=10))
    rig.accepted = [want for want in rig.accepted if want.id == kept]
    rig.check()


def test_24_clients_that_lie_or_leave_cost_nothing(either: Rig) -> None:
    jobs, keys = count(either), set(either.objects.keys("jobs/"))
    address = (urlsplit(either.url).hostname, urlsplit(either.url).port)
    head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + made.noise(8)
    leavers = []
    for _ in range(5):
        client = socket.create_connection(address)
        client.sendall(head + b"Content-Length: 9000000\r\n\r\n" + part[:200_000])
        leavers.append(client)
    bomb = socket.create_connection(address)
    sent = 0
    try:
        bomb.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        bomb.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        while sent < 200 << 20:
            bomb.sendall(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            sent += 1 << 20
    except OSError:
        pass
    assert sent < 150 << 20, (
        "MAX_UPLOAD_MB=40, what is read so that the answer arrives, and what lies in kernel buffers"
    )
    bomb.close()
    for client in leavers:
        client.close()
    api = either.processes("program api" if either.servers else "testbed.faults.api_main")[0]
    wait_for(
        lambda: either.told(r"POST /api/v1/jobs -> 499") == len(leavers)
    )  # said when all of an upload is cleared away
    wait_for(
        lambda: (
            len(
                [
                    c
                    for c in api.net_connections("tcp")
                    if c.status == psutil.CONN_ESTABLISHED and c.laddr.port == address[1]
                ]
            )
            == 0
        )
    )
    assert count(either) == jobs and set(either.objects.keys("jobs/")) == keys
    assert either.objects.abort_stale(0.0) == 0
    assert api.memory_info().rss < 400 << 20


def test_27_one_key_twenty_times_at_once_is_one_job(either: Rig) -> None:
    data, key = made.noise(8, 7), os.urandom(8).hex()

    def post(_: int) -> httpx.Response:
        return httpx.post(
            f"{either.url}/api/v1/jobs",
            files={"file": ("a.wav", data)},
            data={"language": "en"},
            headers={"Idempotency-Key": key},
            timeout=60,
            verify=PLAIN,
        )

    jobs = count(either)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    ids = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    assert len(ids) == 1 and count(either) == jobs + 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_in_flight"}
    either.accepted.append(
        Accepted(id=ids.pop(), sha256=hashlib.sha256(data).hexdigest(), text=made.heard(either.folder / "calm", data))
    )


def test_28_cancel_against_finish_has_one_winner(either: Rig) -> None:
    """About 0.4 s of work each, cancelled at moments all around its end."""
    ends: list[str] = []
    while len(ends) < 7 or (len(set(ends)) < 2 and len(ends) < 30):  # on a slow machine the work lasts longer
        n = len(ends)
        job = either.upload(5, seed=n, ends="completed/cancelled")
        wait_for(lambda job=job: either.store.get(job).status == "processing" or either.store.get(job).terminal)
        time.sleep(0.1 * n)
        answer = httpx.post(f"{either.url}/api/v1/jobs/{job}/cancel", timeout=10, verify=PLAIN)
        done = either.ended(job)
        if answer.status_code == 409:
            assert answer.json()["code"] == "already_terminal" and done.status == "completed"
        else:
            assert answer.is_success and done.status == "cancelled", (answer.text, done)
            assert either.get(f"/api/v1/jobs/{job}/result").status_code == 409
        ends.append(done.status.value)
    assert set(ends) == {"completed", "cancelled"}, ends
