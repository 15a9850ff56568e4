"""The pool of job processes: signals that reach the whole group, and a machine that is short of processes."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.queue.hints import Doorbell
from tests.worker.kit import Kit
from worker.pools.slots import Slots
from worker.pools.solo import SoloPool
from worker.stop import Stop


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., tuple[int, Stop]]:
    """Runs a pool of one job process in a process group of its own; returns its leader when the job process is ready."""
    kit, stop = Kit(tmp_path), Stop()

    def start(
        *, first: Callable[[], None] = lambda: None, in_child: Callable[[], None] = lambda: None
    ) -> tuple[int, Stop]:
        ready, tell = os.pipe()

        def after_fork() -> None:
            in_child()
            os.write(tell, b"!")

        if (pid := os.fork()) == 0:
            try:
                os.setpgid(0, 0)
                first()
                pool = SoloPool(
                    kit.parts,
                    Slots(1, tmp_path / "slots"),
                    stop,
                    indices=range(1),
                    doorbell=Doorbell(tmp_path / "bell"),
                    polling=True,
                    after_fork=after_fork,
                )
                pool.run()
                os._exit(0)
            finally:
                os._exit(1)
        os.close(tell)
        try:
            assert os.read(ready, 1) == b"!", "the pool died"
        finally:
            os.close(ready)
        return pid, stop

    return start


def test_a_signal_to_the_whole_group_is_one_wish_to_stop(started: Callable[..., tuple[int, Stop]]) -> None:
    """Of systemd, say. The job process has had it before the pool's own process."""
    pid, stop = started(in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not stop.is_set()
    os.killpg(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert stop.is_set() and not stop.hurried()


def test_a_fork_that_fails_is_tried_again(started: Callable[..., tuple[int, Stop]]) -> None:
    def short_of_processes() -> None:
        failed: list[str] = []

        def fail(event: str, args: object) -> None:
            if event == "os.fork" and not failed:
                failed.append(event)
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

        sys.addaudithook(fail)

    pid, stop = started(first=short_of_processes)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not stop.hurried()
