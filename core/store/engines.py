"""SQLAlchemy engines for the two databases, set up so that nothing waits for ever and nothing is half written."""

from __future__ import annotations

import itertools
import json
import sqlite3
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from core.system.retry import retry

BUSY_SECONDS = 10.0
"""How long a SQLite writer waits for another one before the database counts as unavailable."""

_to_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))  # PostgreSQL refuses NaN, so SQLite shall too


def make_engine(url: str) -> Engine:
    """An engine for `sqlite:///FILE`, `sqlite://` (memory) or `postgresql://...`. Raises ValueError for others."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        from core.store.postgres import postgres_engine  # late: the driver is 18 MB that SQLite can do without

        return postgres_engine(parsed.set(drivername="postgresql+psycopg"), to_json=_to_json, busy_seconds=BUSY_SECONDS)
    raise ValueError(f"DATABASE_URL: {parsed.drivername!r} is not supported; use sqlite:///FILE or postgresql://...")


def _sqlite(url: URL) -> Engine:
    connect = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    if url.database in (None, "", ":memory:"):
        engine = create_engine(
            url, poolclass=StaticPool, connect_args=connect, json_serializer=_to_json, hide_parameters=True
        )
    else:
        Path(str(url.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            url,
            pool_size=5,
            max_overflow=20,
            pool_timeout=BUSY_SECONDS,
            connect_args=connect,
            json_serializer=_to_json,
            hide_parameters=True,
        )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    # The driver's own transaction handling begins late and only for some statements: `_begin_sqlite` does it instead.
    connection.isolation_level = None
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Changing the mode of a new file does not honour the busy timeout, so several starters may collide."""
    retry(
        lambda: connection.execute("PRAGMA journal_mode = WAL"),
        pauses=itertools.repeat(0.01),
        retryable=lambda error: getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY,
        patience=BUSY_SECONDS,
    )


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once when another wrote in between.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
