"""Children die with their parent, keep to their limits and see no secrets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from core.system.processes import CANNOT_RUN, Limits, spawn, stop
from tests.whisper.engine_parts import gone, wait_for

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals and /proc are Linux's")


both_ways = pytest.mark.parametrize("quick", [False, True], ids=["launcher", "quick"])


def output(*command: str, limits: Limits | None = None, quick: bool = False) -> str:
    process = spawn(command, limits=limits, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, quick=quick)
    return process.communicate(timeout=10)[0].decode()


@linux
@both_ways
def test_dies_when_its_parent_is_killed(quick: bool) -> None:
    script = f"from core.system.processes import spawn; p = spawn(['/bin/sleep', '60'], quick={quick}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    while psutil.Process(pid).name() != "sleep":
        time.sleep(0.01)
    parent.kill()
    parent.communicate()
    wait_for(lambda: gone(pid))


@linux
@both_ways
def test_dies_with_the_thread_that_started_it(quick: bool) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(spawn(["/bin/sleep", "60"], quick=quick))
        while psutil.Process(started[0].pid).name() != "sleep":
            time.sleep(0.01)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert started[0].wait(timeout=10) == -signal.SIGKILL


def test_stop_ends_the_whole_group() -> None:
    process = spawn(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    assert stop(process) == -signal.SIGKILL
    wait_for(lambda: gone(grandchild))
    assert stop(process) == -signal.SIGKILL, "a second time does no harm"


def test_sees_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("MINIO_SECRET_KEY", "secret")
    monkeypatch.setenv("DATA_DIR", "/srv/data")
    seen = dict(line.split("=", 1) for line in output("/usr/bin/env").splitlines())
    assert seen["DATA_DIR"] == "/srv/data"
    assert set(seen) <= {"PATH", "LD_LIBRARY_PATH", "DATA_DIR", "TZ", "LC_ALL"}


@linux
@both_ways
def test_keeps_to_its_limits(quick: bool, tmp_path: Path) -> None:
    limits = Limits(memory=2**30, cpu_seconds=100, file_bytes=0, open_files=64, nice=3)
    said = output("/bin/cat", "/proc/self/limits", "/proc/self/status", "/proc/self/stat", limits=limits, quick=quick)
    values = {line[:26].strip(): line[26:].split()[:2] for line in said.splitlines()}
    assert values["Max address space"] == ["1073741824"] * 2
    assert values["Max cpu time"] == ["100"] * 2
    assert values["Max open files"] == ["64"] * 2
    assert values["Max core file size"] == ["0"] * 2
    assert "NoNewPrivs:\t1" in said
    assert said.rstrip().rpartition(") ")[2].split()[16] == str(os.nice(0) + 3)
    output("/bin/sh", "-c", f"echo text > {tmp_path}/file", limits=limits, quick=quick)
    assert (tmp_path / "file").stat().st_size == 0


@both_ways
def test_is_killed_when_its_cpu_time_is_used_up(quick: bool) -> None:
    process = spawn(["/bin/sh", "-c", "while :; do :; done"], limits=Limits(cpu_seconds=1), quick=quick)
    assert process.wait(timeout=20) in (-signal.SIGKILL, -signal.SIGXCPU)


@linux
def test_the_quick_way_is_there_wherever_its_tools_are() -> None:
    process = spawn(["/bin/sleep", "60"], quick=True)
    try:
        tools = all(shutil.which(name) for name in ("setpriv", "prlimit", "nice"))
        assert (Path(str(process.args[0])).name == "setpriv") == tools  # type: ignore[index]
    finally:
        stop(process)


@both_ways
def test_limits_never_exceed_those_of_the_parent(quick: bool) -> None:
    script = f"""if True:
        import resource, subprocess
        from core.system.processes import Limits, spawn
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
        p = spawn(['/bin/sh', '-c', 'ulimit -n'], limits=Limits(open_files=64), stdout=subprocess.PIPE, quick={quick})
        print(p.communicate()[0].decode())
    """
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True).stdout
    assert said.strip() == b"50"


@linux
def test_an_owner_that_cannot_be_looked_at_is_not_declared_dead() -> None:
    """The look fails once, as when the whole machine is short of files."""
    script = """if True:
        import errno, sys
        from core.system.identity import alive, owner
        mine, failed = owner("here"), []
        def fail(event, args):
            if event == "open" and str(args[0]).endswith("/stat") and not failed:
                failed.append(event)
                raise OSError(errno.ENFILE, "too many open files in system")
        sys.addaudithook(fail)
        try:
            print(alive(mine))
        except OSError:
            print("unknown")
        print(alive(mine), alive("here/4194305:1"))
    """
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True).stdout
    assert said.split() == [b"unknown", b"True", b"False"]


@both_ways
def test_a_program_that_is_not_there_is_named(quick: bool) -> None:
    assert output("/nowhere/program", quick=quick).encode().startswith(CANNOT_RUN + b"program: No such file")
