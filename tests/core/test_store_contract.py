"""What the job table promises, the same on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import IntegrityError

from core.errors import (
    AlreadyTerminal,
    Cancelled,
    Expired,
    IdempotencyInFlight,
    JobNotFound,
    LeaseLost,
    ValidationFailed,
)
from core.jobs.consumers import ConsumerInfo
from core.jobs.job import Claim, JobFailure, JobStatus, Phase
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.jobs.turns import Only
from core.store.owners import Reservation
from core.store.sql import SqlStore
from core.store.tables import ROW_VERSION, idempotency, job
from core.system.clock import ManualClock
from tests.core.store_kit import clock, consumer, ended, finish_task, new_job, outbox_size, planned, start, store, take

__all__ = ["clock", "store"]

FAILURE = JobFailure(code="chunk_failed", message="no", stage="transcribing")


def finish(store: SqlStore, claim: Claim, **changes: Any) -> None:
    values: dict[str, Any] = {"result_key": "r", "partial": False, "gaps": [], "warnings": [], "performance": {}}
    store.finish(claim, **values | changes)


# --- submit, read, list


def test_what_is_kept_is_counted_once(store: SqlStore) -> None:
    assert (store.sizes().sources, store.sizes().source_bytes, store.sizes().results) == (0, 0, 0)
    shared = new_job()
    first = store.create(shared)
    store.create(replace(new_job(), source=shared.source, retry_of=first.id))
    other = store.create(new_job())
    finish(store, take(store))
    found = store.sizes()
    assert (found.sources, found.source_bytes) == (2, shared.source.bytes + other.source.bytes)
    assert (found.uploads, found.upload_bytes, found.results) == (0, 0, 1)
    assert found.database_bytes is None or found.database_bytes > 1000
    store.expire(audio_hours=0, result_hours=1e-9, limit=9)
    assert store.sizes().results == 0


def test_a_created_job_reads_back_whole_and_is_hinted_once(store: SqlStore) -> None:
    params = JobParams(model="base", language="de", prompt="Grüße \u2028 \U0001f600", temperature=0.2, beam_size=5)
    warning = {"code": "unpinned", "message": "local model"}
    other = store.create(new_job()).id
    new = new_job(params=params, priority=3, retry_of=other, retry_all=True, warnings=(warning,))
    created = store.create(new)
    assert created == store.get(new.id)
    assert (created.source, created.params, created.retry_of, created.retry_all) == (new.source, params, other, True)
    assert (created.owner, created.priority, created.warnings) == (None, 3, (warning,))
    assert (created.status, created.attempts, created.version) == (JobStatus.QUEUED, 0, 1)
    assert created.created_at.tzinfo is UTC and abs(created.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert store.create(new) == created, "the answer was lost and the caller asks again"
    assert [job_id for _, job_id in store.unsent(10)] == [other, new.id]


def test_an_unknown_job_is_not_found(store: SqlStore) -> None:
    for ask in (store.get, store.request_cancel, store.request_delete):
        with pytest.raises(JobNotFound):
            ask("nobody")


def test_versions_follow_every_change_and_end_with_the_job(store: SqlStore) -> None:
    first, second = (store.create(new_job()).id for _ in range(2))
    assert store.versions([first, second, "nobody"]) == {first: (None, 1), second: (None, 1)}
    store.request_cancel(second)
    assert store.versions([first, second]) == {first: (None, 1), second: (None, store.get(second).version)}
    assert {job.id: job for job in store.jobs_of([first, second, "nobody"])} == {
        job_id: store.get(job_id) for job_id in (first, second)
    }
    store.request_delete(first)
    assert store.versions([first]) == {} and not store.jobs_of([first])


def test_pages_neither_skip_nor_repeat_while_jobs_come_and_go(store: SqlStore) -> None:
    ids = [store.create(new_job()).id for _ in range(9)]
    first, cursor = store.list(limit=4)
    assert [j.id for j in first] == ids[:4:-1]
    late = store.create(new_job()).id
    store.request_delete(first[-1].id)  # the very row the cursor came from
    second, cursor = store.list(limit=4, after=cursor)
    third, end = store.list(limit=4, after=cursor)
    assert [j.id for j in (*second, *third)] == ids[4::-1] and end is None
    assert store.list(limit=1)[0][0].id == late


def test_list_by_status(store: SqlStore) -> None:
    ids = [store.create(new_job()).id for _ in range(3)]
    store.request_cancel(ids[1])
    assert [j.id for j in store.list(status=JobStatus.QUEUED)[0]] == [ids[2], ids[0]]
    assert [j.id for j in store.list(status=JobStatus.CANCELLED)[0]] == [ids[1]]
    assert store.counts() == {
        "queued": 2,
        "processing": 0,
        "cancelling": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 1,
    }


def test_waiting_jobs_are_counted_no_further_than_asked(store: SqlStore) -> None:
    for _ in range(4):
        store.create(new_job())
    take(store)
    assert [store.waiting(at_most=n) for n in (1, 3, 9)] == [1, 3, 3]


def test_counting_goes_by_an_index() -> None:
    """Rows are wide, and without retention all jobs there ever were are there. (PostgreSQL's plan depends on its figures.)"""
    store = SqlStore.in_memory()
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        asked.append((statement, values))

    event.listen(store.database.engine, "before_cursor_execute", note)
    store.counts()
    store.waiting(at_most=5)
    event.remove(store.database.engine, "before_cursor_execute", note)
    with store.database.read() as connection:
        steps = [
            row.detail
            for statement, values in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            if "job " in row.detail
        ]
    assert len(steps) == 3
    assert all("USING COVERING INDEX" in step or "INDEX job_deleted" in step for step in steps), steps


ID = "0198f3c2-1111-7abc-8def-0123456789ab"
CRAFTED = (
    f"0001-01-01T00:00:00+23:00 {ID}",
    f"9999-12-31T23:59:59-23:00 {ID}",
    f"2026-01-01T00:00:00 {ID}",
    "2026-01-01T00:00:00+00:00 a\0b",
    "2026-01-01T00:00:00+00:00 ",
    f"2026-01-01T00:00:00+00:00 {ID}\n",
)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!",
        "aGVsbG8",
        "bm90LWEtZGF0ZSBqb2I",
        "\u00e9",
        *(base64.urlsafe_b64encode(text.encode()).decode() for text in CRAFTED),
    ],
)
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationFailed):
        SqlStore.in_memory().list(after=cursor)


@pytest.mark.parametrize("day", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "2026-01-01T00:00:00+05:30"])
def test_a_cursor_of_any_day_is_a_place_in_the_list(store: SqlStore, day: str) -> None:
    made = store.create(new_job())
    found, _ = store.list(after=base64.urlsafe_b64encode(f"{day} {ID}".encode()).decode())
    assert [j.id for j in found] == ([made.id] if day.startswith("9999") else [])


# --- claim, lease, fence


def test_claims_go_by_priority_then_age(store: SqlStore) -> None:
    old, urgent, young = (store.create(new_job(priority=p)).id for p in (0, 5, 0))
    assert [take(store).job.id for _ in range(3)] == [urgent, old, young]
    assert store.claim(owner="two", consumer="here", lease_seconds=60) is None


def test_a_claim_is_visible_and_a_lease_protects_it(store: SqlStore, clock: ManualClock) -> None:
    created = store.create(new_job())
    claim = take(store, lease=60)
    assert (claim.job.status, claim.job.stage) == (JobStatus.PROCESSING, Phase.DECODING)
    assert (claim.job.attempts, claim.job.strikes, claim.fence, claim.job.lease_owner) == (1, 0, 1, "one")
    assert claim.job.started_at is not None and claim.job.version > created.version
    clock.advance(50)
    store.heartbeat(claim, 60)
    clock.advance(50)
    assert store.claim(owner="two", consumer="there", lease_seconds=60) is None
    assert store.get(created.id).version == claim.job.version, "a heartbeat is not a visible change"


def test_every_write_under_an_old_fence_is_refused(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    other = store.create(new_job(priority=-1)).id
    stale = take(store, lease=60)
    store.progress(stale, plan_hash="p")
    store.plan(stale, planned(0))
    clock.advance(61)
    fresh = take(store, owner="two")
    assert fresh.job.id == job_id and fresh.fence == stale.fence + 1
    before, rows = store.get(job_id), store.tasks(job_id)
    same_name = Claim(job=stale.job, fence=stale.fence, owner="two")
    other_name = Claim(job=stale.job, fence=fresh.fence, owner="one")
    writes: list[Callable[[Claim], Any]] = [
        lambda c: store.heartbeat(c, 60),
        lambda c: store.release(c),
        lambda c: store.progress(c, duration=1.0),
        lambda c: store.plan(c, planned(1)),
        lambda c: store.take(c, planned(0)[0]),
        lambda c: store.adopt(c, other, {}),
        lambda c: store.fail(c, FAILURE),
        lambda c: store.cancelled(c),
        lambda c: finish(store, c),
    ]
    for write in writes:
        for claim in (stale, same_name, other_name):
            with pytest.raises(LeaseLost):
                write(claim)
    assert (store.get(job_id), store.tasks(job_id)) == (before, rows)


def test_a_released_job_waits_its_delay_and_costs_no_attempt(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    store.release(take(store), delay=30)
    released = store.get(job_id)
    assert (released.status, released.stage) == (JobStatus.QUEUED, Phase.QUEUED)
    assert (released.attempts, released.strikes, released.lease_owner) == (0, 0, None)
    assert outbox_size(store) == 1, "a hint waits already"
    assert store.claim(owner="two", consumer="here", lease_seconds=60) is None
    clock.advance(30)
    claim = take(store)
    assert (claim.job.attempts, claim.job.strikes, claim.fence) == (1, 0, 2)


def test_a_release_adds_a_hint_that_is_due_with_the_job(store: SqlStore, clock: ManualClock) -> None:
    store.create(new_job())
    store.sent([hint for hint, _ in store.unsent(10)])
    store.release(take(store), delay=30)
    assert store.unsent(10) == []
    clock.advance(30)
    assert len(store.unsent(10)) == 1


def test_a_dead_owners_jobs_are_free_at_once(store: SqlStore) -> None:
    kept, freed, cancelled = (store.create(new_job()).id for _ in range(3))
    mine, lost, unwanted = take(store, owner="alive"), take(store, owner="dead"), take(store, owner="dead")
    store.request_cancel(cancelled)
    assert sorted(store.held("here")) == [(kept, "alive", False), (freed, "dead", False), (cancelled, "dead", True)]
    assert store.held("elsewhere") == []
    assert sorted(store.free_owner("dead")) == [freed, cancelled]
    assert store.get(cancelled).status is JobStatus.CANCELLED
    assert store.held("here") == [(kept, "alive", False)]
    with pytest.raises(LeaseLost):
        store.heartbeat(lost, 60)
    with pytest.raises(LeaseLost):
        store.heartbeat(unwanted, 60)
    store.heartbeat(mine, 60)
    again = take(store, owner="next")
    assert (again.job.id, again.job.strikes) == (freed, 1)


def test_short_jobs_by_duration_or_by_size(store: SqlStore, clock: ManualClock) -> None:
    big = store.create(new_job(bytes=19_200_001)).id
    long = store.create(new_job()).id
    small = store.create(new_job(bytes=19_200_000)).id
    first, second = take(store), take(store)
    assert (first.job.id, second.job.id) == (big, long)
    store.progress(first, duration=599.9)
    store.progress(second, duration=600.0)
    for claim in (first, second):
        store.release(claim)
    assert [take(store, only=Only.SHORT).job.id for _ in range(2)] == [big, small]
    assert store.claim(owner="two", consumer="here", lease_seconds=60, only=Only.SHORT) is None
    assert take(store).job.id == long


def test_no_role_of_the_store_hides_what_another_has_under_the_same_name() -> None:
    roles = [kind for kind in SqlStore.__mro__ if kind.__module__.startswith("core.store.roles")]
    names = Counter(name for kind in roles for name in vars(kind) if not name.startswith("__"))
    assert len(names) > 50 and {name for name, count in names.items() if count > 1} == set()


def test_jobs_and_plans_of_a_newer_version_are_left_alone(store: SqlStore, clock: ManualClock) -> None:
    newer = SqlStore(store.database, row_version=ROW_VERSION + 1)
    written = newer.create(new_job()).id
    assert store.claim(owner="old", consumer="here", lease_seconds=60) is None
    planned_by_newer = store.create(new_job(priority=1)).id
    claim = take(newer)
    assert claim.job.id == planned_by_newer
    newer.plan(claim, planned(0))
    newer.release(claim)
    assert store.claim(owner="old", consumer="here", lease_seconds=60) is None
    assert {take(newer).job.id for _ in range(2)} == {written, planned_by_newer}


def test_progress_writes_what_a_run_learns_and_nothing_else(store: SqlStore) -> None:
    store.create(new_job())
    claim = take(store)
    store.progress(
        claim,
        stage=Phase.TRANSCRIBING,
        duration=12.5,
        language="en",
        language_confidence=0.9,
        speech_seconds=9.0,
        chunks_total=4,
        eta_seconds=3.0,
        diarized=0.25,
        warnings=({"code": "a", "message": "b"},),
    )
    now = store.get(claim.job.id)
    assert (now.stage, now.duration, now.language, now.chunks_total) == (Phase.TRANSCRIBING, 12.5, "en", 4)
    assert now.diarized == 0.25
    assert now.version == claim.job.version + 1 and now.warnings[0]["code"] == "a"
    for forbidden in ("status", "fence", "attempts", "result_key", "nonsense"):
        with pytest.raises(ValueError, match=forbidden):
            store.progress(claim, **{forbidden: 1})


# --- crashes


def crash(store: SqlStore, clock: ManualClock, **options: Any) -> Claim:
    clock.advance(61)
    return take(store, **options)


def test_a_job_that_never_gets_further_fails_after_max_attempts(store: SqlStore, clock: ManualClock) -> None:
    poison = store.create(new_job(priority=9)).id
    healthy = store.create(new_job()).id
    take(store)
    assert [crash(store, clock).job.strikes for _ in range(2)] == [1, 2]
    assert crash(store, clock).job.id == healthy, "the queue is not blocked"
    failed = store.get(poison)
    assert failed.status is JobStatus.FAILED and failed.attempts == 3
    assert failed.error is not None and failed.error.message
    assert (failed.error.code, failed.error.stage, failed.error.retryable) == ("worker_crashed", "decoding", True)


def test_the_sweep_fails_it_when_nobody_claims(store: SqlStore, clock: ManualClock) -> None:
    store.create(new_job())
    take(store)
    assert store.sweep(max_attempts=1) == {"cancelled": 0, "failed": 0}, "the lease still holds"
    clock.advance(61)
    assert store.sweep(max_attempts=2) == {"cancelled": 0, "failed": 0}
    assert store.sweep(max_attempts=1) == {"cancelled": 0, "failed": 1}
    assert store.sweep(max_attempts=1) == {"cancelled": 0, "failed": 0}


def test_attempts_counted_at_release_end_too(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    for _ in range(2):
        store.release(take(store, max_attempts=2), count_attempt=True)
    assert store.claim(owner="one", consumer="here", lease_seconds=60, max_attempts=2) is None
    assert store.sweep(max_attempts=2) == {"cancelled": 0, "failed": 1}
    assert store.get(job_id).status is JobStatus.FAILED


def test_twenty_crashes_that_each_advance_cost_nothing(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    claim = take(store)
    store.plan(claim, planned(*range(20)))
    for number in range(20):
        assert finish_task(store, claim, ended(number))
        claim = crash(store, clock)
        assert claim.job.strikes == 1
    finish(store, claim)
    assert store.get(job_id).status is JobStatus.COMPLETED
    assert [task.crashes for task in store.tasks(job_id)] == [0] * 20


def test_a_last_chunk_that_kills_does_not_take_the_finished_ones_with_it(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    claim = take(store)
    store.plan(claim, planned(0, 1))
    finish_task(store, claim, ended(0))
    for strikes in (1, 2, 3):
        assert start(store, claim, 1).crashes == strikes - 1
        claim = crash(store, clock)
        assert claim.job.strikes == strikes
        assert store.sweep(max_attempts=3) == {"cancelled": 0, "failed": 0}
    assert [task.crashes for task in store.tasks(job_id)] == [0, 3], "it is given up now, and only it"
    store.release(claim)
    assert store.sweep(max_attempts=3) == {"cancelled": 0, "failed": 0}, "also when it is drained away before"
    claim = take(store)
    assert (claim.job.id, claim.job.strikes) == (job_id, 3)
    finish_task(store, claim, ended(1, None))
    store.release(claim)
    take(store)
    clock.advance(61)
    assert store.sweep(max_attempts=3) == {"cancelled": 0, "failed": 1}, "once more, and no further"


def test_crashes_are_counted_by_task_in_flight(store: SqlStore, clock: ManualClock) -> None:
    store.create(new_job())
    claim = take(store)

    def crashes() -> list[int]:
        return [task.crashes for task in store.tasks(claim.job.id)]

    store.plan(claim, planned(0, 1, 2, 3))
    for number in (0, 1, 2):
        start(store, claim, number)
    finish_task(store, claim, ended(1))
    claim = crash(store, clock)
    assert crashes() == [1, 0, 1, 0]
    start(store, claim, 2)
    start(store, claim, 2)  # once more by the same owner: it lives
    store.release(claim)
    claim = take(store)
    assert crashes() == [1, 0, 1, 0], "handing back is not a crash"
    start(store, claim, 2)
    claim = crash(store, clock, max_attempts=9)
    assert crashes() == [1, 0, 2, 0]
    claim = crash(store, clock, max_attempts=9)
    assert crashes() == [1, 0, 2, 0], "nothing was started since"
    start(store, claim, 3)
    store.free_owner(claim.owner)
    assert crashes() == [1, 0, 2, 1], "its parent has seen it die"


# --- tasks


def test_a_finished_task_never_changes(store: SqlStore) -> None:
    store.create(new_job())
    claim = take(store)
    store.plan(claim, planned(0, 1))
    lease = start(store, claim, 0)
    assert store.commit(lease, ended(0, "first"))
    after = store.get(claim.job.id)
    assert not store.commit(lease, ended(0, None))
    assert store.take(claim, ended(0)) is None
    store.plan(claim, [Task(stage=TRANSCRIBE, plan={"other": 1}), *planned(1, 2)])
    tasks = store.tasks(claim.job.id)
    assert store.get(claim.job.id) == after
    assert tasks[0].output == {"text": "first"} and tasks[0].state is TaskState.DONE and tasks[0].error is None
    assert [task.plan for task in tasks] == [task.plan for task in planned(0, 1, 2)]


def test_a_plan_has_no_holes_and_no_strangers(store: SqlStore) -> None:
    store.create(new_job())
    claim = take(store)
    store.plan(claim, planned(0))
    for hole in (planned(2), planned(1, 3), planned(1, 1)):
        with pytest.raises(ValueError, match="do not continue"):
            store.plan(claim, hole)
    with pytest.raises(ValueError, match="done or failed"):
        store.commit(start(store, claim, 0), planned(0)[0])
    with pytest.raises(LeaseLost):
        store.commit(replace(start(store, claim, 0), number=7), ended(7))
    assert len(store.tasks(claim.job.id)) == 1


def test_stages_have_tasks_of_their_own(store: SqlStore) -> None:
    store.create(new_job())
    claim = take(store)
    store.plan(claim, planned(0, 1))
    whole = Task(stage="loudness", identity="i", plan={"of": "all"})
    lease = store.take(claim, whole)
    assert lease is not None, "one that was not planned is stored as it begins"
    assert store.commit(lease, replace(whole, state=TaskState.DONE, output={"peak": 3}))
    assert [(task.number, task.state) for task in store.tasks(claim.job.id, TRANSCRIBE)] == [
        (0, TaskState.PLANNED),
        (1, TaskState.PLANNED),
    ]
    assert store.tasks(claim.job.id, "loudness") == [replace(whole, state=TaskState.DONE, output={"peak": 3})]
    assert store.take(claim, whole) is None


def test_a_failed_task_is_no_way_out_of_strikes(store: SqlStore, clock: ManualClock) -> None:
    store.create(new_job())
    claim = take(store)
    store.plan(claim, planned(0, 1))
    claim = crash(store, clock)
    finish_task(store, claim, ended(0, None))
    claim = crash(store, clock)
    assert claim.job.strikes == 2
    finish_task(store, claim, ended(1))
    assert crash(store, clock).job.strikes == 1


def test_another_consumer_can_take_a_task(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    claim = take(store)
    store.plan(claim, planned(0, 1))
    helped = store.help_with(job_id, planned(0)[0], owner="helper", lease_seconds=20)
    assert helped is not None
    assert store.take(claim, planned(0)[0]) is None, "it is worked on"
    assert store.help_with(job_id, planned(0)[0], owner="third", lease_seconds=20) is None
    clock.advance(15)
    store.renew_lease(helped, 20)
    clock.advance(15)
    assert store.take(claim, planned(0)[0]) is None
    assert store.commit(helped, ended(0, "from afar"))
    assert store.tasks(job_id)[0].output == {"text": "from afar"}
    before = store.get(job_id)
    lost = store.help_with(job_id, planned(1)[0], owner="helper", lease_seconds=20)
    assert lost is not None
    clock.advance(21)
    mine = store.take(claim, planned(1)[0])
    assert mine is not None and mine.crashes == 1, "the helper died"
    for late in (lambda: store.renew_lease(lost, 20), lambda: store.commit(lost, ended(1, "late"))):
        with pytest.raises(LeaseLost):
            late()
    assert store.commit(mine, ended(1))
    assert store.get(job_id) == before, "nothing of it touched the job's row"
    assert [task.number for task in store.tasks(job_id, TRANSCRIBE, [1, 7])] == [1]


def test_an_owner_that_takes_a_task_twice_holds_it_once(store: SqlStore) -> None:
    store.create(new_job())
    claim = take(store)
    store.plan(claim, planned(0))
    first, second = start(store, claim, 0), start(store, claim, 0)
    assert first == second and store.commit(first, ended(0))


def test_a_helper_survives_its_jobs_owner_and_not_its_jobs_end(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    claim = take(store)
    store.plan(claim, planned(0, 1))
    start(store, claim, 1)
    helped = store.help_with(job_id, planned(0)[0], owner="helper", lease_seconds=600)
    assert helped is not None
    claim = crash(store, clock)
    assert [task.crashes for task in store.tasks(job_id)] == [0, 1], "the owner's task, and not the helper's"
    assert store.commit(helped, ended(0))
    helped = store.help_with(job_id, planned(1)[0], owner="helper", lease_seconds=600)
    assert helped is not None
    store.fail(claim, FAILURE)
    with pytest.raises(LeaseLost):
        store.commit(helped, ended(1))
    assert store.help_with(job_id, planned(1)[0], owner="third", lease_seconds=600) is None


def test_the_owners_leases_last_as_long_as_the_jobs(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    claim = take(store, lease=60)
    store.plan(claim, planned(0))
    clock.advance(50)
    start(store, claim, 0)
    store.heartbeat(claim, 60)
    clock.advance(50)
    assert store.help_with(job_id, planned(0)[0], owner="helper", lease_seconds=60) is None
    clock.advance(11)
    late = store.help_with(job_id, planned(0)[0], owner="helper", lease_seconds=60)
    assert late is not None and late.crashes == 1


def test_a_retry_adopts_what_is_done(store: SqlStore) -> None:
    store.create(new_job())
    old = take(store)
    store.plan(old, [replace(task, identity="same", audio_seconds=3.0) for task in planned(0, 1, 2)])
    finish_task(store, old, ended(0, "kept"))
    finish_task(store, old, ended(1, None))
    lease = store.take(old, Task(stage="loudness", identity="loud"))
    assert lease is not None
    store.commit(lease, Task(stage="loudness", state=TaskState.DONE, output={"peak": 1}))
    store.fail(old, FAILURE)
    store.create(new_job(retry_of=old.job.id))
    new = take(store)
    assert store.adopt(new, old.job.id, {TRANSCRIBE: "another"}) == 0 and store.tasks(new.job.id) == []
    for _ in range(2):  # a crash in between makes the next owner ask again
        assert store.adopt(new, old.job.id, {TRANSCRIBE: "same", "loudness": "louder"}) == 1
    tasks = store.tasks(new.job.id)
    assert [task.state for task in tasks] == [TaskState.DONE, TaskState.PLANNED, TaskState.PLANNED]
    assert tasks[0].output == {"text": "kept"} and tasks[0].engine_seconds == 0.5 and tasks[1].error is None
    taken = store.get(new.job.id)
    assert (taken.chunks_done, taken.audio_seconds_done) == (1, 3.0)
    assert store.adopt(new, old.job.id, {"loudness": "loud"}) == 1, "chunks that are done"
    assert store.tasks(new.job.id, "loudness")[0].output == {"peak": 1}
    assert len(store.tasks(old.job.id)) == 4


# --- ends


def test_finish_stores_all_and_ends_the_lease(store: SqlStore, clock: ManualClock) -> None:
    job_id = store.create(new_job()).id
    claim = take(store)
    gap = {"start": 1.0, "end": 2.0, "reason": "no_text"}
    finish(store, claim, partial=True, gaps=[gap], performance={"wall": 1.5})
    ended = store.get(job_id)
    assert (ended.status, ended.stage, ended.result_key) == (JobStatus.COMPLETED, Phase.DONE, "r")
    assert (ended.partial, ended.gaps, ended.performance) == (True, (gap,), {"wall": 1.5})
    assert ended.finished_at is not None and ended.lease_owner is None and ended.percent == 100.0
    finish(store, claim)  # its first answer was lost
    assert store.get(job_id) == ended
    with pytest.raises(LeaseLost):
        store.fail(claim, FAILURE)
    with pytest.raises(LeaseLost):
        store.heartbeat(claim, 60)
    with pytest.raises(AlreadyTerminal):
        store.request_cancel(job_id)
    clock.advance(1e6)
    assert store.claim(owner="two", consumer="here", lease_seconds=60) is None
    assert outbox_size(store) == 0


@pytest.mark.parametrize("by", ["owner", "sweep", "cancel"])
def test_every_end_counts_the_chunks(store: SqlStore, clock: ManualClock, by: str) -> None:
    """Also those whose owner had not come to write it."""
    job_id = store.create(new_job()).id
    claim = take(store)
    store.plan(claim, [replace(one, audio_seconds=1.5) for one in planned(0, 1, 2)])
    finish_task(store, claim, ended(0))
    store.progress(claim, chunks_done=1, audio_seconds_done=1.5)
    finish_task(store, claim, ended(1, None))
    if by == "owner":
        store.fail(claim, FAILURE)
    elif by == "cancel":
        store.request_cancel(job_id)
        store.cancelled(claim)
    else:
        clock.advance(61)
        store.sweep(max_attempts=1)
    job = store.get(job_id)
    assert job.finished_at is not None
    assert (job.chunks_done, job.audio_seconds_done) == (2, 3.0)


def test_cancel_in_every_state(store: SqlStore, clock: ManualClock) -> None:
    waiting = store.create(new_job()).id
    assert store.request_cancel(waiting).status is JobStatus.CANCELLED
    assert outbox_size(store) == 0
    for let_go in (store.cancelled, store.release):
        store.create(new_job())
        claim = take(store)
        asked = store.request_cancel(claim.job.id)
        assert asked.status is JobStatus.CANCELLING and store.request_cancel(claim.job.id) == asked
        let_go(claim)
        assert store.get(claim.job.id).status is JobStatus.CANCELLED
    store.create(new_job())
    claim = take(store)
    store.request_cancel(claim.job.id)
    with pytest.raises(Cancelled):
        finish(store, claim)
    with pytest.raises(Cancelled):
        store.fail(claim, FAILURE)
    ended = store.get(claim.job.id)
    assert (ended.status, ended.result_key, ended.error) == (JobStatus.CANCELLED, None, None)


@pytest.mark.parametrize("by", ["claim", "sweep"])
def test_a_cancel_whose_owner_died_ends(store: SqlStore, clock: ManualClock, by: str) -> None:
    job_id = store.create(new_job()).id
    take(store)
    store.request_cancel(job_id)
    clock.advance(61)
    if by == "claim":
        assert store.claim(owner="two", consumer="here", lease_seconds=60) is None
    else:
        assert store.sweep(max_attempts=3) == {"cancelled": 1, "failed": 0}
    assert store.get(job_id).status is JobStatus.CANCELLED


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_the_database_itself_keeps_a_terminal_status(store: SqlStore, status: JobStatus) -> None:
    store.create(new_job())
    claim = take(store)
    if status is JobStatus.COMPLETED:
        finish(store, claim)
    elif status is JobStatus.FAILED:
        store.fail(claim, FAILURE)
    else:
        store.request_cancel(claim.job.id)
        store.cancelled(claim)
    for other in set(JobStatus) - {status}:
        with pytest.raises(IntegrityError, match="terminal"), store.database.write() as connection:
            connection.execute(update(job).values(status=other))
    assert store.get(claim.job.id).status is status
    store.request_delete(claim.job.id)
    store.remove(claim.job.id)


# --- sweeper


def test_delete_hides_at_once_and_removes_when_the_owner_has_let_go(store: SqlStore, clock: ManualClock) -> None:
    new = new_job()
    store.create(new)
    claim = take(store)
    store.plan(claim, planned(0))
    store.request_delete(new.id)
    for ask in (store.get, store.request_cancel, store.request_delete):
        with pytest.raises(JobNotFound):
            ask(new.id)
    assert store.list()[0] == [] and sum(store.counts().values()) == 0
    assert store.held("here") == [(new.id, "one", True)] and store.removable(limit=5) == []
    assert store.known_keys([new.source.key]) == {new.source.key}
    store.cancelled(claim)
    assert [j.id for j in store.removable(limit=5)] == [new.id]
    store.remove(new.id)
    assert store.removable(limit=5) == [] and store.tasks(new.id) == [] and store.known_keys([new.source.key]) == set()
    with pytest.raises(LeaseLost):
        store.heartbeat(claim, 60)


def test_hints_are_repeated_with_growing_pauses(store: SqlStore, clock: ManualClock) -> None:
    store.create(new_job())
    hints, due = 0, []
    for second in range(5, 1390, 5):
        if found := store.unsent(10):
            store.sent([hint for hint, _ in found])
            hints += len(found)
        clock.advance(5)
        if store.rehint(older_than=5, limit=10):
            due.append(second)
    assert due == [5, 15, 35, *range(75, 1390, 60)], "at most a minute: what a lost broker may cost a waiting job"
    assert hints == 1 + len(due)


def test_rehint_is_bounded_spares_the_unsent_and_finds_lost_leases(store: SqlStore, clock: ManualClock) -> None:
    for _ in range(5):
        store.create(new_job())
    clock.advance(10)
    assert store.rehint(older_than=5, limit=10) == 0, "all five still wait to be sent"
    store.sent([hint for hint, _ in store.unsent(10)])
    assert [store.rehint(older_than=5, limit=3) for _ in range(3)] == [3, 2, 0]
    store.sent([hint for hint, _ in store.unsent(10)])
    running = [take(store) for _ in range(5)]
    clock.advance(30)
    assert store.rehint(older_than=5, limit=10) == 0
    clock.advance(31)
    store.heartbeat(running[0], 60)
    assert store.rehint(older_than=5, limit=10) == 4


def test_retention_counts_audio_and_results_apart(store: SqlStore) -> None:
    new, young = new_job(), new_job()
    store.create(new)
    claim = take(store)
    store.plan(claim, planned(0))
    finish_task(store, claim, ended(0))
    finish(store, claim)
    store.create(young)
    take(store)
    assert store.expire(audio_hours=0, result_hours=0, limit=10) == []
    assert store.expire(audio_hours=1, result_hours=1, limit=10) == []
    with store.database.write() as connection:
        past = datetime.now(UTC) - timedelta(hours=2)
        connection.execute(update(job).where(job.c.id == new.id).values(finished_at=past))
    (gone,) = store.expire(audio_hours=1, result_hours=3, limit=10)
    assert (gone.id, gone.expired_audio, gone.expired_result) == (new.id, True, False)
    assert store.known_keys([new.source.key, "r", young.source.key, "x"]) == {"r", young.source.key}
    assert store.tasks(new.id)
    (gone,) = store.expire(audio_hours=1, result_hours=1, limit=10)
    assert gone.expired_result and store.tasks(new.id) == [] and store.known_keys(["r"]) == set()
    assert store.expire(audio_hours=1, result_hours=1, limit=10) == []
    assert store.get(new.id).version == gone.version


def test_no_retry_of_what_is_just_being_removed(store: SqlStore) -> None:
    """The upload is shared: who removes it has looked for others that need it."""
    gone, old = new_job(), new_job()
    store.create(gone)
    store.request_delete(gone.id)
    with pytest.raises(JobNotFound):
        store.create(new_job(key=gone.source.key, retry_of=gone.id))
    store.create(old)
    store.request_cancel(old.id)
    with store.database.write() as connection:
        connection.execute(update(job).where(job.c.id == old.id).values(expired_audio=True))
    with pytest.raises(Expired):
        store.create(new_job(key=old.source.key, retry_of=old.id))
    assert sum(store.counts().values()) == 1


def test_an_upload_shared_with_a_retry_stays_known(store: SqlStore) -> None:
    first = new_job(key="shared")
    store.create(first)
    second = new_job(key="shared", retry_of=first.id)
    store.create(second)
    assert store.known_keys(["shared"], besides=first.id) == {"shared"}
    store.request_delete(second.id)
    store.remove(second.id)
    assert store.known_keys(["shared"], besides=first.id) == set()


# --- idempotency, consumers


def test_a_reservation_is_exclusive_until_it_runs_out(store: SqlStore, clock: ManualClock) -> None:
    assert store.reserve("k", lease_seconds=60) is None
    assert store.of("somebody else").reserve("k", lease_seconds=60) is None
    with pytest.raises(IdempotencyInFlight):
        store.reserve("k", lease_seconds=60)
    clock.advance(61)
    assert store.reserve("k", lease_seconds=60) is None
    store.free("k")
    assert store.reserve("k", lease_seconds=60) is None


def test_a_reservation_that_is_renewed_does_not_run_out(store: SqlStore, clock: ManualClock) -> None:
    store.reserve("k", lease_seconds=9)
    for _ in range(10):
        clock.advance(8)
        store.renew("k", lease_seconds=9)
        store.of("somebody else").renew("k", lease_seconds=9)
    with pytest.raises(IdempotencyInFlight):
        store.reserve("k", lease_seconds=9)
    clock.advance(10)
    assert store.reserve("k", lease_seconds=9) is None
    mine = store.create(new_job(), reservation=Reservation(key="k", fingerprint="f"))
    store.renew("k", lease_seconds=9)
    assert store.reserve("k", lease_seconds=9) == mine.id, "what has become a job needs no lease"
    assert store.reserve("other", lease_seconds=9) is None, "renewing reserves nothing"


def test_create_binds_the_key_in_the_same_transaction(store: SqlStore, clock: ManualClock) -> None:
    mine, late = new_job(), new_job()
    store.reserve("k", lease_seconds=60)
    clock.advance(61)
    store.reserve("k", lease_seconds=60)  # another request; the upload of the first took too long
    reservation = Reservation(key="k", fingerprint="f")
    store.create(mine, reservation=reservation)
    with pytest.raises(IdempotencyInFlight):
        store.create(late, reservation=reservation)
    with pytest.raises(JobNotFound):
        store.get(late.id)
    clock.advance(1e6)
    assert store.reserve("k", lease_seconds=60) == mine.id and store.fingerprint("k") == "f"
    store.free("k")
    assert store.reserve("k", lease_seconds=60) == mine.id, "only a reservation can be given up"
    store.request_delete(mine.id)
    assert store.reserve("k", lease_seconds=60) is None


def test_a_reservation_whose_request_died_is_forgotten_after_a_day(store: SqlStore, clock: ManualClock) -> None:
    for key in ("lost", "bound"):
        store.reserve(key, lease_seconds=60)
    store.create(new_job(), reservation=Reservation(key="bound", fingerprint="f"))

    def kept() -> set[str]:
        store.sweep(max_attempts=3)
        with store.database.read() as connection:
            return set(connection.scalars(select(idempotency.c.key)))

    clock.advance(61)
    assert kept() == {"lost", "bound"}, "its upload may still come"
    clock.advance(24 * 3600)
    store.reserve("new", lease_seconds=60)
    assert kept() == {"new", "bound"}


def test_one_of_all_takes_a_turn(store: SqlStore, clock: ManualClock) -> None:
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: store.take_turn("a", every=60), range(8)))
    assert sorted(taken) == [False] * 7 + [True]
    assert store.take_turn("b", every=60), "tasks have turns of their own"
    clock.advance(59)
    assert not store.take_turn("a", every=60)
    clock.advance(1)
    assert [store.take_turn("a", every=60) for _ in range(2)] == [True, False]


def test_consumers_are_seen_and_forgotten(store: SqlStore, clock: ManualClock) -> None:
    store.beat("a", consumer())
    clock.advance(10)
    store.beat("b", ConsumerInfo())
    store.beat("b", ConsumerInfo(host="i"))
    first, second = store.consumers()
    assert (first.name, first.silent_seconds, first.info) == ("a", 10.0, consumer())
    assert (second.silent_seconds, second.info) == (0.0, ConsumerInfo(host="i")) and second.started_at.tzinfo is UTC
    clock.advance(24 * 3600)
    store.beat("b", ConsumerInfo())
    assert [row.name for row in store.consumers()] == ["b"]
    store.leave("b")
    assert store.consumers() == []


# --- what followers ask


def test_the_chunks_that_have_ended_in_order_and_without_a_hole(store: SqlStore) -> None:
    store.create(new_job())
    claim = take(store)
    store.plan(claim, planned(*range(6)))

    def numbers(first: int = 0, limit: int = 100) -> list[int]:
        return [part.number for part in store.ended_chunks(claim.job.id, first=first, limit=limit)]

    assert numbers() == []
    for number, text in ((1, "b"), (0, "a"), (2, None), (4, "e")):
        finish_task(store, claim, ended(number, text))
    assert (numbers(), numbers(1), numbers(3), numbers(4), numbers(0, 2)) == ([0, 1, 2], [1, 2], [], [4], [0, 1])
    outputs = [part.output for part in store.ended_chunks(claim.job.id, first=0, limit=9)]
    assert outputs == [{"text": "a"}, {"text": "b"}, None]
    store.commit(start(store, claim, 3), ended(3))
    store.commit(start(store, claim, 5), ended(5))
    assert numbers(2) == [2, 3, 4, 5]
    assert list(store.ended_chunks("nobody's", first=0, limit=9)) == []


def test_an_owners_jobs_that_move(store: SqlStore) -> None:
    anna, bert = store.of("anna"), store.of("bert")
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    done = anna.create(new_job()).id
    finish(store, take(store))
    working = anna.create(new_job()).id
    claim = take(store)
    gone, waiting, theirs = anna.create(new_job()).id, anna.create(new_job()).id, bert.create(new_job()).id
    anna.request_delete(gone)

    def moving(owner: str | None, since: datetime = past, *, all_jobs: bool = False, limit: int = 9) -> set[str]:
        found = store.moving(owner, all_jobs=all_jobs, ended_since=since, limit=limit)
        assert found == store.versions(found)
        return {*found}

    assert moving("anna") == {done, working, waiting} and moving("bert") == {theirs}
    assert moving(None) == set() and moving(None, all_jobs=True) == {done, working, waiting, theirs}
    assert moving("anna", future) == {working, waiting}
    anna.request_cancel(working)
    assert moving("anna", future, limit=1) == {working, waiting}, "so many of each status"
    store.cancelled(claim)
    assert moving("anna", limit=1) == {working, waiting}, "the newest"
