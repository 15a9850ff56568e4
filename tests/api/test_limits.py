"""How much one key may ask for: requests a minute, jobs that wait, audio in a day, the size of a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from api.access.throttle import RequestLimiter
from api.upload.receiver import UploadLimits
from core.keys import KeyLimits
from core.store.sql import SqlStore
from core.store.tables import job
from scripts.servers import Valkey
from tests.api.keyed import Clock, add, keyed
from tests.api.serving import Service, wav
from tests.api.test_submit import PART, Wire, refused, until
from tests.core.store_kit import new_job

JOBS = "/api/v1/jobs"


def submit(running: Service, token: str, size: int = 1000, **headers: str):
    return running.client.post(JOBS, files={"file": ("talk.wav", wav(size))}, headers={"X-API-Key": token} | headers)


def test_requests_a_minute(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    (mine, _), (theirs, _), (free, _) = (
        add(store, limits=KeyLimits(requests_per_minute=3)),
        add(store, "bert"),
        add(store, "root", limits=KeyLimits(requests_per_minute=0)),
    )
    job_id = store.of("anna").create(new_job()).id
    with keyed(tmp_path, store, limits=KeyLimits(requests_per_minute=4)) as running:
        for path, left in ((JOBS, 2), (f"{JOBS}/{job_id}", 1), (f"{JOBS}/nobody", 0)):
            answer = running.client.get(path, headers={"X-API-Key": mine})
            assert (answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == ("3", str(left))
            assert 1 <= int(answer.headers["RateLimit-Reset"]) <= 60
        for path in (JOBS, f"{JOBS}/{job_id}"):
            answer = running.client.get(path, headers={"X-API-Key": mine})
            refused(answer, 429, "rate_limited")
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert (answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == ("3", "0")
        assert running.client.get("/healthz", headers={"X-API-Key": mine}).status_code == 200, "open to all"
        for _ in range(4):
            assert running.client.get(JOBS, headers={"X-API-Key": theirs}).status_code == 200
        refused(running.client.get(JOBS, headers={"X-API-Key": theirs}), 429, "rate_limited")
        for _ in range(10):
            answer = running.client.get(JOBS, headers={"X-API-Key": free})
            assert answer.status_code == 200 and "RateLimit-Limit" not in answer.headers


def test_jobs_that_wait(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    token, _ = add(store, limits=KeyLimits(jobs_waiting=1))
    with keyed(tmp_path, store) as running:
        made = submit(running, token, **{"Idempotency-Key": "k"})
        assert made.status_code == 202
        answer = submit(running, token)
        refused(answer, 429, "quota_exceeded")
        assert (answer.headers["Retry-After"], answer.headers["RateLimit-Limit"]) == ("15", "1")
        assert len(running.keys) == 1, "nothing is stored of it"
        again = submit(running, token, **{"Idempotency-Key": "k"})
        assert again.json()["id"] == made.json()["id"], "the same request once more is no further job"
        url = f"{JOBS}/{made.json()['id']}"
        running.client.post(f"{url}/cancel", headers={"X-API-Key": token})
        assert submit(running, token).status_code == 202
        refused(running.client.post(f"{url}/retry", headers={"X-API-Key": token}), 429, "quota_exceeded")


def test_audio_of_a_day(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    token, _ = add(store)
    with keyed(tmp_path, store, limits=KeyLimits(audio_seconds_per_day=60)) as running:
        job_id = submit(running, token).json()["id"]
        with store.database.write() as connection:
            connection.execute(update(job).where(job.c.id == job_id).values(duration=61.0))
        answer = submit(running, token)
        refused(answer, 429, "quota_exceeded")
        assert 86_000 < int(answer.headers["Retry-After"]) <= 86_400


def test_the_size_of_a_file(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    (small, _), (large, _) = (add(store, limits=KeyLimits(upload_mb=mb)) for mb in (1.0, 100.0))
    with keyed(tmp_path, store, settings={"max_upload_mb": 2.0}) as running:
        assert submit(running, small, 1 << 20).status_code == 202
        said = refused(submit(running, small, (1 << 20) + 1), 413, "too_large")
        assert said["max_bytes"] == 1 << 20 and "this key may send" in said["detail"]
        assert submit(running, large, 2 << 20).status_code == 202
        said = refused(submit(running, large, (2 << 20) + 1), 413, "too_large")
        assert said["max_bytes"] == 2 << 20 and "MAX_UPLOAD_MB" in said["detail"]
        said = refused(submit(running, small, 3 << 20), 413, "too_large")
        assert said["max_bytes"] == 1 << 20, "by the headers alone"


def test_all_api_processes_count_together_where_there_is_a_broker(valkey: Valkey) -> None:
    async def ask() -> None:
        one, other = RequestLimiter(valkey.url), RequestLimiter(valkey.url)
        assert [(await limiter.count("shared", 3)).remaining for limiter in (one, other, one)] == [2, 1, 0]
        refusal = await other.count("shared", 3)
        assert not refusal.allowed and 1 <= refusal.reset <= 60
        assert (await other.count("another", 3)).allowed
        for limiter in (one, other):
            await limiter.close()

    asyncio.run(ask())


def test_while_the_broker_is_away_each_counts_for_itself() -> None:
    clock = Clock()

    async def ask() -> None:
        limiter = RequestLimiter("redis://127.0.0.1:1/0", clock=clock)
        assert [(await limiter.count("k", 2)).allowed for _ in range(3)] == [True, True, False]
        await limiter.close()

    asyncio.run(ask())


@pytest.mark.parametrize("broker", ["rediss://h:1/0", "unix:///tmp/none.sock"])
def test_other_addresses_of_a_broker(broker: str) -> None:
    async def ask() -> None:
        limiter = RequestLimiter(broker, clock=Clock())
        assert (await limiter.count("k", 1)).allowed
        await limiter.close()

    asyncio.run(ask())


def test_slow_uploads_of_one_keep_nobody_else_out(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    (mine, _), (theirs, _) = add(store), add(store, "bert")
    limits = UploadLimits(concurrent=2, of_one=1, patience=0.2)
    with keyed(tmp_path, store, uploads=limits) as running, Wire(running) as wire:
        wire.post("Content-Length: 1000000", f"X-API-Key: {mine}")
        wire.socket.sendall(PART + wav(100_000))
        until(lambda: running.client.get("/metrics").text.count("parascribe_upload_bytes_total 0.0") == 0)
        refused(submit(running, mine), 429, "queue_full")
        assert submit(running, theirs).status_code == 202
