"""Real PostgreSQL, Valkey and MinIO for the tests, each started once and only when a test asks for it."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.config.settings import Settings
from scripts.servers import Minio, Postgres, Server, ServerMissingError, Valkey
from tests.skipping import skip_on_a_laptop

_start_times: dict[str, str] = {}


def pytest_configure() -> None:
    """Our own variables in the developer's shell must not decide what the tests see, nor how it was started."""
    # a shell's background job ignores Ctrl-C, and so would every program that the tests start and interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    # what the command line remembers of its files
    os.environ["XDG_STATE_HOME"] = state = tempfile.mkdtemp(prefix="parascribe-state-")
    atexit.register(shutil.rmtree, state, ignore_errors=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the MinIO server now, where minutes count against no test's time limit."""
    collected = any("minio" in getattr(item, "fixturenames", ()) for item in session.items)
    if collected and not session.config.option.collectonly and not os.environ.get(Minio.variable):
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        try:
            Minio.find(say=reporter.write_line)
        except ServerMissingError as error:
            reporter.write_line(str(error))  # the fixture skips, or fails in CI


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _start_times:
        terminalreporter.write_line("servers: " + ", ".join(f"{name} {how}" for name, how in _start_times.items()))


@pytest.fixture(autouse=True)
def _same_environment_after() -> Iterator[None]:
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL server; most tests want `postgres_url` or `fresh_postgres`."""
    yield from _served(Postgres(durable=False))


@pytest.fixture(scope="session")
def fresh_postgres(postgres: Postgres) -> Callable[[], str]:
    """Makes an empty database at each call; returns its SQLAlchemy URL (postgresql+psycopg://...)."""
    return postgres.create_database


@pytest.fixture(scope="module")
def postgres_url(fresh_postgres: Callable[[], str]) -> str:
    """A database of this test module's own."""
    return fresh_postgres()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """The Valkey server (`.url`), shared by the session: use key names or database numbers of your own."""
    yield from _served(Valkey())


@pytest.fixture(scope="session")
def minio() -> Iterator[Minio]:
    """The MinIO server (`.endpoint`, `.access_key`, `.secret_key`), shared by the session: use a bucket of your own."""
    yield from _served(Minio())


def _served(server: Server) -> Iterator[Any]:
    started = time.monotonic()
    try:
        server.start()
    except ServerMissingError as error:
        server.close()
        skip_on_a_laptop(str(error))
    _start_times[server.name] = f"{time.monotonic() - started:.1f} s ({server.origin})"
    yield server
    server.close()
