"""The database full, locked, gone or silent: the right error in bounded time, and work goes on afterwards."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import event, text

from core.errors import DatabaseUnavailable, DiskFull
from core.jobs.consumers import ConsumerInfo
from core.jobs.job import JobParams
from core.store.database import open_database
from core.store.postgres import BoundedConnection
from core.store.sql import SqlStore
from tests.core.store_kit import new_job, open_store


def set_pragma(store: SqlStore, pragma: str) -> None:
    """On every connection the store opens from now on."""
    store.database.engine.dispose()
    event.listen(store.database.engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}"))


def test_a_full_disk_is_told_apart_and_passes(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/jobs.db", None)
    set_pragma(store, "max_page_count = 160")
    params = JobParams(model="base", prompt="confidential " * 500)
    stored = []
    with pytest.raises(DiskFull) as full:
        for _ in range(1000):
            stored.append(store.create(new_job(params=params)).id)
    assert full.value.code == "disk_full" and full.value.retryable
    assert "confidential" not in str(full.value) + str(full.value.__cause__)
    assert stored and store.counts()["queued"] == len(stored), "nothing half written, all readable"
    set_pragma(store, "max_page_count = 10000")
    assert store.create(new_job(params=params)).params == params
    store.close()


def test_a_locked_sqlite_gives_up_in_bounded_time(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/jobs.db", None)
    job = store.create(new_job())
    set_pragma(store, "busy_timeout = 200")
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            store.request_cancel(job.id)
        assert store.get(job.id) == job, "readers are not held up"
    assert store.request_cancel(job.id).terminal
    store.close()


def test_a_folder_that_went_away(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/sub/jobs.db", None)
    store.close()
    (tmp_path / "sub").rename(tmp_path / "moved")
    with pytest.raises(DatabaseUnavailable):
        store.ping()
    (tmp_path / "moved").rename(tmp_path / "sub")
    store.ping()
    store.close()


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        url = f"postgresql://me:secret@127.0.0.1:{taken.getsockname()[1]}/db"
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as gone:
            SqlStore(open_database(url)).ping()
    assert time.monotonic() - started < 3 and "secret" not in str(gone.value)


def test_a_server_that_accepts_and_says_nothing_at_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=2"
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            SqlStore(open_database(url)).ping()
    assert time.monotonic() - started < 6


class Relay:
    """A TCP relay that can fall silent while its connections stay open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.silent = threading.Event()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near = self._server.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._target)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if not self.silent.is_set():
                    other.sendall(data)
        except OSError:
            pass
        other.close()

    def close(self) -> None:
        self._closed = True
        self._server.close()


@contextmanager
def relayed(url: str) -> Iterator[tuple[str, Relay]]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port, "the test server listens on TCP"
    relay = Relay(parts.hostname, parts.port)
    yield url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{relay.port}"), relay
    relay.close()


def test_a_connection_that_falls_silent(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with relayed(postgres_url) as (url, relay):
        store = open_store(url + ("&" if "?" in url else "?") + "connect_timeout=2", None)
        store.ping()
        relay.silent.set()
        monkeypatch.setattr(BoundedConnection, "answer_seconds", 1.0)
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            store.ping()
        assert time.monotonic() - started < 15
        monkeypatch.undo()
        relay.silent.clear()
        store.ping()
        store.close()


def test_connections_cut_by_the_server_are_replaced(postgres_url: str) -> None:
    store = open_store(postgres_url, None)
    store.ping()
    admin = open_database(postgres_url)
    with admin.write() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        assert connection.execute(text(cut + "AND pid <> pg_backend_pid()")).all()
    assert store.create(new_job()).version == 1
    with pytest.raises(DatabaseUnavailable), store.database.write() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    store.ping()
    for opened in (store.database, admin):
        opened.close()


def test_a_statement_that_never_ends(postgres_url: str) -> None:
    store = open_store(postgres_url, None)
    with pytest.raises(DatabaseUnavailable, match="statement timeout"), store.database.write() as connection:
        connection.execute(text("SET LOCAL statement_timeout = '200ms'"))
        connection.execute(text("SELECT pg_sleep(30)"))
    with store.database.read() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "15s"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    store.close()


@pytest.mark.parametrize(
    "break_it", [lambda d: {"x": float("nan")}, lambda d: {"x": float("inf")}], ids=["nan", "infinity"]
)
def test_what_postgresql_would_refuse_sqlite_refuses_too(break_it: Callable[[Any], dict[str, float]]) -> None:
    with pytest.raises(Exception, match="JSON compliant"):
        SqlStore.in_memory().beat("k", ConsumerInfo(engine=break_it(None)))


def test_sqlite_runs_with_the_durable_settings(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/jobs.db", None)
    with store.database.read() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 10_000, "foreign_keys": 1}
    store.close()
