"""Webhooks and deliveries, the same on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from core.errors import Cancelled, DeliveryNotFound, ServiceError, ValidationFailed, WebhookNotFound
from core.jobs.job import JobFailure, JobStatus, new_id
from core.jobs.params import JobParams
from core.store.database import open_database
from core.store.sql import SqlStore
from core.store.tables import delivery, webhook
from core.system.clock import ManualClock
from core.webhooks import (
    CALLBACK,
    EVENTS,
    MOST,
    PAUSED_AFTER,
    DeliveryStatus,
    Due,
    Outcome,
    Undelivered,
    Webhook,
    WebhookStatus,
    new_secret,
    receiver_at,
)
from tests.core.store_kit import clock, new_job, steps_of, store, take

__all__ = ["clock", "store"]

FAILURE = JobFailure(code="audio_undecodable", message="no", stage="decoding")
OK, NO = Outcome(delivered=True, status=200), Outcome(delivered=False, status=503, retry_in=30.0)


def hook(url: str = "https://a.test/", *, events: tuple[str, ...] = EVENTS) -> Webhook:
    return Webhook(id=new_id(), url=url, events=events, secrets=(new_secret(),))


def claimed(store: SqlStore, *, limit: int = 100) -> list[Due]:
    return list(store.claim_deliveries(limit=limit, lease_seconds=60.0, per_receiver=100))


def finish(store: SqlStore, claim: Any) -> None:
    store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})


def calling(url: str = "https://b.test/", **more: Any) -> Any:
    return new_job(params=JobParams(model="base", callback_url=url), **more)


def cancelled(store: SqlStore, job_id: str, end: Callable[[Any], object]) -> None:
    claim = take(store)
    store.request_cancel(job_id)
    with suppress(Cancelled):
        end(claim)


def crash(store: SqlStore, clock: ManualClock, times: int) -> None:
    for _ in range(times):
        take(store, lease=60.0)
        clock.advance(61)


ENDS: dict[str, tuple[JobStatus, Callable[[SqlStore, str, ManualClock], object]]] = {
    "finish": (JobStatus.COMPLETED, lambda store, _, __: finish(store, take(store))),
    "fail": (JobStatus.FAILED, lambda store, _, __: store.fail(take(store), FAILURE)),
    "cancel of a waiting one": (JobStatus.CANCELLED, lambda store, job_id, _: store.request_cancel(job_id)),
    "cancelled": (JobStatus.CANCELLED, lambda store, job_id, _: cancelled(store, job_id, store.cancelled)),
    "finish too late": (
        JobStatus.CANCELLED,
        lambda store, job_id, _: cancelled(store, job_id, lambda c: finish(store, c)),
    ),
    "released": (JobStatus.CANCELLED, lambda store, job_id, _: cancelled(store, job_id, store.release)),
    "owner died": (
        JobStatus.CANCELLED,
        lambda store, job_id, _: cancelled(store, job_id, lambda c: store.free_owner("one")),
    ),
    "sweeper": (JobStatus.FAILED, lambda store, _, clock: (crash(store, clock, 3), store.sweep(max_attempts=3))),
    "claim": (
        JobStatus.FAILED,
        lambda store, _, clock: (crash(store, clock, 3), store.claim(owner="x", consumer="x", lease_seconds=1)),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_a_job_is_told_once_to_each_that_wants_to_know(
    store: SqlStore, clock: ManualClock, end: str
) -> None:
    status, how = ENDS[end]
    mine = store.webhooks_of("anna")
    one, other = mine.add(hook()), mine.add(hook("https://c.test/", events=(f"job.{status}",)))
    mine.add(hook("https://d.test/", events=("batch.completed",)))
    store.webhooks_of("bert").add(hook("https://bert.test/"))
    job = store.of("anna").create(calling())
    how(store, job.id, clock)
    assert store.get(job.id).status is status
    found = claimed(store)
    assert {due.url for due in found} == {"https://a.test/", "https://b.test/", "https://c.test/"} and len(found) == 3
    assert {(due.delivery.event, due.delivery.subject, due.delivery.attempts) for due in found} == {
        (f"job.{status}", job.id, 1)
    }
    assert {due.webhook_id: due.secrets for due in found if due.delivery.url is None} == {
        one.id: one.secrets,
        other.id: other.secrets,
    }
    assert store.sweep(max_attempts=3) == {"cancelled": 0, "failed": 0} and not claimed(store), "once"


def test_end_and_deliveries_are_one_transaction(tmp_path: Any) -> None:
    database = open_database(f"sqlite:///{tmp_path}/jobs.db", clock=ManualClock())
    database.migrate()
    store = SqlStore(database)
    job = store.create(calling())
    claim = take(store)
    with database.write() as connection:
        connection.execute(text("ALTER TABLE delivery RENAME TO away"))
    for end in (lambda: finish(store, claim), lambda: store.fail(claim, FAILURE)):
        with pytest.raises(ServiceError):
            end()
    assert store.get(job.id).status is JobStatus.PROCESSING
    with database.write() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO delivery"))
    finish(store, claim)
    finish(store, claim)
    assert [due.delivery.subject for due in claimed(store)] == [job.id]
    store.close()


def test_of_a_deleted_job_nothing_is_told(store: SqlStore, clock: ManualClock) -> None:
    jobs = store.of(None)
    waiting, running, ended = (jobs.create(calling()).id for _ in range(3))
    claims = {claim.job.id: claim for claim in (take(store), take(store), take(store))}
    store.release(claims[waiting])
    finish(store, claims[ended])
    for job_id in (waiting, running, ended):
        jobs.request_delete(job_id)
    assert not claimed(store) and not store.webhooks_of(None).deliveries(CALLBACK)[0]
    store.cancelled(claims[running])
    assert not claimed(store)


def test_a_delivery_is_one_sender_s_until_its_lease_is_over(store: SqlStore, clock: ManualClock) -> None:
    finish_one(store)
    (first,) = claimed(store)
    assert not claimed(store)
    clock.advance(61)
    (second,) = claimed(store)
    assert (second.delivery.id, second.delivery.attempts) == (first.delivery.id, 2) and second.fence > first.fence
    assert not store.settle(first, OK), "another has it"
    assert store.settle(second, OK) and not store.settle(second, NO)
    clock.advance(10**6)
    assert not claimed(store)
    (kept,), _ = store.webhooks_of(None).deliveries(CALLBACK)
    assert (kept.status, kept.last_status, kept.due_in) == (DeliveryStatus.DELIVERED, 200, None)


def finish_one(store: SqlStore, owner: str | None = None, job: Any = None) -> str:
    made = store.of(owner).create(job or calling())
    finish(store, take(store))
    return made.id


def test_what_failed_comes_again_when_it_was_said(store: SqlStore, clock: ManualClock) -> None:
    finish_one(store)
    (due,) = claimed(store)
    store.settle(due, replace(NO, error="x" * 600))
    (kept,), _ = store.webhooks_of(None).deliveries(CALLBACK, status=DeliveryStatus.WAITING)
    assert kept.due_in == pytest.approx(30, abs=1) and kept.last_error == "x" * 500 and kept.last_at is not None
    clock.advance(29)
    assert not claimed(store)
    clock.advance(2)
    (due,) = claimed(store)
    store.settle(due, replace(NO, retry_in=None))
    clock.advance(10**6)
    assert not claimed(store)
    (kept,), _ = store.webhooks_of(None).deliveries(CALLBACK, status=DeliveryStatus.FAILED)
    assert (kept.attempts, kept.last_status) == (2, 503)


def test_it_can_be_asked_for_again(store: SqlStore, clock: ManualClock) -> None:
    mine = store.webhooks_of("anna")
    one = mine.add(hook())
    finish_one(store, "anna", new_job())
    (due,) = claimed(store)
    with pytest.raises(DeliveryNotFound):
        mine.redeliver(one.id, new_id())
    with pytest.raises(DeliveryNotFound):
        mine.redeliver(CALLBACK, due.delivery.id)
    with pytest.raises(WebhookNotFound):
        store.webhooks_of("bert").redeliver(one.id, due.delivery.id)
    again = mine.redeliver(one.id, due.delivery.id)
    assert (again.id, again.status, again.attempts) == (due.delivery.id, DeliveryStatus.WAITING, 0)
    assert not store.settle(due, OK), "the attempt before it does not count any more"
    (due,) = claimed(store)
    assert store.settle(due, OK)
    assert (
        store.webhooks_of("root", all_webhooks=True).redeliver(one.id, due.delivery.id).status is DeliveryStatus.WAITING
    )


def test_fifty_failures_in_a_row_pause_it(store: SqlStore, clock: ManualClock) -> None:
    mine = store.webhooks_of("anna")
    one, other = mine.add(hook()), mine.add(hook("https://c.test/"))
    assert store.undelivered() == Undelivered(waiting=0, held=0, oldest_seconds=0.0)
    finish_one(store, "anna", new_job())
    assert store.undelivered().waiting == 2
    for turn in range(2):
        for _ in range(PAUSED_AFTER - 1):
            for due in claimed(store):
                store.settle(due, NO if due.webhook_id == one.id else OK)
            clock.advance(31)
        assert (mine.get(one.id).status, mine.get(one.id).failures) == (WebhookStatus.ACTIVE, PAUSED_AFTER - 1)
        (due,) = claimed(store)
        store.settle(due, OK if turn == 0 else NO)
        clock.advance(31)
        if turn == 0:
            assert mine.get(one.id).failures == 0, "in a row"
            mine.redeliver(one.id, due.delivery.id)
    assert (mine.get(one.id).status, mine.get(one.id).failures) == (WebhookStatus.PAUSED, PAUSED_AFTER)
    finish_one(store, "anna", new_job())
    with store.database.write() as connection:
        this = update(delivery).where(delivery.c.webhook_id == other.id, delivery.c.due.is_not(None))
        connection.execute(this.values(created_at=datetime.now(UTC) - timedelta(seconds=100)))
    (due,) = claimed(store)
    assert due.webhook_id == other.id, "what is for the paused one waits"
    left = store.undelivered()
    assert (left.waiting, left.held) == (1, 2) and 100 <= left.oldest_seconds < 200
    store.settle(due, OK)
    assert store.undelivered() == Undelivered(waiting=0, held=2, oldest_seconds=0.0)
    assert [kept.status for kept in mine.deliveries(one.id)[0]] == [DeliveryStatus.WAITING] * 2
    resumed = mine.resume(one.id)
    assert (resumed.status, resumed.failures) == (WebhookStatus.ACTIVE, 0)
    assert {due.webhook_id for due in claimed(store)} == {one.id}


def test_who_is_gone_is_told_nothing_more(store: SqlStore, clock: ManualClock) -> None:
    mine = store.webhooks_of(None)
    one = mine.add(hook())
    finish_one(store, None, new_job())
    finish_one(store, None, new_job())
    first, _ = claimed(store)
    store.settle(first, Outcome(delivered=False, gone=True, status=410))
    assert mine.get(one.id).status is WebhookStatus.DISABLED
    clock.advance(61)
    finish_one(store, None, new_job())
    assert not claimed(store) and len(mine.deliveries(one.id)[0]) == 2
    mine.resume(one.id)
    assert len(claimed(store)) == 1


def test_a_new_secret_and_the_one_before_it(store: SqlStore) -> None:
    mine = store.webhooks_of("anna")
    one, newer, newest = mine.add(hook()), new_secret(), new_secret()
    assert mine.rotate(one.id, newer).secrets == (newer, *one.secrets)
    assert mine.rotate(one.id, newest).secrets == (newest, newer)
    with store.database.write() as connection:
        connection.execute(update(webhook).values(old_secret_until=datetime.now(UTC) - timedelta(seconds=1)))
    assert mine.get(one.id).secrets == (newest,)
    with pytest.raises(WebhookNotFound):
        store.webhooks_of("bert").rotate(one.id, newer)


def test_callbacks_are_signed_once_there_is_a_secret(store: SqlStore, clock: ManualClock) -> None:
    anna, bert = store.webhooks_of("anna"), store.webhooks_of("bert")
    assert anna.get(CALLBACK).secrets == () and anna.resume(CALLBACK).id == CALLBACK
    secrets = {owner: new_secret() for owner in ("anna", "bert")}
    assert anna.rotate(CALLBACK, secrets["anna"]).secrets == (secrets["anna"],)
    bert.rotate(CALLBACK, secrets["bert"])
    newer = new_secret()
    assert anna.rotate(CALLBACK, newer).secrets == (newer, secrets["anna"])
    assert anna.list() == [] and bert.list() == []
    with pytest.raises(WebhookNotFound):
        anna.remove(CALLBACK)
    finish_one(store, "anna")
    finish_one(store, "bert")
    finish_one(store, None)
    assert [due.secrets for due in claimed(store)] == [(newer, secrets["anna"]), (secrets["bert"],), ()]
    assert [len(view.deliveries(CALLBACK)[0]) for view in (anna, bert)] == [1, 1]
    for _ in range(PAUSED_AFTER + 1):
        clock.advance(61)
        due = next(due for due in claimed(store) if due.secrets[:1] == (newer,))
        assert store.settle(due, NO)
    assert anna.get(CALLBACK).status is WebhookStatus.ACTIVE, "each names an address of its own"


def test_webhooks_are_their_owner_s(store: SqlStore) -> None:
    anna, bert, root = (
        store.webhooks_of("anna"),
        store.webhooks_of("bert"),
        store.webhooks_of("root", all_webhooks=True),
    )
    one, other = anna.add(hook()), bert.add(hook())
    assert (one.status, one.owner, one.failures) == (WebhookStatus.ACTIVE, "anna", 0) and one.created_at is not None
    assert (anna.list(), bert.list(), root.list()) == ([one], [other], [one, other])
    assert anna.get(one.id) == root.get(one.id) == one
    for ask in (bert.get, bert.remove, bert.resume, bert.deliveries, store.webhooks_of(None).get):
        with pytest.raises(WebhookNotFound):
            ask(one.id)
    finish_one(store, "anna", new_job())
    anna.remove(one.id)
    assert anna.list() == [] and bert.list() == [other] and not claimed(store)
    with store.database.read() as connection:
        assert connection.execute(delivery.select()).all() == []


def test_so_many_webhooks_and_no_more(store: SqlStore) -> None:
    mine = store.webhooks_of("anna")
    mine.rotate(CALLBACK, new_secret())
    made = [mine.add(hook()) for _ in range(MOST)]
    with pytest.raises(ValidationFailed):
        mine.add(hook())
    mine.remove(made[0].id)
    mine.add(hook())
    store.webhooks_of("bert").add(hook())


def test_deliveries_come_in_pages(store: SqlStore, clock: ManualClock) -> None:
    mine = store.webhooks_of(None)
    subjects = [finish_one(store) for _ in range(5)]
    first, after = mine.deliveries(CALLBACK, limit=3)
    second, end = mine.deliveries(CALLBACK, limit=3, after=after)
    assert [kept.subject for kept in [*first, *second]] == subjects[::-1] and end is None
    assert mine.deliveries(CALLBACK, limit=5)[1] is None


def test_one_receiver_does_not_keep_the_others_waiting(store: SqlStore) -> None:
    for _ in range(5):
        finish_one(store, "anna")
    finish_one(store, "bert")
    finish_one(store, "anna", calling("https://c.test/"))

    def urls(most: int, *, limit: int = 9, **busy: int) -> list[str]:
        at_work = {receiver_at(f"https://{name}.test/"): count for name, count in busy.items()}
        found = store.claim_deliveries(limit=limit, lease_seconds=60, per_receiver=most, busy=at_work)
        return sorted(due.url for due in found)

    assert urls(2) == ["https://b.test/", "https://b.test/", "https://c.test/"], (
        "whosever they are, and whichever comes first"
    )
    assert urls(2, b=2) == [] and urls(2, b=1) == ["https://b.test/"], "with those that are under way"
    assert urls(100, limit=2) == ["https://b.test/", "https://b.test/"]


def test_what_waits_for_one_receiver_costs_the_others_nothing() -> None:
    store = SqlStore.in_memory()
    finish_one(store)
    names = ("delivery", "behind", "head")
    steps = [step for step in steps_of(store, lambda: claimed(store)) if any(name in step for name in names)]
    assert len(steps) == 8 and all(step.startswith("SEARCH") for step in steps), steps
    assert sum("COVERING INDEX delivery_line" in step for step in steps) == 4, steps
    store.close()


def test_old_deliveries_are_forgotten(store: SqlStore) -> None:
    old, new = finish_one(store), finish_one(store)
    with store.database.write() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        connection.execute(update(delivery).where(delivery.c.subject == old).values(created_at=long_ago))
    assert store.forget_deliveries() == 1
    assert [kept.subject for kept in store.webhooks_of(None).deliveries(CALLBACK)[0]] == [new]


def test_after_a_reboot_everything_that_waits_is_due(tmp_path: Any) -> None:
    clock = ManualClock()
    url = f"sqlite:///{tmp_path}/jobs.db"
    database = open_database(url, clock=clock)
    database.migrate()
    store = SqlStore(database)
    finish_one(store)
    finish_one(store)
    first, second = claimed(store)
    store.settle(first, NO)
    store.settle(second, OK)
    store.close()
    again = SqlStore(open_database(url, clock=ManualClock(now=1.0, boot="boot-2")))
    assert [due.delivery.id for due in claimed(again)] == [first.delivery.id]
    again.close()
