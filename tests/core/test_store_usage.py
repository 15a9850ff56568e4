"""What there is of an owner's work: by status, waiting in seconds of audio, and done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from core.jobs.job import Claim
from core.store.sql import SqlStore
from core.store.tables import job
from tests.core.store_kit import clock, new_job, store, take

__all__ = ["clock", "store"]  # fixtures

SECOND = 32_000
"""Bytes, while nothing else is known."""


def complete(store: SqlStore, claim: Claim) -> None:
    store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})


def test_an_empty_table(store: SqlStore) -> None:
    backlog, done = store.backlog(), store.done_lately()
    assert (backlog.jobs, backlog.oldest_seconds, backlog.audio_seconds, backlog.running_audio_seconds) == (0, 0, 0, 0)
    assert (done.jobs, done.seconds, done.audio_seconds) == (0, 0, 0)
    assert set(store.totals().by_status.values()) == {0}


def test_audio_that_waits_is_guessed_until_it_is_known(store: SqlStore) -> None:
    first = store.create(new_job(bytes=100 * SECOND))
    store.create(new_job(bytes=50 * SECOND))
    backlog = store.backlog()
    assert backlog.jobs == 2
    assert backlog.audio_seconds == pytest.approx(150.0)
    claim = take(store)
    assert claim.job.id == first.id
    assert store.backlog().running_audio_seconds == pytest.approx(100.0)
    store.progress(claim, duration=400.0)
    store.progress(claim, audio_seconds_done=150.0)
    backlog = store.backlog()
    assert (backlog.jobs, backlog.audio_seconds) == (1, pytest.approx(50.0))
    assert backlog.running_audio_seconds == pytest.approx(250.0)
    store.release(claim)
    assert store.backlog().audio_seconds == pytest.approx(300.0)  # what is done is not done again


def test_the_guess_learns_from_what_was_done(store: SqlStore) -> None:
    """Files of this kind turned out to have a tenth of the bytes for a second of sound."""
    store.create(new_job(bytes=100 * SECOND))
    claim = take(store)
    store.progress(claim, duration=1000.0)
    complete(store, claim)
    store.create(new_job(bytes=10 * SECOND))
    assert store.backlog().audio_seconds == pytest.approx(100.0)
    assert (store.done_lately().jobs, store.done_lately().audio_seconds) == (1, pytest.approx(1000.0))


def test_the_age_is_the_oldest_waiting_ones(store: SqlStore) -> None:
    old, _ = store.create(new_job()), store.create(new_job())
    with store.database.write() as connection:
        early = old.created_at - timedelta(hours=1)
        connection.execute(update(job).where(job.c.id == old.id).values(created_at=early))
    assert store.backlog().oldest_seconds == pytest.approx(3600, abs=60)
    take(store)
    assert store.backlog().oldest_seconds < 60


def test_each_owner_sees_its_own(store: SqlStore) -> None:
    anna, bert, nobody = store.of("anna"), store.of("bert"), store.of(None)
    anna.create(new_job(bytes=100 * SECOND))
    anna.create(new_job(bytes=100 * SECOND))
    complete(store, take(store))
    bert.create(new_job(bytes=7 * SECOND))
    gone = bert.create(new_job())
    bert.request_delete(gone.id)
    assert (anna.totals().by_status["queued"], anna.totals().by_status["completed"]) == (1, 1)
    assert (
        bert.totals().by_status["queued"],
        bert.totals().by_status["completed"],
        bert.totals().by_status["cancelled"],
    ) == (1, 0, 0)
    assert (anna.done_lately().jobs, bert.done_lately().jobs, nobody.done_lately().jobs) == (1, 0, 0)
    assert bert.backlog().audio_seconds == pytest.approx(7.0)
    assert nobody.backlog().jobs == 0
    assert store.of("bert", all_jobs=True).backlog().jobs == 2
    assert store.of("bert", all_jobs=True).totals().by_status == store.counts()


def test_no_question_goes_through_all_jobs_there_are() -> None:
    store = SqlStore.in_memory()
    store.of("anna").create(new_job())
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        asked.append((statement, values))

    event.listen(store.database.engine, "before_cursor_execute", note)
    for view in (store, store.of("anna")):
        view.backlog()
        view.done_lately()
        view.totals()
    event.remove(store.database.engine, "before_cursor_execute", note)
    with store.database.read() as connection:
        steps = [
            row.detail
            for statement, values in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            if "job" in row.detail.split()[1:2]
        ]
    assert steps
    assert all(
        step.startswith("SEARCH job") or "COVERING INDEX" in step or "INDEX job_deleted" in step for step in steps
    ), steps
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps), steps
