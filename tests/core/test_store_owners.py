"""The jobs of one owner: another's are like none, on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.errors import IdempotencyInFlight, JobNotFound
from core.jobs.job import JobStatus
from core.store.owners import OwnerJobs, Reservation
from core.store.sql import SqlStore
from tests.core.store_kit import clock, new_job, store, take

__all__ = ["clock", "store"]


@pytest.mark.parametrize(("owner", "other"), [("anna", "bert"), (None, "anna"), ("anna", None), ("anna", "")])
def test_anothers_job_is_like_none(store: SqlStore, owner: str | None, other: str | None) -> None:
    mine, theirs = store.of(owner), store.of(other)
    job = mine.create(new_job())
    asks: list[Callable[[OwnerJobs], object]] = [
        lambda jobs: jobs.get(job.id),
        lambda jobs: jobs.create(new_job(id=job.id)),
        lambda jobs: jobs.create(new_job(key=job.source.key, retry_of=job.id)),
        lambda jobs: jobs.request_cancel(job.id),
        lambda jobs: jobs.request_delete(job.id),
    ]
    for ask in asks:
        with pytest.raises(JobNotFound):
            ask(theirs)
    assert theirs.list() == ([], None) and theirs.list(status=JobStatus.QUEUED) == ([], None)
    assert mine.get(job.id) == job == store.get(job.id) and mine.list()[0] == [job]
    assert store.counts()["queued"] == 1, "a refusal leaves nothing behind"
    for ask in asks:
        ask(mine)
    with pytest.raises(JobNotFound):
        mine.get(job.id)


def test_who_sees_all_makes_jobs_of_its_own_and_retries_for_their_owners(store: SqlStore) -> None:
    admin = store.of("root", all_jobs=True)
    annas = store.of("anna").create(new_job())
    roots = admin.create(new_job())
    assert roots.owner == "root" and [job.id for job in admin.list()[0]] == [roots.id, annas.id]
    assert admin.request_cancel(annas.id).status is JobStatus.CANCELLED
    again = admin.create(new_job(key=annas.source.key, retry_of=annas.id))
    assert again.owner == "anna" and store.of("anna").get(again.id) == again
    assert store.versions([annas.id, roots.id]) == {annas.id: ("anna", 2), roots.id: ("root", 1)}


def test_pages_of_one_owner_among_others(store: SqlStore) -> None:
    mine = store.of("anna")
    ids = []
    for _ in range(5):
        ids.append(mine.create(new_job()).id)
        store.of("bert").create(new_job())
    first, cursor = mine.list(limit=3)
    second, end = mine.list(limit=3, after=cursor)
    assert [job.id for job in (*first, *second)] == ids[::-1] and end is None


def test_idempotency_keys_are_each_owners_own(store: SqlStore) -> None:
    owners = [store.of("anna"), store.of("bert"), store.of(None)]
    for jobs in owners:
        assert jobs.reserve("k", lease_seconds=60) is None
        with pytest.raises(IdempotencyInFlight):
            jobs.reserve("k", lease_seconds=60)
    made = [
        jobs.create(new_job(), reservation=Reservation(key="k", fingerprint=f"of {n}")) for n, jobs in enumerate(owners)
    ]
    assert [jobs.reserve("k", lease_seconds=60) for jobs in owners] == [job.id for job in made]
    assert [jobs.fingerprint("k") for jobs in owners] == ["of 0", "of 1", "of 2"]
    owners[0].request_delete(made[0].id)
    assert owners[0].reserve("k", lease_seconds=60) is None and owners[1].reserve("k", lease_seconds=60) == made[1].id


def test_totals_are_of_what_one_sees(store: SqlStore) -> None:
    anna, admin = store.of("anna"), store.of("root", all_jobs=True)
    nothing = anna.totals()
    assert not any(nothing.by_status.values()) and nothing.mean_seconds is None
    for _ in range(2):
        anna.create(new_job())
        store.finish(take(store), result_key="r", partial=False, gaps=[], warnings=[], performance={})
    anna.create(new_job())
    store.of("bert").create(new_job())
    anna.request_delete(anna.create(new_job()).id)
    totals = anna.totals()
    assert {status: n for status, n in totals.by_status.items() if n} == {JobStatus.COMPLETED: 2, JobStatus.QUEUED: 1}
    assert totals.mean_seconds is not None and totals.mean_seconds >= 0
    assert admin.totals().by_status[JobStatus.QUEUED] == 2 and store.of(None).totals() == nothing
