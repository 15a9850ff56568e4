"""One database: transactions, its clocks, its errors in the service's terms."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Engine,
    Table,
    bindparam,
    cast,
    column,
    delete,
    exc,
    func,
    inspect,
    select,
    table,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import DatabaseUnavailable, DiskFull
from core.live.sessions import RESUME_SECONDS
from core.store.engines import make_engine
from core.store.reserve import Reserve
from core.store.tables import (
    SCHEMA,
    UtcDateTime,
    consumer,
    delivery,
    idempotency,
    job,
    live_session,
    meta,
    outbox,
    upload,
)
from core.system.clock import BootClock, LeaseClock

T = TypeVar("T")

POSTGRES_DISK_FULL = "53100"
"""SQLSTATE disk_full (PostgreSQL's appendix A)."""

TURN = "turn "
"""Begins the keys of `meta` that hold from when on (lease clock) a task is due again."""

_REVISION = table("alembic_version", column("version_num"))


class Database:
    """An engine and the clock its leases are on. Safe to share between threads; after a fork the child opens
    connections of its own. All methods raise DatabaseUnavailable or DiskFull where they touch the database.

    clock: None = PostgreSQL's own clock. SQLite needs one.
    """

    def __init__(self, engine: Engine, *, clock: LeaseClock | None) -> None:
        self.engine = engine
        self._clock = clock
        self._writer = engine.execution_options(immediate=True)
        self._in_memory = engine.dialect.name == "sqlite" and engine.url.database in (None, "", ":memory:")
        in_file = engine.dialect.name == "sqlite" and not self._in_memory
        self._reserve = Reserve(Path(str(engine.url.database))) if in_file else None
        self._start()
        # A connection that two processes use corrupts both; nobody shall have to remember this.
        method = weakref.WeakMethod(self.dispose_after_fork)
        os.register_at_fork(after_in_child=lambda: (found := method()) and found())

    def _start(self) -> None:
        # All threads share the one connection of a database in memory, so they take turns.
        self._turn = threading.Lock() if self._in_memory else nullcontext()
        self._settled = self._clock is None
        self._settling = threading.Lock()

    @property
    def postgres(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    def migrate(self) -> None:
        """Bring the schema up to date; safe with many starters at once. Raises ServiceError when a newer version
        of the program has migrated it already."""
        with _translated(), self._turn:
            with self.engine.connect() as connection:
                if (
                    inspect(connection).has_table(_REVISION.name)
                    and connection.scalar(select(_REVISION.c.version_num)) == SCHEMA
                ):
                    return
            from core.store import migrations

            migrations.upgrade(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state and writes nothing."""
        self._settle()
        with _translated(), self._turn, self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        self._settle()
        with _translated(), self._turn, self._writer.begin() as connection:
            yield connection

    def keep_reserve(self) -> None:
        """See to it that `making_room` has room. Cheap when it has."""
        if self._reserve is not None:
            self._reserve.keep()

    def making_room(self, write: Callable[[], T]) -> T:
        """Do what will free space, on a full disk too: it may use what was kept for it (SQLite; PostgreSQL's disk is its own)."""
        try:
            return write()
        except DiskFull:
            if self._reserve is None or not self._reserve.release():
                raise
            return write()

    def now(self) -> ColumnElement[float]:
        """The lease clock, as SQL."""
        if self._clock is None:
            return cast(func.extract("epoch", func.clock_timestamp()), Double)
        # asked when the statement is executed: one that is made once and kept shows the time all the same
        return bindparam(None, type_=Double, callable_=self._clock.now, unique=True)

    def wall(self) -> ColumnElement[datetime]:
        """The time of day, as SQL."""
        if self.postgres:
            return func.clock_timestamp(type_=UtcDateTime)
        return bindparam(None, type_=UtcDateTime, callable_=lambda: datetime.now(UTC), unique=True)

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT, which the two dialects spell alike."""
        return postgresql.insert(table) if self.postgres else sqlite.insert(table)

    def size(self) -> int | None:
        """Bytes; None in memory."""
        if self.postgres:
            with self.read() as connection:
                return connection.scalar(select(func.pg_database_size(func.current_database())))
        if self._in_memory:
            return None
        path = Path(str(self.engine.url.database))
        files = (path, path.with_name(f"{path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def dispose_after_fork(self) -> None:
        """In a forked child: forget the parent's connections without touching them. Runs by itself after os.fork."""
        if not self._in_memory:
            self.engine.dispose(close=False)
        self._start()

    def close(self) -> None:
        self.engine.dispose()

    def _settle(self) -> None:
        """After a reboot the lease clock has started anew: whatever was held or put off under the old one is over."""
        if self._settled or self._clock is None:
            return
        with self._settling, _translated(), self._turn:
            if self._settled:
                return
            with self.engine.connect() as connection:
                known = connection.scalar(select(meta.c.value).where(meta.c.key == "boot"))
            if known != self._clock.boot:
                with self._writer.begin() as connection:
                    self._start_timeline(connection, self._clock.boot)
            self._settled = True

    def _start_timeline(self, connection: Connection, boot: str) -> None:
        if connection.scalar(select(meta.c.value).where(meta.c.key == "boot")) == boot:
            return
        connection.execute(update(job).where(job.c.lease_until.is_not(None)).values(lease_until=0.0))
        connection.execute(update(job).values(not_before=None, hint_due=0.0, hint_wait=0.0))
        connection.execute(update(outbox).values(not_before=0.0))
        connection.execute(update(idempotency).values(lease_until=0.0))
        connection.execute(update(delivery).where(delivery.c.due.is_not(None)).values(due=0.0))
        connection.execute(update(upload).values(lease_until=None))
        connection.execute(update(live_session).values(due=self.now() + RESUME_SECONDS))
        connection.execute(consumer.delete())
        connection.execute(delete(meta).where(meta.c.key.startswith(TURN)))
        row = self.insert(meta).values(key="boot", value=boot)
        connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": boot}))


def open_database(url: str, *, clock: LeaseClock | None = None) -> Database:
    """Open without connecting yet.

    url: `sqlite:///FILE`, `sqlite://` (in memory) or `postgresql://USER:PASSWORD@HOST/NAME`
    clock: the lease clock; None = the database's (PostgreSQL) or the host's (SQLite)
    Raises ValueError for any other kind of database.
    """
    engine = make_engine(url)
    if clock is None and engine.dialect.name == "sqlite":
        clock = BootClock()
    return Database(engine, clock=clock)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # InternalError: how PostgreSQL ends the transaction of a process that was frozen inside it
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        if _is_disk_full(cause):
            raise DiskFull("The database has no space left on its disk.") from error
        raise DatabaseUnavailable(f"The database cannot be used: {str(cause).strip().splitlines()[0]}") from error


def _is_disk_full(cause: BaseException) -> bool:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)
        # SHMSIZE: the -shm file beside the database could not be grown
        return code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE
    return getattr(cause, "sqlstate", None) == POSTGRES_DISK_FULL
