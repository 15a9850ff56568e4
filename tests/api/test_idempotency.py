"""Idempotency-Key: the same request sent again is the same job."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.requests import Request

from api.upload.idempotency import held
from core.errors import DatabaseUnavailable, IdempotencyInFlight, NotMedia
from core.jobs.job import Job, NewJob
from core.store.owners import OwnerJobs, Reservation
from core.store.sql import SqlStore
from tests.api.serving import Service, wav
from tests.api.test_submit import refused
from tests.core.store_kit import ManualClock


def test_the_same_request_again_is_the_same_job(running: Service) -> None:
    first = running.submit(key="k1", language="german")
    again = running.submit(key="k1", language="de", temperature="0")  # other words for the same parameters
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(running.keys) == 1


def test_the_key_with_something_else_is_a_conflict(running: Service) -> None:
    job = running.submit(key="k").json()
    for answer in (running.submit(wav(fill=b"\x02"), key="k"), running.submit(key="k", language="de")):
        assert refused(answer, 422, "idempotency_conflict")["job_id"] == job["id"]
    assert running.keys == [f"jobs/{job['id']}/source"]
    assert running.submit(key="other").json()["id"] != job["id"]


def test_in_flight_then_free_again_after_a_refusal(running: Service) -> None:
    assert running.store.reserve("k", lease_seconds=60) is None
    answer = running.submit(key="k")
    refused(answer, 409, "idempotency_in_flight")
    assert int(answer.headers["Retry-After"]) >= 1
    running.store.free("k")
    refused(running.submit(b"no recording", key="k"), 415, "not_media")
    assert running.submit(key="k").status_code == 202


def test_a_key_whose_process_died_is_free_after_its_lease(running: Service) -> None:
    assert running.store.reserve("k", lease_seconds=0.0) is None
    assert running.submit(key="k").status_code == 202


class Renewals(SqlStore):
    """Tells of each renewal."""

    def __init__(self, inner: SqlStore) -> None:
        super().__init__(inner.database)
        self.fails = False
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()

    def renew(self, key: str, *, lease_seconds: float) -> None:
        try:
            if self.fails:
                raise DatabaseUnavailable
            super().renew(key, lease_seconds=lease_seconds)
        finally:
            self._done.put(None)

    async def next(self) -> None:
        """Wait until a renewal that has not begun yet is over."""
        while not self._done.empty():
            self._done.get()
        for _ in range(2):  # the first may be under way
            await asyncio.to_thread(self._done.get, timeout=10)


@pytest.mark.parametrize("ends", ["with a job", "with a refusal"])
def test_a_key_is_held_as_long_as_its_request_comes_in_and_no_longer(ends: str) -> None:
    clock = ManualClock()
    table = Renewals(SqlStore.in_memory(clock=clock))
    request = Request({"type": "http", "headers": [(b"idempotency-key", b"k")]})

    async def upload() -> None:
        async with held(request, table, lease_seconds=0.03) as reserved:
            assert reserved.key == "k" and reserved.job_id is None
            for _ in range(10):  # hours for a large file
                clock.advance(0.02)
                await table.next()
                with pytest.raises(IdempotencyInFlight):
                    table.reserve("k", lease_seconds=1)
            table.fails = True  # the database is away for a while
            await table.next()
            table.fails = False
            await table.next()
            if ends == "with a refusal":
                raise NotMedia

    with contextlib.suppress(NotMedia):
        asyncio.run(upload())
    if ends == "with a job":
        clock.advance(0.04)  # as after a kill: nobody renews it
    assert table.reserve("k", lease_seconds=1) is None


def test_malformed_keys(running: Service) -> None:
    for key in ("with space", "x" * 201):
        assert refused(running.submit(key=key), 422, "validation")["errors"][0]["field"] == "Idempotency-Key"


def test_a_full_queue_does_not_refuse_a_replay(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_queued_jobs": 1})
    job = running.submit(key="k").json()
    assert running.submit(key="k").json()["id"] == job["id"]


def test_the_key_of_a_deleted_job_makes_a_new_one(running: Service) -> None:
    job = running.submit(key="k").json()
    running.client.delete(job["links"]["self"])
    assert running.submit(key="k").json()["id"] != job["id"]


def test_twenty_at_once_make_one_job(running: Service) -> None:
    content = wav(200_000)

    def post(_: int) -> httpx.Response:
        with httpx.Client(base_url=running.client.base_url, timeout=30, trust_env=False) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                answer = client.post(
                    "/api/v1/jobs", files={"file": ("a.wav", content)}, headers={"Idempotency-Key": "k"}
                )
                if answer.status_code != 409:
                    return answer
                assert answer.json()["code"] == "idempotency_in_flight"
            raise AssertionError("it is in flight for ever")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert running.store.counts()["queued"] == len(running.keys) == 1


class LosesTheAnswer(SqlStore):
    """The connection breaks after the commit."""

    left = 1

    def of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerJobs:
        return self

    def create(self, new: NewJob, *, reservation: Reservation | None = None) -> Job:
        job = super().create(new, reservation=reservation)
        if self.left:
            self.left -= 1
            raise DatabaseUnavailable
        return job


def test_a_lost_answer_of_the_database_neither_doubles_nor_strands_the_job(serve: Callable[..., Service]) -> None:
    running = serve(store=LosesTheAnswer.in_memory())
    answer = running.submit(key="k")
    assert answer.status_code == 202
    assert running.store.counts()["queued"] == len(running.keys) == 1
    assert running.submit(key="k").json()["id"] == answer.json()["id"]


def test_an_object_stays_while_a_row_may_refer_to_it(serve: Callable[..., Service]) -> None:
    store = LosesTheAnswer.in_memory()
    assert isinstance(store, LosesTheAnswer)
    store.left = 2
    running = serve(store=store)
    refused(running.submit(), 503, "internal")
    assert running.store.counts()["queued"] == len(running.keys) == 1


def test_a_key_lost_to_another_job_stores_nothing(serve: Callable[..., Service]) -> None:
    class Overtaken(SqlStore):
        def of(self, owner: str | None, *, all_jobs: bool = False) -> OwnerJobs:
            return self

        def create(self, new: NewJob, *, reservation: Reservation | None = None) -> Job:
            raise IdempotencyInFlight

    running = serve(store=Overtaken.in_memory())
    refused(running.submit(key="k"), 409, "idempotency_in_flight")
    assert not running.keys
