"""Word that jobs have changed, for who waits for it: less than a query, and it may be lost.

SQLite: `PRAGMA data_version` of a connection changes when another one has committed (https://sqlite.org/pragma.html), which
it reads from shared memory. PostgreSQL: LISTEN, to what a trigger of the table `job` notifies of.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Collection
from typing import Any, Protocol

from sqlalchemy import Engine

from core.store.tables import JOB_CHANNEL

log = logging.getLogger(__name__)

PEEK_SECONDS = 0.03
"""How often SQLite's counter is read: some 10 microseconds each."""


class News(Protocol):
    """Belongs to one thread at a time."""

    def wait(self, seconds: float) -> Collection[str] | None:
        """Until something may have changed since the last call, at most so long -> the ids of the jobs, empty when nothing is
        known to have. None: nobody knows which. Never raises."""
        ...

    def close(self) -> None: ...


class Blind:
    """Hears nothing: for a database in memory, which has one connection."""

    def wait(self, seconds: float) -> Collection[str] | None:
        time.sleep(min(seconds, PEEK_SECONDS))
        return None

    def close(self) -> None:
        """Nothing to close."""


class SqliteNews:
    """file: path of the database"""

    def __init__(self, file: str) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._seen = -1

    def wait(self, seconds: float) -> Collection[str] | None:
        until = time.monotonic() + seconds
        while True:
            try:
                version = self._version()
            except sqlite3.Error as error:
                log.debug("No news from SQLite: %s", error)
                self.close()
                time.sleep(max(0.0, until - time.monotonic()))
                return None
            if version != self._seen:
                self._seen = version
                return None
            if (left := until - time.monotonic()) <= 0:
                return ()
            time.sleep(min(PEEK_SECONDS, left))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _version(self) -> int:
        if self._connection is None:
            self._connection = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
            self._seen = -1
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class PostgresNews:
    """address: as libpq takes it"""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: Any = None
        self._away = False

    def wait(self, seconds: float) -> Collection[str] | None:
        import psycopg  # late: the driver is 18 MB that SQLite can do without

        until = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._listen(psycopg)
                return None  # what came before is not known
            told = self._connection.notifies(timeout=seconds, stop_after=1)
            return {one.payload for one in told}
        except psycopg.Error as error:
            if not self._away:  # said once, not at each try of a long outage
                log.warning("PostgreSQL tells no news (%s): jobs are looked at every second meanwhile", error)
            self._away = True
            self.close()
            time.sleep(max(0.0, until - time.monotonic()))
            return None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):  # it may be broken, which is why it is closed
                self._connection.close()
            self._connection = None

    def _listen(self, psycopg: Any) -> None:
        self._connection = psycopg.connect(
            self._address,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            application_name="parascribe news",
        )
        self._connection.execute(f"LISTEN {JOB_CHANNEL}")
        self._away = False


def open_news(engine: Engine) -> News:
    """Of the database behind an engine; connects when it is waited for."""
    if engine.dialect.name == "postgresql":
        return PostgresNews(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
    return Blind() if engine.url.database in (None, "", ":memory:") else SqliteNews(str(engine.url.database))
