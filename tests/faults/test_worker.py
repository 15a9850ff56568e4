"""Rows 1-8: job processes, consumers and the engine die, hang or freeze; the job ends once, complete."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.faults.rig import Rig, wait_for


def test_01_kill_9_of_a_job_process(cluster: Callable[..., Rig]) -> None:
    rig = cluster(LEASE_SECONDS="60")
    job = rig.midway()
    os.kill(rig.owner(job), signal.SIGKILL)
    assert rig.ended(job, 15).attempts == 2, "the lease of a dead child is freed at once, not after a minute"
    assert rig.check().in_flight >= 1


def test_02_kill_9_of_a_consumer(cluster: Callable[..., Rig]) -> None:
    rig = cluster(consumers=2)
    job = rig.midway()
    held_by = rig.store.get(job).lease_owner
    holder = next(p for p in rig.processes("tests.faults.program consumer") if _is_ancestor(p.pid, rig.owner(job)))
    killed = time.monotonic()
    for child in holder.children(recursive=True):
        child.kill()
    holder.kill()
    wait_for(lambda: rig.store.get(job).lease_owner not in (None, held_by), 15)
    assert time.monotonic() - killed < 3 + 3 * 0.5 + 3, "taken over later than lease + sweep"
    rig.check()


def _is_ancestor(pid: int, child: int) -> bool:
    import psutil

    return pid in {p.pid for p in psutil.Process(child).parents()}
