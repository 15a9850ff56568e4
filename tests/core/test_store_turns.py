"""Claims follow `core.jobs.turns` on each database, by an index, and ask for no more than a slot may take."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from core.jobs.job import Claim
from core.jobs.turns import AGE_SECONDS, BULK, INTERACTIVE, NORMAL, Only, Waiting, in_turn
from core.store.roles.jobs import SqlJobs
from core.store.sql import SqlStore
from core.store.tables import ROW_VERSION, job
from core.system.clock import ManualClock
from tests.core.store_kit import clock, consumer, new_job, sqlite_work, steps_of, store, take

__all__ = ["clock", "store"]


def create(store: SqlStore, owner: str | None = None, *, waited: float = 0.0, **changes: Any) -> str:
    """A job that has waited for so many seconds."""
    view = SqlJobs(store.database, row_version=store.row_version).bound(owner, all_jobs=False)
    job_id = view.create(new_job(**changes)).id
    with store.database.write() as connection:
        came = datetime.now(UTC) - timedelta(seconds=waited)
        connection.execute(update(job).where(job.c.id == job_id).values(created_at=came))
    return job_id


def finish(store: SqlStore, claim: Claim) -> None:
    store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})


@pytest.mark.parametrize("seed", range(4))
def test_claims_follow_the_model(store: SqlStore, seed: int) -> None:
    """Some jobs end in between, so that owners have more and fewer running."""
    dice = random.Random(seed)
    waiting: dict[str, Waiting] = {}
    for _ in range(40):
        owner, priority = dice.choice([None, "anna", "ben", "cleo"]), dice.choice([BULK, NORMAL, INTERACTIVE, 3])
        waited = AGE_SECONDS * dice.randrange(4) + dice.uniform(60, AGE_SECONDS - 60)  # away from where they grow
        job_id = create(store, owner, waited=waited, priority=priority)
        waiting[job_id] = Waiting(id=job_id, owner=owner, priority=priority, since=store.get(job_id).created_at)
    served: dict[str | None, datetime] = {}
    running: list[tuple[Claim, str | None]] = []
    while waiting:
        only = dice.choice([Only.ANY, Only.ANY, Only.INTERACTIVE])
        lines: dict[tuple[str | None, int], Waiting] = {}
        for one in sorted(waiting.values(), key=lambda one: (one.since, one.id), reverse=True):
            if only is Only.ANY or one.priority >= INTERACTIVE:
                lines[one.owner, one.priority] = one
        count = Counter(owner for _, owner in running)
        expected = in_turn(lines.values(), now=datetime.now(UTC), running=count, served=served)
        claim = store.claim(owner="one", consumer="here", lease_seconds=60, only=only)
        if not expected:
            assert claim is None
            continue
        assert claim is not None and claim.job.id == expected[0].id
        mine = waiting.pop(claim.job.id).owner
        served[mine] = datetime.now(UTC)
        running.append((claim, mine))
        if dice.random() < 0.6:
            finish(store, running.pop(dice.randrange(len(running)))[0])
    assert store.claim(owner="one", consumer="here", lease_seconds=60) is None


def test_a_bulk_job_grows_through_the_classes(store: SqlStore) -> None:
    bulk, normal = create(store, priority=BULK, waited=700), create(store, priority=NORMAL)
    clip = create(store, priority=INTERACTIVE)
    assert [take(store).job.id for _ in range(3)] == [clip, bulk, normal]
    bulk, clip = create(store, priority=BULK, waited=25), create(store, priority=INTERACTIVE)
    assert take(store, age_seconds=10.0).job.id == bulk, "the installation says how long it takes"
    assert take(store).job.id == clip


def test_a_turn_is_remembered_when_its_job_is_gone(store: SqlStore) -> None:
    """Who takes its results away at once gets no more turns for it."""
    first, _, ben = create(store, "anna", waited=50), create(store, "anna", waited=40), create(store, "ben", waited=30)
    claim = take(store)
    assert claim.job.id == first
    finish(store, claim)
    store.request_delete(first)
    store.remove(first)
    assert take(store).job.id == ben


def test_who_cannot_be_taken_yet_holds_up_nobody_behind_it(store: SqlStore, clock: ManualClock) -> None:
    put_off, behind = create(store, "anna", waited=50), create(store, "anna", waited=40)
    store.release(take(store), delay=30)
    newer = SqlStore(store.database, row_version=ROW_VERSION + 1)
    create(newer, "ben", waited=60)
    assert take(store).job.id == behind
    assert store.claim(owner="one", consumer="here", lease_seconds=60) is None
    clock.advance(31)
    assert take(store).job.id == put_off


def test_a_lost_job_has_its_place_among_those_that_wait(store: SqlStore, clock: ManualClock) -> None:
    lost = create(store, waited=30)
    take(store, lease=60)
    clip, young = create(store, priority=INTERACTIVE), create(store)
    clock.advance(61)
    assert [take(store).job.id for _ in range(3)] == [clip, lost, young]


def test_the_slot_for_interactive_jobs_takes_no_job_that_has_merely_waited(store: SqlStore) -> None:
    create(store, priority=BULK, waited=10 * AGE_SECONDS)
    assert store.claim(owner="one", consumer="here", lease_seconds=60, only=Only.INTERACTIVE) is None
    assert store.urgent() is None
    clip = create(store, "anna", priority=INTERACTIVE)
    assert store.urgent() == clip
    assert take(store, only=Only.INTERACTIVE).job.id == clip
    assert store.urgent() is None


def test_an_interactive_job_may_be_the_one_that_takes_no_usual_slot(store: SqlStore) -> None:
    """A hint too many costs a look; one too few would leave a slot empty."""
    store.beat("here", consumer(2))
    create(store)
    create(store, priority=INTERACTIVE)
    assert store.free_slots() == 2
    take(store)
    take(store)
    assert store.free_slots() == 1
    create(store)
    take(store)
    assert store.free_slots() == 0


def test_ten_thousand_waiting_jobs_are_leapt_over_by_an_index() -> None:
    """PostgreSQL's plan depends on its figures; SQLite's does not."""
    store = SqlStore.in_memory()
    create(store, "anna")
    steps = [step for step in steps_of(store, lambda: take(store)) if "job" in step]
    assert len(steps) >= 8 and all(step.startswith("SEARCH") for step in steps), steps
    leaps = [step for step in steps if "job_line" in step]
    assert {
        "(status=? AND owner>?)",
        "(status=? AND owner=? AND priority>?)",
        "(status=? AND owner=? AND priority=?)",
    } <= {step[step.index("(") :] for step in leaps}, steps
    store.close()


def test_what_is_asked_again_and_again_costs_no_more_while_many_jobs_wait() -> None:
    store = SqlStore.in_memory()
    create(store, "anna", priority=BULK, bytes=10**9)
    with store.database.write() as connection:
        row = dict(connection.execute(select(job)).mappings().one())
        connection.execute(insert(job), [row | {"id": f"x{n:05}", "hint_due": 0.0} for n in range(2000)])

    def claim(only: Only) -> None:
        assert store.claim(owner="one", consumer="here", lease_seconds=60, only=only) is None

    asked: dict[str, Callable[[], object]] = {
        "the slot beside the others": lambda: claim(Only.INTERACTIVE),
        "the slot for short jobs": lambda: claim(Only.SHORT),
        "who follows all jobs": lambda: store.moving("anna", all_jobs=False, ended_since=datetime.now(UTC), limit=10),
        "the supervisor": lambda: (store.urgent(), store.held("here")),
        "the sweeper": lambda: (store.sweep(max_attempts=3), store.rehint(older_than=5.0, limit=10)),
    }
    assert {name: work for name, act in asked.items() if (work := sqlite_work(store, act)) > 30} == {}
    store.close()


def test_of_ten_thousand_waiting_jobs_the_right_one_is_taken(store: SqlStore) -> None:
    first = create(store, "anna", waited=10)
    with store.database.write() as connection:
        row = dict(connection.execute(select(job)).mappings().one())
        came = datetime.now(UTC)
        rows = [
            row | {"id": f"x{n:05}", "owner": f"owner {n % 7}", "priority": BULK, "created_at": came}
            for n in range(10_000)
        ]
        connection.execute(insert(job), rows)
    clip = create(store, "owner 3", priority=INTERACTIVE)
    assert [take(store).job.id for _ in range(2)] == [clip, first]
    assert sorted(str(take(store).job.owner) for _ in range(6)) == [f"owner {n}" for n in (0, 1, 2, 4, 5, 6)]
