"""Batches in the job table, the same on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select, text

from core.errors import (
    AlreadyTerminal,
    BatchClosed,
    BatchNotFound,
    Cancelled,
    Expired,
    IdempotencyInFlight,
    JobNotFound,
    ValidationFailed,
)
from core.jobs.batches import Batch, BatchStatus, NewBatch
from core.jobs.job import Claim, JobFailure, JobStatus, new_id
from core.jobs.params import JobParams
from core.store.owners import OwnerBatches, Reservation
from core.store.sql import SqlStore
from core.store.tables import batch, job
from core.submission.retry import retry
from core.system.clock import ManualClock
from core.system.logs import bound
from tests.core.store_kit import clock, new_job, store, take
from tests.core.test_store_races import together

__all__ = ["clock", "store"]

FAILURE = JobFailure(code="chunk_failed", message="no", stage="transcribing")
OPEN, PROCESSING, COMPLETED = BatchStatus.OPEN, BatchStatus.PROCESSING, BatchStatus.COMPLETED


def new(**more: Any) -> NewBatch:
    return NewBatch(**{"id": new_id(), "params": JobParams(model="base", language="de")} | more)


def finish(store: SqlStore, **options: Any) -> str:
    claim = take(store, **options)
    store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})
    return claim.job.id


def fail(store: SqlStore) -> str:
    claim = take(store)
    store.fail(claim, FAILURE)
    return claim.job.id


def filled(store: SqlStore, count: int, owner: str | None = None) -> tuple[OwnerBatches, str, list[str]]:
    """A batch with so many jobs."""
    batches = store.batches_of(owner)
    made = batches.create(new())
    return batches, made.id, [store.of(owner).create(new_job(batch=made.id)).id for _ in range(count)]


@contextmanager
def completions(store: SqlStore) -> Iterator[list[int]]:
    """How many rows each statement changed that completes a batch."""
    found: list[int] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: Any) -> None:
        if statement.startswith("UPDATE batch SET finished_at") and None not in tuple(
            values.values() if isinstance(values, dict) else values
        ):
            found.append(cursor.rowcount)

    event.listen(store.database.engine, "after_cursor_execute", note)
    yield found
    event.remove(store.database.engine, "after_cursor_execute", note)


def test_a_batch_reads_back_whole_and_its_jobs_are_counted(store: SqlStore) -> None:
    batches = store.batches_of("anna")
    wanted = new(metadata={"course": "Ö \U0001f600", "n": [1, None, {"x": 0.5}]})
    made = batches.create(wanted)
    assert made == batches.create(wanted) == batches.get(made.id), "the answer was lost and the caller asks again"
    assert (made.owner, made.params, made.metadata, made.status) == ("anna", wanted.params, wanted.metadata, OPEN)
    ids = [store.of("anna").create(new_job(batch=made.id, bytes=100)).id for _ in range(4)]
    assert store.get(ids[0]).batch == made.id
    store.of("anna").create(new_job())  # not of it
    claim = take(store)
    store.progress(claim, duration=40.0, audio_seconds_done=10.0)
    fail(store)
    found, tally = batches.tally(made.id)
    assert found == made
    assert tally.counts() == {
        "queued": 2,
        "processing": 1,
        "cancelling": 0,
        "completed": 0,
        "failed": 1,
        "cancelled": 0,
    }
    assert (tally.jobs, tally.ended, tally.seconds_done) == (4, 1, 10.0)
    assert tally.seconds == 40.0 * 3, "those that wait are as long as the one that is known"
    assert tally.elapsed >= 0
    store.finish(claim, result_key="r", partial=True, gaps=[{}], warnings=[], performance={})
    assert batches.tally(made.id)[1].partial == 1


def test_it_is_completed_when_it_is_closed_and_all_have_ended_and_once(store: SqlStore) -> None:
    batches, batch_id, ids = filled(store, 4)
    with completions(store) as told:
        finish(store)
        fail(store)
        store.request_cancel(ids[2])
        assert batches.close(batch_id).status is PROCESSING
        assert batches.close(batch_id).status is PROCESSING and told == []
        claim = take(store)
        store.request_cancel(ids[3])
        with pytest.raises(Cancelled):
            store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})
        assert told == [1]
        done = batches.get(batch_id)
        assert done.status is COMPLETED and done.finished_at == store.get(ids[3]).finished_at or done.finished_at
        assert batches.close(batch_id) == done
        assert told == [1]
    assert batches.tally(batch_id)[1].counts() | {"queued": 0} == {
        "queued": 0,
        "processing": 0,
        "cancelling": 0,
        "completed": 1,
        "failed": 1,
        "cancelled": 2,
    }


def ends() -> Iterator[tuple[str, Callable[[SqlStore, ManualClock, str], object]]]:
    yield "finished", lambda store, clock, job_id: finish(store)
    yield "failed", lambda store, clock, job_id: fail(store)
    yield "cancelled while it waits", lambda store, clock, job_id: store.request_cancel(job_id)
    yield "deleted while it waits", lambda store, clock, job_id: store.request_delete(job_id)

    def handed_back(store: SqlStore, clock: ManualClock, job_id: str) -> None:
        claim = take(store)
        store.request_cancel(job_id)
        store.release(claim)

    yield "cancelled and handed back", handed_back

    def let_go(store: SqlStore, clock: ManualClock, job_id: str) -> None:
        claim = take(store)
        store.request_cancel(job_id)
        store.cancelled(claim)

    yield "cancelled", let_go

    def killed(store: SqlStore, clock: ManualClock, job_id: str) -> None:
        take(store)
        store.request_cancel(job_id)
        store.free_owner("one")

    yield "cancelled, its owner dead", killed

    def swept(store: SqlStore, clock: ManualClock, job_id: str) -> None:
        take(store, lease=1.0)
        clock.advance(5)
        if store.database.postgres:  # its leases are on its own clock
            store.free_owner("one")
        store.sweep(max_attempts=1)

    yield "crashed for the last time", swept

    def deleted(store: SqlStore, clock: ManualClock, job_id: str) -> None:
        take(store)
        store.request_delete(job_id)

    yield "deleted while it runs", deleted


@pytest.mark.parametrize("end", [end for _, end in ends()], ids=[name for name, _ in ends()])
def test_whichever_way_the_last_one_ends(
    store: SqlStore, clock: ManualClock, end: Callable[[SqlStore, ManualClock, str], object]
) -> None:
    batches, batch_id, (last,) = filled(store, 1)
    batches.close(batch_id)
    with completions(store) as told:
        end(store, clock, last)
    assert told == [1] and batches.get(batch_id).status is COMPLETED


def test_an_empty_one_is_completed_when_it_is_closed(store: SqlStore) -> None:
    batches, batch_id, _ = filled(store, 0)
    with completions(store) as told:
        assert batches.close(batch_id).status is COMPLETED and told == [1]


@pytest.mark.parametrize("other", ["end", "cancel", "close"])
def test_of_two_that_come_last_at_once_one_completes_it(store: SqlStore, other: str) -> None:
    """Each is about to commit while the other is, unless one of them has to wait: then it sees what the other has done."""
    batches, batch_id, ids = filled(store, 2)
    one, two = (take(store, owner=name) for name in ("one", "two"))

    def end(claim: Claim) -> None:
        store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})

    if other == "close":
        end(two)
        second: Callable[[], object] = lambda: batches.close(batch_id)  # noqa: E731
    else:
        batches.close(batch_id)
        second = lambda: end(two)  # noqa: E731
        if other == "cancel":
            store.release(two)
            second = lambda: store.request_cancel(two.job.id)  # noqa: E731
    both = threading.Barrier(2)

    def meet(connection: Any) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)

    with completions(store) as told:
        event.listen(store.database.engine, "commit", meet)
        came = together(lambda: end(one), second)
        event.remove(store.database.engine, "commit", meet)
        assert not [error for error in came if isinstance(error, Exception)]
        assert told == [1] and batches.get(batch_id).status is COMPLETED


def test_who_comes_while_it_is_closed_is_in_or_out(store: SqlStore) -> None:
    batches, batch_id, _ = filled(store, 0)
    closed, late = together(lambda: batches.close(batch_id), lambda: store.create(new_job(batch=batch_id)))
    if isinstance(late, BatchClosed):
        assert closed.status is batches.get(batch_id).status is COMPLETED
    else:  # it came before the closing
        assert batches.get(batch_id).status is PROCESSING
        store.request_cancel(late.id)
        assert batches.get(batch_id).status is COMPLETED


def test_who_may_not_join_leaves_nothing_behind(store: SqlStore) -> None:
    batches, closed, _ = filled(store, 0, "anna")
    batches.close(closed)
    _, gone, _ = filled(store, 0, "anna")
    batches.delete(gone)
    _, berts, _ = filled(store, 0, "bert")
    annas = store.of("anna")
    for batch_id, error in ((closed, BatchClosed), (gone, BatchNotFound), (berts, BatchNotFound), ("x", BatchNotFound)):
        with pytest.raises(error):
            annas.create(new_job(batch=batch_id))
    assert not any(store.counts().values()) and not store.unsent(10)
    made = store.of("root", all_jobs=True).create(new_job(batch=berts))
    assert made.owner == "bert", "what is in his batch is his"


def test_asking_again_after_a_lost_answer_is_safe_though_it_is_closed_now(store: SqlStore) -> None:
    batches, batch_id, _ = filled(store, 0)
    wanted = new_job(batch=batch_id)
    made = store.create(wanted)
    batches.close(batch_id)
    assert store.create(wanted) == made and batches.tally(batch_id)[1].jobs == 1


def test_those_that_failed_are_made_anew_in_their_place_and_none_twice(store: SqlStore) -> None:
    batches, batch_id, ids = filled(store, 5, "anna")
    failed = [fail(store) for _ in range(3)]
    finish(store)
    store.request_cancel(ids[4])
    assert batches.close(batch_id).status is COMPLETED
    with completions(store) as told:
        with bound(request_id="r1"):
            first = batches.retry(batch_id, limit=2)
        assert {store.get(one).caller["request_id"] for one in first} == {"r1"}
        assert len(first) == 2 and batches.get(batch_id).status is PROCESSING
        again = together(*[lambda: batches.retry(batch_id, limit=10)] * 3)
        made = [*first, *itertools.chain(*again)]
        assert len(made) == 3 == len(set(made)) and batches.retry(batch_id, limit=10) == []
        assert {store.get(one).retry_of for one in made} == {*failed}
        assert {store.get(one).owner for one in made} == {"anna"}
        assert {one.id for one in batches.items(batch_id)[0]} == {*made, *ids} - {*failed}
        assert batches.tally(batch_id)[1].jobs == 5 and {store.get(one).batch for one in made} == {batch_id}
        for _ in made:
            finish(store)
        assert told == [1] and batches.get(batch_id).status is COMPLETED, "anew, and once"


def test_a_retry_of_one_by_itself_takes_its_place_too(store: SqlStore) -> None:
    batches, batch_id, (one,) = filled(store, 1)
    fail(store)
    batches.close(batch_id)
    came = together(*[lambda: retry(store, one, everything=False)] * 2)
    inside = [made for made in came if made.batch == batch_id]
    assert len(inside) == 1 and [made.batch for made in came].count(None) == 1, "the place was taken once"
    assert [item.id for item in batches.items(batch_id)[0]] == [inside[0].id]
    assert batches.get(batch_id).status is PROCESSING


def test_uploads_that_are_gone_are_not_tried_again(store: SqlStore) -> None:
    batches, batch_id, (one,) = filled(store, 1)
    fail(store)
    with store.database.write() as connection:
        connection.execute(job.update().values(expired_audio=True))
    assert batches.retry(batch_id, limit=5) == []
    with pytest.raises(Expired):
        retry(store, one, everything=False)


def test_cancel_ends_what_waits_and_asks_for_what_runs(store: SqlStore) -> None:
    batches, batch_id, ids = filled(store, 4)
    finish(store)
    claim = take(store)
    other = store.create(new_job()).id
    assert batches.cancel(batch_id).status is PROCESSING
    assert [store.get(one).status for one in ids] == ["completed", "cancelling", "cancelled", "cancelled"]
    assert store.get(other).status is JobStatus.QUEUED and [hint for _, hint in store.unsent(10)][-1:] == [other]
    assert not {hint for _, hint in store.unsent(10)} & {*ids[2:]}
    with pytest.raises(BatchClosed):
        store.create(new_job(batch=batch_id))
    with completions(store) as told:
        store.cancelled(claim)
        assert told == [1]
    with pytest.raises(AlreadyTerminal):
        batches.cancel(batch_id)


def test_deleted_with_all_that_ever_belonged_to_it(store: SqlStore) -> None:
    batches, batch_id, _ = filled(store, 0)
    assert store.reserve("k", lease_seconds=60) is None
    first = store.create(new_job(batch=batch_id), reservation=Reservation(key="k", fingerprint="f")).id
    fail(store)
    assert store.create(new_job(batch=batch_id)).id and batches.retry(batch_id, limit=5)
    claim = take(store)
    other = store.create(new_job()).id
    batches.delete(batch_id)
    for ask in (batches.get, batches.tally, batches.items, batches.close, batches.cancel, batches.delete):
        with pytest.raises(BatchNotFound):
            ask(batch_id)
    assert [one.id for one in store.list()[0]] == [other] and batches.list() == ([], None)
    assert store.reserve("k", lease_seconds=60) is None, "the same request sent again is a new one"
    with pytest.raises(JobNotFound):
        store.get(first)
    store.cancelled(claim)
    for one in store.removable(limit=10):
        store.sweep(max_attempts=3)
        store.remove(one.id)
    store.sweep(max_attempts=3)
    with store.database.read() as connection:
        assert connection.scalars(select(job.c.id)).all() == [other]
        assert connection.scalars(select(batch.c.id)).all() == []


def test_a_retry_that_comes_while_it_is_deleted_is_deleted_with_it(store: SqlStore) -> None:
    batches, batch_id, _ = filled(store, 1)
    fail(store)
    batches.close(batch_id)
    retrying = threading.Event()

    def blocked() -> bool:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with store.database.engine.connect() as other:
            return other.scalar(text(waiting)) is not None

    def hold(connection: Any) -> None:
        if not retrying.is_set():  # the first to commit is the retry, and the deletion comes while it is about to
            retrying.set()
            until = time.monotonic() + 10
            while store.database.postgres and not blocked():
                assert time.monotonic() < until

    def delete() -> None:
        assert retrying.wait(10)
        batches.delete(batch_id)

    event.listen(store.database.engine, "commit", hold)
    came = together(lambda: batches.retry(batch_id, limit=5), delete)
    event.remove(store.database.engine, "commit", hold)
    assert not [error for error in came if isinstance(error, Exception)] and len(came[0]) == 1
    assert store.list() == ([], None) and store.claim(owner="one", consumer="here", lease_seconds=60) is None


def test_some_files_at_once_are_all_there_or_none(store: SqlStore) -> None:
    batches, wanted = store.batches_of("anna"), new()
    jobs = [new_job(batch=wanted.id) for _ in range(3)]
    assert store.of("anna").reserve("batch k", lease_seconds=60) is None
    reserved = Reservation(key="batch k", fingerprint="f")
    made = batches.create(wanted, jobs=jobs, reservation=reserved)
    assert made.status is PROCESSING and batches.create(wanted, jobs=jobs, reservation=reserved) == made
    assert [one.id for one in batches.items(made.id)[0]] == [one.id for one in jobs]
    assert store.of("anna").reserve("batch k", lease_seconds=60) == made.id
    assert len(store.unsent(10)) == 3
    broken = new()
    with pytest.raises(JobNotFound):
        batches.create(broken, jobs=[new_job(batch=broken.id), new_job(batch=broken.id, retry_of="nobody")])
    with pytest.raises(IdempotencyInFlight):
        batches.create(broken, jobs=[new_job(batch=broken.id)], reservation=reserved)
    with pytest.raises(BatchNotFound):
        batches.get(broken.id)
    assert store.counts()["queued"] == 3


def test_pages(store: SqlStore) -> None:
    batches, batch_id, ids = filled(store, 5)
    others = [filled(store, 0)[1] for _ in range(4)]
    first, cursor = batches.items(batch_id, limit=2)
    store.of(None).request_delete(first[-1].id)  # the very row the cursor came from
    second, cursor = batches.items(batch_id, limit=2, after=cursor)
    third, end = batches.items(batch_id, limit=2, after=cursor)
    assert [one.id for one in (*first, *second, *third)] == ids and end is None
    fail(store)
    assert [one.id for one in batches.items(batch_id, status=JobStatus.FAILED)[0]] == ids[:1]
    page, cursor = batches.list(limit=3)
    rest, end = batches.list(limit=3, after=cursor)
    assert [one.id for one in (*page, *rest)] == [*others[::-1], batch_id] and end is None
    for ask in (batches.list, lambda after: batches.items(batch_id, after=after)):
        with pytest.raises(ValidationFailed):
            ask(after="x")


@pytest.mark.parametrize(("owner", "other"), [("anna", "bert"), (None, "anna"), ("anna", None)])
def test_anothers_batch_is_like_none(store: SqlStore, owner: str | None, other: str | None) -> None:
    mine, batch_id, ids = filled(store, 1, owner)
    theirs = store.batches_of(other)
    asks: list[Callable[[OwnerBatches], object]] = [
        lambda batches: batches.get(batch_id),
        lambda batches: batches.tally(batch_id),
        lambda batches: batches.items(batch_id),
        lambda batches: batches.retry(batch_id, limit=5),
        lambda batches: batches.close(batch_id),
        lambda batches: batches.cancel(batch_id),
        lambda batches: batches.delete(batch_id),
    ]
    before: Batch = mine.get(batch_id)
    for ask in asks:
        with pytest.raises(BatchNotFound):
            ask(theirs)
    assert theirs.list() == ([], None) and mine.get(batch_id) == before
    assert store.get(ids[0]).status is JobStatus.QUEUED
    admin = store.batches_of("root", all_jobs=True)
    assert [one.id for one in admin.list()[0]] == [batch_id]
    for ask in asks:
        ask(admin)


def test_counting_and_completing_go_by_an_index() -> None:
    store = SqlStore.in_memory()
    batches, batch_id, _ = filled(store, 2)
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        asked.append((statement, values))

    event.listen(store.database.engine, "before_cursor_execute", note)
    batches.tally(batch_id)
    batches.items(batch_id)
    batches.close(batch_id)
    event.remove(store.database.engine, "before_cursor_execute", note)
    looks = [(statement, values) for statement, values in asked if statement.startswith("SELECT job")]
    with store.database.read() as connection:
        steps = [
            row.detail
            for statement, values in looks
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            if "job " in row.detail
        ]
    assert [step.partition("INDEX ")[2].partition(" ")[0] for step in steps] == [
        "job_of_batch",
        "job_of_batch",
        "job_unended_of_batch",
    ]
