"""Many threads and processes at the job table at once: each job has one owner, each race one winner."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy import text

from core.errors import AlreadyTerminal, Cancelled, IdempotencyInFlight, LeaseLost
from core.jobs.consumers import ConsumerInfo
from core.jobs.job import JobStatus
from core.store.sql import SqlStore
from core.system.clock import ManualClock
from tests.core.store_kit import clock, empty, ended, finish_task, new_job, open_store, planned, start, store, take, url

__all__ = ["clock", "store", "url"]

LEASE = 0.5
FORK = multiprocessing.get_context("fork")


def together(*actions: Callable[[], Any]) -> list[Any]:
    """Run all at the same moment; returns what each returned or raised."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait(10)
        try:
            return action()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def test_threads_never_share_a_job(store: SqlStore) -> None:
    ids = [store.create(new_job(priority=random.randrange(3))).id for _ in range(24)]

    def claim_all(owner: str) -> list[str]:
        mine = []
        while claim := store.claim(owner=owner, consumer="here", lease_seconds=60):
            mine.append(claim.job.id)
        return mine

    taken = together(*(lambda n=n: claim_all(f"thread-{n}") for n in range(6)))
    assert sorted(sum(taken, [])) == sorted(ids)
    assert {job.attempts for job in store.list()[0]} == {1}


def _consume(store: SqlStore, pipe: Connection) -> None:
    """A consumer in a forked child, on the store object of its parent: connections must not be shared."""
    owner = f"process-{os.getpid()}"
    mine = []
    idle = 0
    while idle < 3:
        claim = store.claim(owner=owner, consumer="here", lease_seconds=30)
        if claim is None:
            idle += 1
            time.sleep(0.02)
            continue
        store.plan(claim, planned(0))
        finish_task(store, claim, ended(0))
        store.finish(claim, result_key=f"{claim.job.id}/r", partial=False, gaps=[], warnings=[], performance={})
        mine.append(claim.job.id)
    pipe.send(mine)


def test_eight_processes_finish_each_job_once(url: str) -> None:
    store = open_store(url, None)
    ids = [store.create(new_job()).id for _ in range(48)]
    pipes, children = [], []
    for _ in range(8):
        mine, theirs = FORK.Pipe(duplex=False)
        pipes.append(mine)
        children.append(FORK.Process(target=_consume, args=(store, theirs)))
        children[-1].start()
    taken = [pipe.recv() if pipe.poll(60) else [] for pipe in pipes]
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 8
    assert Counter(sum(taken, [])) == dict.fromkeys(ids, 1)
    assert {(job.status, job.attempts) for job in store.list(limit=100)[0]} == {(JobStatus.COMPLETED, 1)}
    store.close()


def _hold(store: SqlStore, pipe: Connection) -> None:
    claim = take(store, owner="doomed", lease=LEASE)
    store.plan(claim, planned(0, 1))
    pipe.send(start(store, claim, 0))
    time.sleep(60)


def test_a_killed_owner_is_replaced_when_its_lease_ends_by_the_real_clock(url: str) -> None:
    store = open_store(url, None)
    job_id = store.create(new_job()).id
    mine, theirs = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_hold, args=(store, theirs))
    started = time.monotonic()
    child.start()
    stale = mine.recv()
    child.kill()
    child.join(10)
    assert child.exitcode == -signal.SIGKILL
    while (claim := store.claim(owner="next", consumer="here", lease_seconds=60)) is None:
        assert time.monotonic() < started + 30
        time.sleep(0.05)
    assert time.monotonic() - started >= LEASE
    assert (claim.job.id, claim.fence, claim.job.strikes) == (job_id, 2, 1)
    assert [task.crashes for task in store.tasks(job_id)] == [1, 0]
    assert isinstance(together(lambda: store.commit(stale, ended(0)))[0], LeaseLost)
    store.close()


def test_cancel_against_finish_has_one_winner(store: SqlStore) -> None:
    for _ in range(25):
        job_id = store.create(new_job()).id
        claim = take(store)

        def finish(claim: Any = claim) -> None:
            store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})

        finished, cancelled = together(finish, partial(store.request_cancel, job_id))
        end = store.get(job_id)
        if end.status is JobStatus.COMPLETED:
            assert finished is None and isinstance(cancelled, AlreadyTerminal) and end.result_key == "r"
        else:
            assert end.status is JobStatus.CANCELLED and end.result_key is None
            assert isinstance(finished, Cancelled) and cancelled.status is JobStatus.CANCELLING


def test_a_stale_owner_against_its_successor(store: SqlStore, clock: ManualClock) -> None:
    """Both commit the chunk at the moment of take-over: it is stored once."""
    for _ in range(15):
        job_id = store.create(new_job(priority=1)).id
        stale = take(store)
        store.plan(stale, planned(0))
        late = start(store, stale, 0)
        clock.advance(61)

        def commit_late(lease: Any = late) -> bool:
            return store.commit(lease, ended(0, "old"))

        def succeed() -> bool:
            # a row that somebody is just writing to is passed over: consumers ask again
            while not (claim := store.claim(owner="two", consumer="here", lease_seconds=60)):
                time.sleep(0.001)
            lease = store.take(claim, planned(0)[0])
            return lease is not None and store.commit(lease, ended(0, "new"))

        old, new = together(commit_late, succeed)
        row = store.tasks(job_id)[0]
        assert (old, new, row.output) == (True, False, {"text": "old"}) or (
            (old is False or isinstance(old, LeaseLost)) and (new, row.output) == (True, {"text": "new"})
        )
        store.request_cancel(job_id)


def test_a_stale_owner_that_comes_amid_its_successors_claim_takes_nothing(
    postgres_url: str, clock: ManualClock
) -> None:
    """The claim is held up between the job's row and the tasks'. Where there is one writer at a time this cannot happen."""
    store = open_store(postgres_url, clock)
    empty(store.database)
    job_id = store.create(new_job()).id
    stale = take(store)
    store.plan(stale, planned(0))
    start(store, stale, 0)
    clock.advance(61)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def until_waiting(wanted: int) -> None:
        deadline = time.monotonic() + 20
        while True:
            with store.database.read() as connection:
                if connection.scalar(waiting) == wanted:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        with store.database.write() as holding:
            holding.execute(text("SELECT 1 FROM task WHERE job_id = :id FOR UPDATE"), {"id": job_id})
            claiming = pool.submit(take, store, owner="two")
            until_waiting(1)
            taking = pool.submit(store.take, stale, planned(0)[0])
            until_waiting(2)
        assert isinstance(taking.exception(20), LeaseLost)
        assert claiming.result(20).fence == stale.fence + 1
    lease = store.take(claiming.result(), planned(0)[0])
    assert lease is not None and lease.crashes == 1, "that of the stale owner, and no other"
    store.close()


def test_one_key_twenty_requests_one_reservation(store: SqlStore) -> None:
    answers = together(*(lambda: store.reserve("k", lease_seconds=60) for _ in range(20)))
    assert sum(answer is None for answer in answers) == 1
    assert sum(isinstance(answer, IdempotencyInFlight) for answer in answers) == 19


def test_sweepers_at_once_hint_each_job_once(store: SqlStore, clock: ManualClock) -> None:
    for _ in range(10):
        store.create(new_job())
    store.sent([hint for hint, _ in store.unsent(20)])
    clock.advance(10)
    together(*(lambda: store.rehint(older_than=5, limit=20) for _ in range(4)))
    assert len(store.unsent(50)) == 10


def test_a_reboot_ends_what_was_held_and_put_off(tmp_path: Any) -> None:
    """SQLite's leases are on the host's clock since boot, which starts again near zero."""
    path = f"sqlite:///{tmp_path}/jobs.db"
    before = open_store(path, ManualClock(now=500_000.0, boot="first"))
    held, put_off = (before.create(new_job()).id for _ in range(2))
    claim = take(before, lease=60)
    before.release(take(before), delay=1e6)
    before.reserve("k", lease_seconds=1e6)
    before.beat("gone", ConsumerInfo())
    assert before.take_turn("a", every=1e6)
    assert before.claim(owner="x", consumer="here", lease_seconds=60) is None
    before.close()
    same = open_store(path, ManualClock(now=500_001.0, boot="first"))
    assert same.claim(owner="x", consumer="here", lease_seconds=60) is None
    same.close()
    after = open_store(path, ManualClock(now=5.0, boot="second"))
    assert after.consumers() == [] and after.reserve("k", lease_seconds=60) is None
    assert after.take_turn("a", every=60)
    assert len(after.unsent(10)) == 2
    assert [(take(after).job.id) for _ in range(2)] == [held, put_off]
    assert isinstance(together(lambda: after.heartbeat(claim, 60))[0], LeaseLost)
    after.close()
