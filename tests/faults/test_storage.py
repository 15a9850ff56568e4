"""Rows 16-19: the object store is down, dies in the middle, is slow, or returns what was never stored."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import httpx
import pytest

from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from testbed.faults import made
from testbed.faults.invariants import Accepted
from testbed.faults.rig import Rig
from testbed.faults.waiting import wait_for
from testbed.service import PLAIN


def collect(rig: Rig) -> int:
    """What the sweeper does after a day."""
    return Sweeper(rig.store, rig.objects, MemoryHints(), interval=1, max_attempts=3).collect_orphans(0.0)


def count(rig: Rig) -> int:
    return sum(rig.store.counts().values())


def test_16_down_at_submit(cluster: Rig) -> None:
    assert cluster.servers is not None
    collect(cluster)  # what earlier tests have left behind
    jobs = count(cluster)
    cluster.servers.storage.set("reset")
    answer = httpx.post(
        f"{cluster.url}/api/v1/jobs", files={"file": ("a.wav", made.noise(8))}, timeout=30, verify=PLAIN
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    cluster.servers.storage.set("pass")
    assert count(cluster) == jobs and collect(cluster) == 0


def test_17_dies_in_the_middle_of_a_multipart_upload(cluster: Rig) -> None:
    assert cluster.servers is not None
    jobs, storage = count(cluster), cluster.servers.storage
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    wav = made.noise(8)[:44] + bytes(36 << 20)

    def body() -> Iterator[bytes]:
        yield head
        for start in range(0, len(wav), 1 << 20):
            if start == 34 << 20:  # two parts of 16 MiB are there
                time.sleep(1)
                storage.set("reset")
            yield wav[start : start + (1 << 20)]
        yield b"\r\n--x--\r\n"

    answer = httpx.post(
        f"{cluster.url}/api/v1/jobs",
        content=body(),
        headers={"content-type": "multipart/form-data; boundary=x"},
        timeout=60,
        verify=PLAIN,
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    storage.set("pass")
    assert count(cluster) == jobs
    assert collect(cluster) <= 1, "the unfinished upload, which could not be aborted while the server was away"
    assert cluster.objects.abort_stale(0.0) == 0


@pytest.mark.parametrize("how", ["reset", "half-close", "delay"])
def test_18_away_or_slow_while_a_job_runs(cluster: Rig, how: str) -> None:
    assert cluster.servers is not None
    job = cluster.midway()
    cluster.servers.storage.set(how, 0.3)  # type: ignore[arg-type]
    wait_for(lambda: cluster.store.get(job).chunks_done == cluster.store.get(job).chunks_total, 30)
    if how != "delay":
        time.sleep(2)
        assert cluster.store.get(job).status == "processing", "the result could not be stored yet"
        cluster.servers.storage.set("pass")
    done = cluster.ended(job)
    assert (done.attempts, done.fence) == (1, 1), "no attempt, and no chunk, was spent on it"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (None, "source_missing"),
        (lambda data: data[:-1000], "source_corrupt"),
        (lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "source_corrupt"),
    ],
    ids=["missing", "truncated", "bit-flipped"],
)
def test_19_not_what_was_stored(either: Rig, spoil: object, code: str) -> None:
    class Spoilt:
        """An object store that loses or changes what it was given."""

        def put(self, key: str, data: io.BytesIO) -> None:
            if callable(spoil):
                either.objects.put(key, io.BytesIO(spoil(data.read())))

    job = made.submit(either.store, Spoilt(), made.noise(8), language="en")  # type: ignore[arg-type]
    either.accepted.append(Accepted(id=job.id, sha256="", ends=frozenset({"failed"}), source_kept=False))
    assert either.ended(job.id).error.code == code
    assert either.store.get(job.id).attempts == 1
