"""Helpers of the store's tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from core.jobs.consumers import ConsumerInfo
from core.jobs.job import Claim, NewJob, Source
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Lease, Task, TaskState
from core.store.database import Database, open_database
from core.store.sql import SqlStore, blank
from core.store.tables import metadata
from core.system.clock import LeaseClock, ManualClock
from core.system.machine import Plan

_numbers = itertools.count(1)
DATABASES = ["memory", "sqlite", "postgres"]


def new_job(**changes: Any) -> NewJob:
    number = next(_numbers)
    key = changes.pop("key", f"jobs/{number}/source")
    size = changes.pop("bytes", 1000)
    source = Source(filename="talk.mp3", bytes=size, media_type="audio/mpeg", sha256="a" * 64, key=key)
    values: dict[str, Any] = {
        "id": f"0198f3c2-0000-7000-8000-{number:012x}",
        "source": source,
        "params": JobParams(model="base"),
    }
    return NewJob(**values | changes)


def take(store: SqlStore, *, owner: str = "one", lease: float = 60.0, **options: Any) -> Claim:
    claim = store.claim(owner=owner, consumer="here", lease_seconds=lease, **options)
    assert claim is not None
    return claim


def planned(*numbers: int) -> list[Task]:
    return [
        Task(stage=TRANSCRIBE, number=n, plan={"index": n, "start": n * 100, "end": n * 100 + 100}) for n in numbers
    ]


def ended(number: int, text: str | None = "hello", *, seconds: float = 1.0) -> Task:
    """Done with a text, or failed without one."""
    part = Task(stage=TRANSCRIBE, number=number, engine_seconds=0.5, audio_seconds=seconds)
    if text is None:
        return replace(part, state=TaskState.FAILED, error={"code": "x"})
    return replace(part, state=TaskState.DONE, output={"text": text})


def start(store: SqlStore, claim: Claim, number: int) -> Lease:
    lease = store.take(claim, Task(stage=TRANSCRIBE, number=number))
    assert lease is not None
    return lease


def finish_task(store: SqlStore, claim: Claim, part: Task) -> bool:
    return store.commit(start(store, claim, part.number), part)


def consumer(jobs: int = 2, **more: Any) -> ConsumerInfo:
    """A consumer that takes so many jobs at once."""
    plan = Plan(
        workers=jobs, threads=1, jobs=jobs, parallel=True, cores=2.0, memory_mb=4000, reasons=(), warnings=(), pool=()
    )
    return ConsumerInfo(**{"host": "h", "plan": plan} | more)


def open_store(url: str, clock: LeaseClock | None) -> SqlStore:
    database = open_database(url, clock=clock)
    database.migrate()
    return SqlStore(database)


def empty(database: Database) -> None:
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def outbox_size(store: SqlStore) -> int:
    with store.database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM outbox")).scalar_one())


def steps_of(store: SqlStore, act: Callable[[], object]) -> list[str]:
    """How SQLite finds what `act` asks for, step by step; PostgreSQL's plans depend on its figures."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        asked.append((statement, values))

    event.listen(store.database.engine, "before_cursor_execute", note)
    act()
    event.remove(store.database.engine, "before_cursor_execute", note)
    with store.database.read() as connection:
        return [
            row.detail
            for statement, values in asked
            if statement.startswith(("WITH", "SELECT", "UPDATE", "DELETE"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


def sqlite_work(store: SqlStore, act: Callable[[], object]) -> int:
    """Instructions of SQLite's machine, in hundreds, that `act` takes; `store` is in memory."""
    connection = store.database.engine.raw_connection().driver_connection
    assert connection is not None
    hundreds = itertools.count()
    connection.set_progress_handler(lambda: next(hundreds) and None, 100)
    act()
    connection.set_progress_handler(None, 100)
    return next(hundreds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=DATABASES)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[SqlStore]:
    """Each database in turn, empty, its leases on `clock`."""
    if request.param == "memory":
        made = SqlStore.in_memory(clock=clock)
    elif request.param == "sqlite":
        (tmp_path / "jobs.db").write_bytes(blank())
        made = open_store(f"sqlite:///{tmp_path}/jobs.db", clock)
    else:
        made = open_store(request.getfixturevalue("postgres_url"), clock)
        empty(made.database)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database that several processes can open."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    return str(request.getfixturevalue("fresh_postgres")())
