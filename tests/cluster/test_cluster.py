"""The cluster profile on real PostgreSQL, Valkey and MinIO servers: the same jobs, the same words, more consumers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from scripts.cluster import Cluster
from testbed.service import PLAIN, Api, audio, running


class Client(Api):
    def __init__(self, cluster: Cluster) -> None:
        self.url = cluster.api_url
        self.cluster = cluster

    @property
    def address(self) -> str:
        """Of the database."""
        return self.cluster.database_url.replace("+psycopg", "")

    def rows(self, query: str, *values: object) -> list[tuple]:
        with psycopg.connect(self.address) as connection:
            return connection.execute(query, values).fetchall()

    def consumer_of(self, job_id: str) -> str | None:
        found = self.rows("select lease_owner from job where id = %s", job_id)
        return found[0][0].rpartition("/")[0] if found and found[0][0] else None


CHEAP = {"CHUNK_DURATION": "10", "ENCODER_CONTEXT": "fit", "WHISPER_THREADS": "1"}
"""More chunks for less work: what they are made of is not the matter here."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, minio):
    folder = tmp_path_factory.mktemp("cluster")
    env = {
        "WHISPER_MODEL": "demo",
        "LEASE_SECONDS": "4",
        "SWEEP_SECONDS": "1",
        "MAX_PARALLEL_WORKERS": "1",
        **CHEAP,
        "MAX_CONCURRENT_JOBS": "1",
        "ENGINE_DIR": str(folder / "engine"),
    }
    with Cluster(folder, consumers=2, env=env) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    return Client(cluster)


def test_same_words_as_solo(client, cluster, tmp_path):
    path, _ = audio(tmp_path, minutes=0.4, seed=31, lang="de")
    job = client.wait(client.submit(path)["id"])
    assert (job["status"], job["partial"]) == ("completed", False), job
    with running(tmp_path / "solo", ENGINE_DIR=str(cluster.data / "engine"), **CHEAP) as solo:
        alone = solo.wait(solo.submit(path)["id"])
        assert solo.result(alone["id"]).json()["segments"] == client.result(job["id"]).json()["segments"]
    assert client.result(job["id"], "srt").text.startswith("1\n")


def test_both_consumers_take_jobs(client, tmp_path):
    path, _ = audio(tmp_path, minutes=0.4, seed=32, name="talk.flac")
    with ThreadPoolExecutor() as pool:
        ids = [job["id"] for job in pool.map(client.submit, [path] * 4)]
    owners = set()
    deadline = time.monotonic() + 240
    with psycopg.connect(client.address, autocommit=True) as database:
        while True:
            rows = database.execute("select status, lease_owner from job where id = any(%s)", [ids]).fetchall()
            owners |= {owner.rpartition("/")[0] for _, owner in rows if owner}
            if [status for status, _ in rows].count("completed") == 4:
                break
            assert time.monotonic() < deadline and "failed" not in [status for status, _ in rows], rows
            time.sleep(0.1)
    assert len(owners) == 2, owners
    assert all(client.job(i)["attempts"] == 1 for i in ids)
    seen = httpx.get(f"{client.url}/api/v1/system", verify=PLAIN).json()["consumers"]
    assert {consumer["id"] for consumer in seen} >= owners


def test_an_interactive_clip_passes_bulk_work_that_fills_all_consumers(client, tmp_path):
    """No process of Celery's is free: it is taken by the slot that each consumer has beside them."""
    path, _ = audio(tmp_path, minutes=10, seed=35, name="talk.flac")
    clip_path, _ = audio(tmp_path, minutes=0.08, seed=36, name="clip.flac")
    bulk = [client.submit(path, priority="bulk")["id"] for _ in range(3)]
    for job in bulk[:2]:
        client.wait(job, lambda body: body["progress"]["chunks_done"] >= 1)
    clip = client.wait(client.submit(clip_path, priority="interactive")["id"])
    assert (clip["status"], clip["attempts"]) == ("completed", 1), clip
    assert [client.job(job)["status"] for job in bulk] == ["processing", "processing", "queued"]
    for job in reversed(bulk):
        httpx.post(f"{client.url}/api/v1/jobs/{job}/cancel", verify=PLAIN)
        client.wait(job)


def test_a_killed_consumer_loses_nothing_and_another_goes_on(client, cluster, tmp_path):
    path, _ = audio(tmp_path, minutes=1.2, seed=33, name="talk.flac")
    calm = client.wait(client.submit(path)["id"], seconds=300)
    job = client.submit(path)
    client.wait(job["id"], lambda j: j["progress"]["chunks_done"] >= 3)
    done_before = client.job(job["id"])["progress"]["chunks_done"]
    first = client.consumer_of(job["id"])
    victims = [c for c in cluster.consumers if first and first in Path(c.log).read_text("utf-8", "replace")]
    (victims or cluster.consumers)[0].kill()
    client.wait(job["id"], lambda j: client.consumer_of(job["id"]) not in (None, first), seconds=90)
    after = client.wait(job["id"], seconds=300)
    assert (after["status"], after["attempts"]) == ("completed", 2)
    assert client.result(job["id"]).json()["segments"] == client.result(calm["id"]).json()["segments"]
    fences = client.rows("select job_fence, count(*) from task where job_id = %s group by 1", job["id"])
    assert sum(count for fence, count in fences if fence == 1) >= done_before, "finished chunks were computed again"
    cluster.add_consumer()


def test_an_emptied_broker_costs_latency_only(client, cluster, tmp_path):
    import redis

    path, _ = audio(tmp_path, minutes=0.3, seed=34)
    cluster.valkey.kill()
    job = client.submit(path)
    assert client.job(job["id"])["status"] in ("queued", "processing")
    cluster.valkey.start()
    with redis.Redis.from_url(cluster.valkey.url, socket_timeout=5) as broker:
        broker.flushall()
    assert client.wait(job["id"], seconds=120)["status"] == "completed"


def test_a_broker_that_stays_away_costs_latency_only(client, cluster, tmp_path):
    """Consumers look at the table themselves while it is away, and stop doing so when it is back."""
    path, _ = audio(tmp_path, minutes=0.3, seed=36)
    cluster.valkey.kill()
    job = client.submit(path)
    assert client.wait(job["id"], seconds=120)["status"] == "completed"
    cluster.valkey.start()
    again = client.submit(path)
    assert client.wait(again["id"], seconds=120)["status"] == "completed"
    deadline = time.monotonic() + 30
    logs = [Path(c.log) for c in cluster.consumers if c.poll() is None]
    while any(
        "Started poller" in text and "Stopped poller" not in text
        for text in (log.read_text("utf-8", "replace") for log in logs)
    ):
        assert time.monotonic() < deadline, "still polling although the broker is back"
        time.sleep(0.2)


def test_sigterm_hands_a_job_to_another_consumer(client, cluster, tmp_path):
    path, _ = audio(tmp_path, minutes=1.5, seed=35, name="talk.flac")
    job = client.submit(path)
    client.wait(job["id"], lambda j: j["progress"]["chunks_done"] >= 2)
    first = client.consumer_of(job["id"])
    leaving = next(
        c
        for c in cluster.consumers
        if c.poll() is None and first and first in Path(c.log).read_text("utf-8", "replace")
    )
    began = time.monotonic()
    leaving.stop()
    assert time.monotonic() - began < 20
    done = client.wait(job["id"], seconds=300)
    assert (done["status"], done["attempts"]) == ("completed", 1)
