"""Status reads: shared looks at the table, never older than the question, errors to everybody who asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Collection, Sequence

import pytest

from api.access.identity import Identity, Open
from api.events.status import Asked, Status, StatusReads
from core.errors import DatabaseUnavailable, JobNotFound
from core.jobs.job import Job
from core.store.sql import SqlStore
from tests.api.serving import Service
from tests.core.store_kit import new_job, take

BASE = "/api/v1"


class Watched(SqlStore):
    """Counts the looks and can hold them up, or fail."""

    looks = fetches = 0
    fails = False

    def __init__(self, inner: SqlStore) -> None:
        super().__init__(inner.database)
        self.begun, self.open = threading.Event(), threading.Event()
        self.open.set()

    def versions(self, job_ids: Collection[str]) -> dict[str, tuple[str | None, int]]:
        self.looks += 1
        found = super().versions(job_ids)
        self.begun.set()
        assert self.open.wait(10)
        if self.fails:
            raise DatabaseUnavailable
        return found

    def jobs_of(self, job_ids: Collection[str]) -> Sequence[Job]:
        self.fetches += 1
        return super().jobs_of(job_ids)


@pytest.fixture
def watched() -> Watched:
    return Watched(SqlStore.in_memory())


def asked(job_id: str, *, who: Identity = Open.LOCAL, base: str = BASE) -> Asked:
    return Asked(who, job_id, base)


def status_of(body: bytes) -> str:
    return str(json.loads(body)["status"])


def test_reads_during_a_look_share_the_next_one(watched: Watched) -> None:
    ids = [watched.create(new_job()).id for _ in range(3)]

    async def run() -> None:
        reads = StatusReads(watched)
        watched.open.clear()
        first = asyncio.create_task(reads.read(asked(ids[0])))
        assert await asyncio.to_thread(watched.begun.wait, 10)
        watched.request_cancel(ids[0])  # the look under way has not seen this
        later = [asyncio.create_task(reads.read(asked(job_id))) for job_id in ids * 10]
        await asyncio.sleep(0.01)
        watched.open.set()
        await first
        answers = [await read for read in later]
        assert (watched.looks, watched.fetches) == (2, 2), "one query for whatever has changed"
        assert {status_of(answer.body) for answer in answers[::3]} == {"cancelled"}, (
            "no answer is older than its question"
        )
        assert {answer.etag for answer in answers} == {f'"{ids[0]}.2"', f'"{ids[1]}.1"', f'"{ids[2]}.1"'}
        reads.close()

    asyncio.run(run())


def test_reads_after_a_look_join_those_that_wait_for_the_next_one(watched: Watched) -> None:
    ids = [watched.create(new_job()).id for _ in range(3)]

    async def run() -> None:
        reads = StatusReads(watched, gather=1.0)
        watched.open.clear()
        first = asyncio.create_task(reads.read(asked(ids[0])))
        assert await asyncio.to_thread(watched.begun.wait, 10)
        second = asyncio.create_task(reads.read(asked(ids[1])))
        await asyncio.sleep(0.01)
        watched.open.set()
        await first
        watched.request_cancel(ids[2])
        third = await reads.read(asked(ids[2]))
        await second
        assert watched.looks == 2
        assert status_of(third.body) == "cancelled", "no answer is older than its question"
        reads.close()

    asyncio.run(run())


def test_a_body_is_made_once_per_version(watched: Watched) -> None:
    watched.create(new_job())
    claim = take(watched)

    async def run() -> None:
        reads = StatusReads(watched)
        before = [(await reads.read(asked(claim.job.id))).body for _ in range(3)]
        made = watched.fetches
        await reads.read(asked(claim.job.id, base="/speech/api/v1"))
        assert (made, watched.fetches) == (1, 2), "links differ behind a proxy"
        watched.progress(claim, chunks_total=7)
        after = await reads.read(asked(claim.job.id))
        assert len(set(before)) == 1 and json.loads(after.body)["progress"]["chunks_total"] == 7
        reads.close()

    asyncio.run(run())


def test_nobody_reads_anothers_job_whoever_has_read_it_before(watched: Watched) -> None:
    job_id = watched.of("anna").create(new_job()).id
    anna, bert = (Identity(owner=name, scopes=frozenset({"jobs"})) for name in ("anna", "bert"))
    admin = Identity(owner="root", scopes=frozenset({"admin"}))

    async def run() -> None:
        reads = StatusReads(watched)
        for _ in range(2):
            answers = await asyncio.gather(
                *(reads.read(asked(job_id, who=who)) for who in (anna, bert, admin)), return_exceptions=True
            )
            assert isinstance(answers[1], JobNotFound)
            assert [status_of(answer.body) for answer in answers[::2] if isinstance(answer, Status)] == ["queued"] * 2
        assert watched.looks == 2, "one look for all of them"
        reads.close()

    asyncio.run(run())


def test_errors_reach_everybody_and_do_not_stay(watched: Watched) -> None:
    job_id = watched.create(new_job()).id

    async def run() -> None:
        reads = StatusReads(watched)
        watched.fails = True
        failed = await asyncio.gather(*(reads.read(asked(job_id)) for _ in range(5)), return_exceptions=True)
        assert {type(answer) for answer in failed} == {DatabaseUnavailable}
        watched.fails = False
        assert status_of((await reads.read(asked(job_id))).body) == "queued"
        watched.request_delete(job_id)
        with pytest.raises(JobNotFound):
            await reads.read(asked(job_id))
        reads.close()

    asyncio.run(run())


def test_who_gives_up_takes_nothing_from_the_others(watched: Watched) -> None:
    job_id = watched.create(new_job()).id

    async def run() -> None:
        reads = StatusReads(watched)
        watched.open.clear()
        one, other = (asyncio.create_task(reads.read(asked(job_id))) for _ in range(2))
        await asyncio.sleep(0.01)
        one.cancel()
        watched.open.set()
        assert status_of((await other).body) == "queued"
        reads.close()

    asyncio.run(run())


def test_every_spelling_of_the_path_gives_the_same_answer(running: Service) -> None:
    """The short way and the framework's own must not differ."""
    job = running.submit().json()
    short, odd, asked = (
        running.client.get(f"{BASE}/jobs/{name}") for name in (job["id"], job["id"].upper(), job["id"] + "?")
    )
    assert short.json() == odd.json() == asked.json() == job
    for other in (odd, asked):
        drop = ("date", "x-request-id")
        assert {k: v for k, v in short.headers.items() if k not in drop} == {
            k: v for k, v in other.headers.items() if k not in drop
        }
    missing = running.client.get(f"{BASE}/jobs/{job['id'][:-4]}0000")
    nonsense = running.client.get(f"{BASE}/jobs/nonsense")
    assert (
        (missing.status_code, missing.json()["code"])
        == (nonsense.status_code, nonsense.json()["code"])
        == (404, "job_not_found")
    )
    assert missing.headers["content-type"] == "application/problem+json" and missing.headers["x-request-id"]
    assert 'route="/api/v1/jobs/{job_id}",status="200"' in running.client.get("/metrics").text
