"""Revisions in the table: on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import Expired, JobNotFound, RevisionConflict, RevisionNotFound
from core.jobs.job import Job
from core.store.owners import Revision
from core.store.sql import SqlStore
from tests.core.store_kit import clock, new_job, store, take

__all__ = ["clock", "store"]


def done(store: SqlStore, owner: str | None = None) -> Job:
    job = store.of(owner).create(new_job())
    finish(store)
    return store.get(job.id)


def finish(store: SqlStore) -> None:
    claim = take(store)
    key = f"jobs/{claim.job.id}/result.1.json"
    store.finish(claim, result_key=key, partial=False, gaps=[], warnings=[], performance={})


def revision(job: Job, number: int, sha: str = "a") -> Revision:
    return Revision(number=number, kind="transcript", key=f"jobs/{job.id}/revision.{number}.{sha}.json", sha256=sha)


def test_one_follows_the_other(store: SqlStore) -> None:
    job, jobs = done(store), store.of(None)
    with pytest.raises(RevisionNotFound):
        jobs.revision(job.id, 1)
    first = jobs.revise(job.id, revision(job, 1))
    assert first.created_at and jobs.revision(job.id, 1) == first
    after = jobs.get(job.id)
    assert (after.revision, after.version) == (1, job.version + 1)
    assert jobs.revise(job.id, revision(job, 1)) == first and jobs.get(job.id) == after, "it is the same"
    for late in (revision(job, 1, "b"), revision(job, 3)):
        with pytest.raises(RevisionConflict) as refused:
            jobs.revise(job.id, late)
        assert refused.value.details == {"revision": 1}
    assert jobs.revise(job.id, revision(job, 2)).number == 2
    known = {revision(job, 1).key, revision(job, 2).key}
    assert store.known_keys([*known, "jobs/none/revision.1.a.json"]) == known
    assert store.known_keys([*known], besides=job.id) == set()


def test_anothers_transcript_is_none(store: SqlStore) -> None:
    job = done(store, "anna")
    store.of("anna").revise(job.id, revision(job, 1))
    for theirs in (store.of("bert"), store.of(None)):
        with pytest.raises(JobNotFound):
            theirs.revise(job.id, revision(job, 2))
        with pytest.raises(JobNotFound):
            theirs.revision(job.id, 1)
    assert store.of("root", all_jobs=True).revise(job.id, revision(job, 2)).number == 2


def test_of_many_at_once_one_is_the_next(store: SqlStore) -> None:
    job = done(store)

    def revise(n: int) -> bool:
        try:
            return store.of(None).revise(job.id, revision(job, 1, f"{n}")).sha256 == f"{n}"
        except RevisionConflict:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(revise, range(6))) == 1
    assert store.get(job.id).revision == 1


def test_they_go_with_their_job(store: SqlStore) -> None:
    job, other = done(store), done(store)
    for one in (job, other):
        store.of(None).revise(one.id, revision(one, 1))
    store.request_delete(other.id)
    with pytest.raises(JobNotFound):
        store.of(None).revise(other.id, revision(other, 2))
    store.remove(other.id)
    assert store.known_keys([revision(other, 1).key]) == set()
    assert store.expire(audio_hours=0, result_hours=1e-12, limit=10)
    assert store.known_keys([revision(job, 1).key]) == set()
    with pytest.raises(Expired):
        store.of(None).revise(job.id, revision(job, 2))
