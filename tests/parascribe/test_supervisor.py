"""The supervisor under real signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from parascribe.supervisor import Child, Supervisor

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
