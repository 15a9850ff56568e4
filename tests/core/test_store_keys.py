"""Keys, sessions and what an owner has used, the same on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from core.errors import KeyNotFound, NoAdminLeft
from core.keys import Key, KeyLimits, Session, key_of, new_token
from core.store.owners import Usage
from core.store.sql import SqlStore
from core.store.tables import job, session, spent
from tests.core.store_kit import clock, new_job, store

__all__ = ["clock", "store"]

NOW = datetime.now(UTC)


def new_key(name: str = "anna", **more: object) -> Key:
    return key_of(new_token(), name, **more)  # type: ignore[arg-type]


def log_in(store: SqlStore, digest: str, key: Key, *, hours: float = 12) -> None:
    store.open_session(Session(digest=digest, key_id=key.id, expires_at=datetime.now(UTC) + timedelta(hours=hours)))


def test_a_key_reads_back_whole(store: SqlStore) -> None:
    assert (store.has_keys(), store.keys()) == (False, [])
    key = new_key(
        owner="the lab",
        scopes=["jobs", "admin"],
        expires_at=NOW + timedelta(days=90),
        limits=KeyLimits(requests_per_minute=0, upload_mb=2.5),
    )
    made = store.add_key(key)
    assert made.created_at is not None and abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert replace(made, created_at=None) == key and store.keys() == [made] and store.has_keys()
    other = store.add_key(new_key())
    assert store.keys() == [made, other], "oldest first"
    with pytest.raises(ValueError, match=key.id):
        store.add_key(replace(new_key(), id=key.id))
    assert store.keys() == [made, other]


def test_a_revoked_key_stays_and_its_sessions_go(store: SqlStore) -> None:
    mine, other = store.add_key(new_key()), store.add_key(new_key())
    log_in(store, "a" * 64, mine)
    log_in(store, "b" * 64, other)
    gone = store.revoke(mine.id)
    assert gone.revoked_at is not None and not gone.good_at(datetime.now(UTC))
    assert store.revoke(mine.id) == gone, "the first time counts"
    state = store.key_state(None)
    assert state is not None and state.keys == {mine.id: gone, other.id: other} and list(state.sessions) == ["b" * 64]
    assert store.has_keys()
    with pytest.raises(KeyNotFound):
        store.revoke("nobody")


def test_the_last_administrator_is_left(store: SqlStore) -> None:
    root = store.add_key(new_key("root", scopes=["admin"]))
    for more in ({"expires_at": NOW - timedelta(hours=1)}, {}):  # one that is over, and one that is revoked
        other = store.add_key(new_key("too late", scopes=["admin"], **more))
    anna = store.add_key(new_key())
    store.revoke(other.id, leave_admin=True)
    with pytest.raises(NoAdminLeft):
        store.revoke(root.id, leave_admin=True)
    assert store.revoke(anna.id, leave_admin=True).revoked_at is not None
    assert store.revoke(root.id).revoked_at is not None
    with pytest.raises(KeyNotFound):
        store.revoke("nobody", leave_admin=True)


def test_the_state_is_given_again_when_something_has_changed(store: SqlStore) -> None:
    def look() -> tuple[set[str], set[str]] | None:
        nonlocal version
        state = store.key_state(version)
        if state is None:
            return None
        version = state.version
        return set(state.keys), set(state.sessions)

    version = None
    assert look() == (set(), set()) and look() is None
    key = store.add_key(new_key())
    assert look() == ({key.id}, set()) and look() is None
    store.used([key.id])
    assert look() is None, "that is no change"
    used = store.keys()[0].used_at
    assert used is not None and abs(used - datetime.now(UTC)) < timedelta(minutes=1)
    log_in(store, "a" * 64, key)
    assert look() == ({key.id}, {"a" * 64})
    store.close_session("nobody's")
    assert look() is None
    store.close_session("a" * 64)
    assert look() == ({key.id}, set())
    store.revoke(key.id)
    assert look() == ({key.id}, set())


def test_sessions_that_are_over_are_forgotten(store: SqlStore) -> None:
    key = store.add_key(new_key())
    log_in(store, "a" * 64, key, hours=-1)
    state = store.key_state(None)
    assert state is not None and state.sessions == {}
    log_in(store, "b" * 64, key)
    with store.database.read() as connection:
        assert list(connection.scalars(select(session.c.digest))) == ["b" * 64]


def lasted(store: SqlStore, job_id: str, seconds: float, *, hours_ago: float = 0.0) -> None:
    """What the run of a job finds out, and when the job was made."""
    made = datetime.now(UTC) - timedelta(hours=hours_ago)
    with store.database.write() as connection:
        connection.execute(update(job).where(job.c.id == job_id).values(duration=seconds, created_at=made))


def test_usage_is_of_the_owner_and_of_a_day(store: SqlStore) -> None:
    mine, theirs = store.of("anna"), store.of("bert")
    assert mine.usage() == Usage(waiting=0, audio_seconds=0.0, freed_in=0.0)
    ids = [mine.create(new_job()).id for _ in range(3)]
    lasted(store, ids[0], 100.0, hours_ago=23.0)
    lasted(store, ids[1], 1000.0, hours_ago=25.0)
    lasted(store, theirs.create(new_job()).id, 7.0)
    usage = mine.usage()
    assert (usage.waiting, usage.audio_seconds) == (3, 100.0) and usage.freed_in == pytest.approx(3600, abs=60)
    assert theirs.usage().audio_seconds == 7.0 and store.of("root", all_jobs=True).usage().waiting == 0
    mine.request_cancel(ids[2])
    assert mine.usage().waiting == 2


def test_what_a_retry_takes_over_is_not_counted_again(store: SqlStore) -> None:
    mine = store.of("anna")
    first = mine.create(new_job())
    for everything in (False, True):
        again = mine.create(new_job(key=first.source.key, retry_of=first.id, retry_all=everything))
        lasted(store, again.id, 50.0)
    lasted(store, first.id, 50.0)
    assert mine.usage().audio_seconds == 100.0


def test_removing_a_job_gives_nothing_back(store: SqlStore) -> None:
    mine = store.of("anna")
    new, old, unknown = (mine.create(new_job()).id for _ in range(3))
    lasted(store, new, 100.0, hours_ago=2.0)
    lasted(store, old, 1000.0, hours_ago=25.0)
    with store.database.write() as connection:
        connection.execute(
            insert(spent).values(job_id="older", owner="anna", created_at=NOW - timedelta(days=2), audio_seconds=5.0)
        )
    for job_id in (new, old, unknown):
        mine.request_delete(job_id)
        assert mine.usage().audio_seconds == 100.0
        store.remove(job_id)
    usage = mine.usage()
    assert (usage.waiting, usage.audio_seconds) == (0, 100.0) and usage.freed_in == pytest.approx(22 * 3600, abs=60)
    with store.database.read() as connection:
        assert list(connection.scalars(select(spent.c.job_id))) == [new], "what is a day old is forgotten"
    nobodys = store.create(new_job()).id
    lasted(store, nobodys, 100.0)
    store.remove(nobodys)
