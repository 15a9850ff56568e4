"""The supervisor under real signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from parascribe.run.supervisor import Child, Supervisor

SLOW = """
import signal, sys, time
def stop(*_):
    open(sys.argv[1] + "/asked", "w").close()
    time.sleep(0.5)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1] + "/slow", "w").close()
signal.pause()
"""

PATIENT = """
import signal, sys
asked = []
def stop(*_):
    asked.append(1)
    if len(asked) == 2:
        open(sys.argv[1] + "/hurried", "w").close()
        sys.exit()
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1] + "/patient", "w").close()
while True:
    signal.pause()
"""

DRAINING = """
import os, signal, sys, time
folder = sys.argv[1]
def stop(*_):
    open(folder + "/asked", "w").close()
    for _ in range(6000):
        if os.path.exists(folder + "/drained"):
            break
        time.sleep(0.01)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
open(folder + "/up", "w").close()
while True:
    signal.pause()
"""


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_second_signal_hurries_also_those_that_are_not_yet_asked_to_stop(tmp_path: Path) -> None:
    """The API stops first; the consumer, whose turn is later, must not wait for its chunks."""
    children = [
        Child(name=name, command=[sys.executable, "-c", code, str(tmp_path)], env=dict(os.environ), grace=20.0)
        for name, code in (("patient", PATIENT), ("slow", SLOW))
    ]

    def ctrl_c_twice() -> None:
        wait_for(lambda: (tmp_path / "slow").exists() and (tmp_path / "patient").exists())
        os.kill(os.getpid(), signal.SIGINT)
        wait_for((tmp_path / "asked").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=ctrl_c_twice)
    thread.start()
    began = time.monotonic()
    assert Supervisor(children).run() == 0
    thread.join()
    assert (tmp_path / "hurried").exists()
    assert time.monotonic() - began < 15.0


def test_what_was_wanted_again_while_it_drained_can_be_stopped_once_more(tmp_path: Path) -> None:
    """The broker is back, away again before the poller has ended, and back for good: the next poller must end too."""
    wanted = [True]
    command = [sys.executable, "-c", DRAINING, str(tmp_path)]
    poller = Child(name="poller", command=command, env=dict(os.environ), grace=20.0, wanted=lambda: wanted[-1])

    def broker() -> None:
        wait_for((tmp_path / "up").exists)
        wanted.append(False)
        wait_for((tmp_path / "asked").exists)
        wanted.append(True)
        for name in ("up", "asked"):
            (tmp_path / name).unlink()
        (tmp_path / "drained").touch()
        wait_for((tmp_path / "up").exists)
        wanted.append(False)
        wait_for((tmp_path / "asked").exists)
        asked.append((tmp_path / "asked").exists())
        os.kill(os.getpid(), signal.SIGINT)

    asked: list[bool] = []
    thread = threading.Thread(target=broker)
    thread.start()
    assert Supervisor([poller]).run() == 0
    thread.join()
    assert asked == [True]


def test_a_child_that_cannot_be_started_is_tried_again_and_stops_nothing(tmp_path: Path) -> None:
    answers = iter([False])  # not wanted at first: what cannot be started when the service starts refuses that
    good = [sys.executable, "-c", DRAINING, str(tmp_path)]
    late = Child(name="late", command=[*good, "x" * 200_000], env=dict(os.environ), wanted=lambda: next(answers, True))
    seen: list[int] = []
    (tmp_path / "drained").touch()

    def mend() -> None:
        wait_for(lambda: late.failures > 1)  # the system refuses so long an argument (E2BIG)
        seen.append(late.failures)
        late.command = good
        wait_for((tmp_path / "up").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=mend)
    thread.start()
    assert Supervisor([late]).run() == 0
    thread.join()
    assert seen[0] > 1
    assert (tmp_path / "up").exists()
