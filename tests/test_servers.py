"""The test servers themselves: they start, survive what tests do to them, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from scripts.guarded import GuardedProcess
from scripts.servers import Minio, Postgres, Valkey
from tests.skipping import skip_on_a_laptop
from tests.whisper.engine_parts import gone, wait_for


def _connect(url: str) -> psycopg.Connection[tuple[int]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


@pytest.mark.skipif(bool(os.environ.get(Valkey.variable)), reason="a foreign server is not ours to kill")
def test_valkey_keeps_acknowledged_writes_over_sigkill_and_needs_its_password() -> None:
    with Valkey() as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        time.sleep(1.1)  # appendfsync everysec
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.ping()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=server.port) as stranger:
            stranger.ping()
        folder, pid = server.folder, server.pid
    wait_for(lambda: gone(pid), 10)
    assert not folder.exists()


def test_a_paused_server_is_silent_and_goes_on_afterwards() -> None:
    server = Valkey()
    if not server.owned:
        skip_on_a_laptop("a foreign server is not ours to pause")
    with server, redis.Redis.from_url(server.url, socket_timeout=0.3) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        server.ping()


def test_postgres_makes_separate_databases_and_comes_back_after_a_power_cut(tmp_path: Path) -> None:
    server = Postgres(durable=False)
    if not server.owned:
        skip_on_a_laptop("a foreign server is not ours to kill")
    with server:
        first, second = server.create_database(), server.create_database()
        with _connect(first) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        with _connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM t")
        server.kill()
        server.start()
        with _connect(first) as connection:
            assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_a_folder_keeps_data_and_password(tmp_path: Path) -> None:
    if os.environ.get(Valkey.variable):
        skip_on_a_laptop("a foreign server has a folder of its own")
    with Valkey(tmp_path / "valkey") as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "kept")
        password = (server.folder / "password").read_text()
    with Valkey(tmp_path / "valkey") as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"kept"
        assert (server.folder / "password").read_text() == password


def test_the_fixtures_are_running_servers(
    postgres_url: str, fresh_postgres: Callable[[], str], valkey: Valkey, minio: Minio
) -> None:
    assert postgres_url.startswith("postgresql+psycopg://")
    with _connect(postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert fresh_postgres() != postgres_url
    valkey.ping()
    minio.ping()


def test_a_server_dies_with_its_parent_even_by_sigkill() -> None:
    code = (
        "import sys, time\nfrom scripts.servers import Valkey\n"
        "s = Valkey().start()\nprint(s.pid, s.folder, flush=True)\ntime.sleep(60)"
    )
    env = {k: v for k, v in os.environ.items() if k != Valkey.variable}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env, cwd=Path(__file__).parents[1]
    )
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: gone(int(pid)), 10)
    subprocess.run(["rm", "-r", folder], check=True)


def test_a_child_survives_the_thread_that_started_it_and_reports_how_it_ended(tmp_path: Path) -> None:
    made: list[GuardedProcess] = []
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    thread = threading.Thread(target=lambda: made.append(GuardedProcess(command, log=tmp_path / "log")))
    thread.start()
    thread.join()
    (child,) = made
    wait_for(lambda: child.tail() == "up", 20)
    assert child.poll() is None
    assert child.stop() == -signal.SIGTERM
    assert child.stop() == -signal.SIGTERM  # again: nothing to do


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    child = GuardedProcess([sys.executable, "-c", code], log=tmp_path / "log", grace=0.3)
    wait_for(lambda: child.tail() == "up", 20)
    assert child.stop() == -signal.SIGKILL


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such-program"):
        GuardedProcess(["/no-such-program"], log=tmp_path / "log")


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    if not server.owned:
        skip_on_a_laptop("a foreign server is not started here")
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(RuntimeError, match=r"(?s)valkey.*ended while starting.*appendonlydir"):
        server.start()
