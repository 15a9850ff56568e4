"""The pool of engine workers: it grows with what waits, shrinks when idle, and yields to pressure, but never below one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.system.pressure import Pressure, read
from tests.whisper.engine_parts import MODEL, ROOT, WHEEL, HostClient, chunk, gone, running_host, text_of, wait_for
from whisper.host.scaling import LOOK_SECONDS, SAY_SECONDS, Autoscaler, ScalingRule, add_arguments
from whisper.wire.process import engine_environment

_HOST = """
import json, socket, sys
from pathlib import Path
from core.system.pressure import Pressure
from whisper.host.loop import Host
from whisper.host.scaling import Autoscaler, ScalingRule
from whisper.host.worker import WorkerRun
from whisper.host.worker_process import log
from whisper.kinds import load_kind
folder, library, file = map(Path, sys.argv[1:])
kind = load_kind("whisper")
model = kind.load([file], "cpu", {"directory": library}, debug=False)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(folder / "h.sock"))
listener.listen(16)
rule = ScalingRule(most=3, idle_seconds=600, memory_limit=10, cpu_limit=90, worker_mb=100, lone_threads=2)
scaler = Autoscaler(rule, lambda: Pressure(**json.loads((folder / "pressure").read_text())), log)
work = WorkerRun(kind=kind, load=lambda: model, recycle_after=200, rss_cap=1 << 40)
Host(listener, kind, work, scaler=scaler, about={}, announce=lambda said: print(flush=True)).run()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ps") as path:
        yield Path(path)


def make_scaler(pressure: Pressure, **rule: Any) -> Autoscaler:
    return Autoscaler(ScalingRule(most=8, **rule), lambda: pressure, [].append)


def test_workers_come_with_waiting_chunks_and_go_when_idle(folder: Path) -> None:
    with running_host(folder, workers=3, arguments=("--worker-idle-seconds", "3")) as host:
        (first,) = host.worker_pids()  # one is always warm
        os.kill(first, signal.SIGSTOP)
        stuck = host.send(chunk()[0], job="a")
        wait_for(lambda: not host.status()["workers"][0]["idle"])
        assert len(host.status()["workers"]) == 1  # nothing waits
        assert text_of(host.transcribe(chunk()[0], job="b")) == chunk()[1]
        assert len(host.status()["workers"]) == 2
        os.kill(first, signal.SIGCONT)
        stuck.answer()
        pids = host.grow(3)
        last = wait_for(lambda: len(left := host.worker_pids()) == 1 and left, 20)
        wait_for(lambda: sum(map(gone, pids)) == 2)
        assert text_of(host.transcribe(chunk()[0])) == chunk()[1]
        assert host.worker_pids() == last  # no fork for a lone chunk
        assert host.status()["idle_seconds"] < 20 and host.status()["lost"] == 0


class Pressed:
    """A host of up to three workers, and the pressure that it is made to see."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.words = folder, ""

    def press(self, **pressure: float) -> None:
        """Values not named are those of a machine at rest."""
        (self._folder / "new").write_text(json.dumps({"memory": 0.0, "cpu": 0.0, "available_mb": 10_000} | pressure))
        (self._folder / "new").rename(self._folder / "pressure")

    @contextmanager
    def running(self) -> Iterator[HostClient]:
        """`words`: what the host said, once it has ended."""
        command = [sys.executable, "-c", _HOST, str(self._folder), str(WHEEL.directory), str(MODEL)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=engine_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert process.stdout is not None and process.stdout.readline() == b"\n"
            yield HostClient(process, self._folder / "h.sock")
        finally:
            process.terminate()
            self.words = process.communicate(timeout=10)[1].decode()


def test_pressure_holds_growth_back_and_thins_out_the_idle_but_one_always_works(folder: Path) -> None:
    machine = Pressed(folder)
    machine.press(memory=50.0)
    with machine.running() as host:
        (pid,) = host.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        asked = [host.send(chunk()[0], job=str(n)) for n in range(4)]
        wait_for(lambda: "memory pressure is 50 %" in host.status()["pool"]["held"])
        os.kill(pid, signal.SIGCONT)
        assert all(text_of(a.answer()) == chunk()[1] for a in asked)
        assert len(host.status()["workers"]) == 1
        machine.press()
        assert len(host.grow(3)) == 3
        machine.press(memory=50.0)
        wait_for(lambda: len(host.worker_pids()) == 1)
        assert text_of(host.transcribe(chunk()[0])) == chunk()[1]
    assert machine.words.count("no more workers for now: memory pressure is 50 %") == 1


def test_a_lone_chunk_uses_the_idle_cores_where_that_is_wished_for(folder: Path) -> None:
    machine = Pressed(folder)
    machine.press()
    with machine.running() as host:
        (pid,) = host.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        first = host.send(chunk()[0])
        wait_for(lambda: not host.status()["workers"][0]["idle"])
        assert host.status()["workers"][0]["threads"] == 2
        assert (
            text_of(host.transcribe(chunk()[0])) == chunk()[1]
        )  # by a second worker, with the one thread that is its share
        os.kill(pid, signal.SIGCONT)
        assert text_of(first.answer()) == chunk()[1]  # with two threads


@pytest.mark.parametrize(
    ("pressure", "added", "why"),
    [
        (Pressure(memory=9, cpu=89, available_mb=10_000), 5, ""),
        (Pressure(memory=10, cpu=0, available_mb=10_000), 0, "memory pressure"),
        (Pressure(memory=0, cpu=90, available_mb=10_000), 0, "CPU pressure"),
        (Pressure(memory=0, cpu=0, available_mb=380), 3, ""),
        (Pressure(memory=0, cpu=0, available_mb=120), 0, "120 MB of memory are available"),
        (Pressure(), 5, ""),  # the kernel does not tell
    ],
)
def test_what_may_be_added(pressure: Pressure, added: int, why: str) -> None:
    rule = {"worker_mb": 100, "memory_limit": 10, "cpu_limit": 90}
    pool = make_scaler(pressure, **rule)
    assert pool.missing(waiting=6, free=1, workers=2, unproven=0) == added
    assert pool.held.startswith(why) and bool(pool.held) == bool(why)
    alone = make_scaler(pressure, **rule)
    assert alone.missing(waiting=0, free=0, workers=0, unproven=0) == 1
    assert alone.missing(waiting=6, free=0, workers=0, unproven=0) >= 1


def test_memory_of_workers_that_have_not_decoded_yet_is_kept_for_them() -> None:
    pool = make_scaler(Pressure(available_mb=500), worker_mb=100)
    assert pool.missing(waiting=6, free=3, workers=3, unproven=3) == 1
    assert pool.missing(waiting=6, free=4, workers=4, unproven=4) == 0 and pool.held == ""


def test_never_more_than_the_most_and_none_without_need() -> None:
    pool = make_scaler(Pressure())
    assert pool.missing(waiting=20, free=0, workers=7, unproven=0) == 1
    assert pool.missing(waiting=2, free=2, workers=4, unproven=2) == 0
    assert pool.missing(waiting=0, free=0, workers=4, unproven=0) == 0


class Watched:
    """A pool with one worker, a clock and a pressure of the test's own, and the lines that it says."""

    def __init__(self) -> None:
        self.pressure, self.now = 0.0, 0.0
        self.said: list[str] = []
        self.pool = Autoscaler(
            ScalingRule(most=4, memory_limit=10),
            lambda: Pressure(memory=self.pressure),
            self.said.append,
            lambda: self.now,
        )

    def step(self, pressure: float, *, waiting: int = 2, seconds: float = LOOK_SECONDS) -> int:
        """Workers added, so many seconds later."""
        self.pressure, self.now = pressure, self.now + seconds
        return self.pool.missing(waiting=waiting, free=0, workers=1, unproven=0)


HELD, RELEASED = "no more workers for now: memory pressure is 12 %", "workers are no longer held back"


def test_release_comes_below_the_limit_and_is_said_once() -> None:
    seen = Watched()
    assert [seen.step(pressure, seconds=SAY_SECONDS) for pressure in (12.0, 9.0, 7.0, 9.0)] == [0, 0, 2, 2]
    assert seen.said == [HELD, RELEASED]


def test_what_comes_and_goes_is_said_at_most_once_a_minute() -> None:
    seen = Watched()
    lines = []
    for second in range(600):
        seen.step(12.0 if second % 2 else 1.0)
        assert bool(seen.pool.held) == bool(second % 2), "what is done changes at once"
        lines.append(len(seen.said))
    assert 2 <= lines[-1] <= 10
    assert max(late - early for early, late in zip(lines, lines[int(SAY_SECONDS) - 1 :], strict=False)) == 1
    seen.step(1.0, seconds=SAY_SECONDS)
    assert seen.said[-1] == RELEASED, "the last word is true"


def test_that_nothing_waits_is_no_change_of_the_machine() -> None:
    """Between two chunks nothing waits; the log used to tell of each."""
    seen = Watched()
    for _ in range(100):
        seen.step(12.0, seconds=SAY_SECONDS)
        assert seen.pool.held
        seen.step(12.0, waiting=0, seconds=SAY_SECONDS)
        assert not seen.pool.held
    assert seen.said == [HELD]


def test_idle_workers_go_at_once_while_memory_is_short() -> None:
    assert make_scaler(Pressure(memory=30), memory_limit=10).retired_after() == 0
    assert make_scaler(Pressure(memory=3), memory_limit=10, idle_seconds=7).retired_after() == 7
    assert make_scaler(Pressure(), idle_seconds=0).retired_after() == float("inf")


def test_a_chunk_gets_the_threads_that_are_left() -> None:
    assert make_scaler(Pressure(cpu=0)).threads(taken=0, waiting=0) == 1
    pool = make_scaler(Pressure(cpu=0), lone_threads=8)
    assert [pool.threads(taken=taken, waiting=0) for taken in (0, 3, 7, 8)] == [8, 5, 1, 1]
    assert pool.threads(taken=0, waiting=1) == 1
    assert make_scaler(Pressure(cpu=50), lone_threads=8).threads(taken=0, waiting=0) == 1  # the cores are not idle
    sharing = make_scaler(Pressure(cpu=50), lone_threads=8, shares_cores=True)
    assert sharing.threads(taken=0, waiting=0) == 8, "nothing is to be feared"


def test_a_live_request_gets_the_cores_that_are_left_where_threads_share_them() -> None:
    pool = make_scaler(Pressure(cpu=50), cores=4, shares_cores=True)
    assert [pool.threads(taken=taken, waiting=0, live=True) for taken in (0, 2, 3)] == [4, 2, 1]
    assert pool.threads(taken=0, waiting=0) == pool.threads(taken=0, waiting=1, live=True) == 1
    assert make_scaler(Pressure(), cores=4).threads(taken=0, waiting=0, live=True) == 1, "they spin"


def test_the_rule_survives_a_command_line_and_is_told_in_words() -> None:
    rule = ScalingRule(most=4, threads=2, idle_seconds=30.5, memory_limit=10, cpu_limit=95, lone_threads=8)
    parser = ArgumentParser()
    add_arguments(parser)
    assert ScalingRule.of(parser.parse_args(rule.arguments())) == rule
    words = "; ".join(rule.words())
    assert all(
        part in words
        for part in ("1 to 4 workers", "30.5 s", "memory pressure is 10 %", "CPU pressure is 95 %", "8 threads")
    )
    assert ScalingRule(most=1).words() == ("1 worker",)


@pytest.mark.parametrize("version", [1, 2])
def test_pressure_of_a_machine_and_its_cgroup(tmp_path: Path, version: int) -> None:
    proc, top = tmp_path / "proc", tmp_path / "cgroup"
    own = top / "ours" if version == 2 else top
    for path in (proc / "pressure", proc / "self", own, top / "memory"):
        path.mkdir(parents=True, exist_ok=True)
    assert read(proc, top) == Pressure()
    line = "some avg10={} avg60=1.00 avg300=1.00 total=5\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=5\n"
    (proc / "pressure/memory").write_text(line.format("1.50"))
    (proc / "pressure/cpu").write_text(line.format("80.00"))
    (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    4000000 kB\n")
    (proc / "self/cgroup").write_text("1:cpu:/\n0::/ours\n")
    assert read(proc, top) == Pressure(memory=1.5, cpu=80.0, available_mb=4096)
    prefix, names = ("total_", ("limit_in_bytes", "usage_in_bytes")) if version == 1 else ("", ("max", "current"))
    limited = own if version == 2 else top / "memory"
    (limited / f"memory.{names[0]}").write_text("2000000000\n")
    (limited / f"memory.{names[1]}").write_text("1500000000\n")
    (limited / "memory.stat").write_text(f"anon 5\n{prefix}inactive_file 300000000\n{prefix}active_file 100000000\n")
    assert read(proc, top).available_mb == 900
    if version == 2:
        (own / "memory.pressure").write_text(line.format("33.00"))
        (own / "cpu.pressure").write_text(line.format("2.00"))
        assert (read(proc, top).memory, read(proc, top).cpu) == (33.0, 2.0)


def test_this_machine_can_be_read() -> None:
    found = read()
    assert found.available_mb is None or found.available_mb > 0
    assert all(value is None or 0 <= value <= 100 for value in (found.memory, found.cpu))
