"""The tools of this folder: a proxy that does not misbehave, or a checker that sees nothing, proves nothing."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.jobs.workfolders import remove_dead, work_folder
from core.system import crashpoints
from testbed.faults import made
from testbed.faults.invariants import Accepted, check_jobs, leftovers
from testbed.faults.proxy import FaultProxy
from tests.faults.seeds import Place

JOB = "0198f3c2-1111-7abc-8def-0123456789ab"


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                threading.Thread(target=talk, args=(client,), daemon=True).start()

        def talk(client: socket.socket) -> None:
            with client:
                try:
                    while data := client.recv(1000):
                        client.sendall(data)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def ask(client: socket.socket, word: bytes = b"hello") -> bytes:
    client.sendall(word)
    return client.recv(100)


def test_the_proxys_modes() -> None:
    with echo() as port, FaultProxy("127.0.0.1", port) as proxy:

        def connect() -> socket.socket:
            return socket.create_connection(("127.0.0.1", proxy.port), timeout=0.5)

        with connect() as client:
            assert ask(client) == b"hello"
            proxy.set("delay", 0.05)
            began = time.monotonic()
            assert ask(client) == b"hello" and time.monotonic() - began >= 0.1, "there and back"
            proxy.set("blackhole")
            with pytest.raises(TimeoutError):
                ask(client)
            proxy.set("pass")
            with pytest.raises(TimeoutError):
                ask(client)  # bytes are lost, so it stays silent
            with connect() as other:
                assert ask(other) == b"hello"
                proxy.set("reset")
                with pytest.raises(ConnectionResetError):
                    ask(other) and ask(other)
            with pytest.raises(ConnectionResetError), connect() as other:  # the reset may be as quick as the connection
                ask(other) or other.recv(1)
                raise ConnectionResetError
            proxy.set("half-close")
            with connect() as other:
                assert ask(other) == b""
            proxy.set("pass")
            with connect() as other:
                assert ask(other) == b"hello"


def test_a_work_folder_outlives_neither_its_run_nor_its_process(tmp_path: Path) -> None:
    with work_folder(tmp_path, JOB, 1) as mine, work_folder(tmp_path, JOB, 2) as other:
        assert mine != other and remove_dead(tmp_path) == 0, "both are alive"
    assert not list(tmp_path.iterdir())
    ready, tell = os.pipe()
    if (pid := os.fork()) == 0:
        with work_folder(tmp_path, JOB, 3) as folder:
            (folder / "pcm").write_bytes(b"x")
            os.write(tell, b"!")
            signal.pause()
    os.read(ready, 1)
    assert remove_dead(tmp_path) == 0
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert remove_dead(tmp_path) == 1 and not list(tmp_path.iterdir())
    os.close(ready)
    os.close(tell)


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    foreign = ["python3.11", "project.1", "cancel", f"{JOB}.1.bak", f"{JOB}.", f"{JOB.upper()}.1", "notes-2024-01.5"]
    for name in foreign:
        (tmp_path / name).mkdir()
    (tmp_path / f"local-{JOB}.0").mkdir()
    assert remove_dead(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(foreign)


def test_a_work_folder_of_a_process_killed_at_any_moment_is_taken_for_dead(tmp_path: Path) -> None:
    (tmp_path / f"{JOB}.1").mkdir()  # killed before the lock
    assert remove_dead(tmp_path) == 1
    rng = random.Random(1)
    for _ in range(30):
        if (pid := os.fork()) == 0:
            for fence in range(1_000_000):
                with work_folder(tmp_path, JOB, fence) as folder:
                    (folder / "pcm").touch()
        time.sleep(rng.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        remove_dead(tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_sweep_never_takes_the_work_folder_of_the_living(tmp_path: Path) -> None:
    sweepers = []
    for _ in range(3):
        if (pid := os.fork()) == 0:
            while True:
                remove_dead(tmp_path)
        sweepers.append(pid)
    try:
        for fence in range(700):
            with work_folder(tmp_path, JOB, fence) as folder:
                (folder / "pcm").touch()
                assert (folder / "pcm").exists()
    finally:
        for pid in sweepers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_crash_point_kills_once_and_only_where_armed() -> None:
    def child(times: int) -> int:
        if (pid := os.fork()) == 0:
            crashpoints.arm("after_commit", times)
            for _ in range(2):
                crashpoints.reached("after_commit")
                crashpoints.reached("after_claim")
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert [child(times) for times in (1, 2, 3)] == [137, 137, 0]
    with pytest.raises(ValueError, match="no such crash point"):
        crashpoints.arm("nowhere")


def test_the_checker_sees_what_is_wrong(tmp_path: Path) -> None:
    place = Place(tmp_path)
    data = made.noise(8)
    job = made.submit(place.store, place.objects, data, language="en")
    place.run_once(place.parts, random.Random(0))
    good = Accepted(id=job.id, sha256=job.source.sha256, text=made.heard(tmp_path / "calm", data))
    calls = [{"job": job.id, "label": f"chunk {n + 1}/2"} for n in range(2)]

    def broken(want: Accepted = good, calls: list[dict[str, str]] = calls) -> str:
        found = check_jobs(place.store, place.objects, [want], calls)
        return " ".join(line.split(":")[0] for line in found.broken)

    assert broken() == "" and not leftovers(place.store, place.objects, [place.work], [good])
    assert broken(Accepted(id=job.id, sha256=job.source.sha256, text="other")) == "I3"
    assert broken(Accepted(id=job.id, sha256="other")) == "I5"
    assert broken(Accepted(id=job.id, sha256=job.source.sha256, ends=frozenset({"failed"}))) == "I1"
    assert broken(calls=calls + calls[:1]) == "I4"
    with place.store.database.write() as connection:
        connection.exec_driver_sql("delete from task where number = 1")
        connection.exec_driver_sql("update job set lease_owner = 'x'")
    assert set(broken().split()) == {"I3", "I7"}
    waiting = made.submit(place.store, place.objects, data)
    assert broken(Accepted(id=waiting.id, sha256="")) == "I1"
    (place.work / f"{job.id}.7").mkdir()
    assert "I7" in " ".join(leftovers(place.store, place.objects, [place.work], [good]))
    place.close()
