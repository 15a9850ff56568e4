"""Named places in the flow where a test can have the process die, as if by kill -9.

The flow says `reached("after_claim")` at each. That does nothing unless `arm` was called in this process
before, and nothing in the service calls `arm`: only the programs of tests/faults do, which put the
service together from the same parts. So no setting and no variable of a real service can arm a point.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

POINTS = (
    "after_claim",  # the job is ours, nothing is done
    "after_source",  # its file is here and verified
    "after_plan",  # some chunks are planned and stored
    "after_start",  # a chunk is noted as in flight, the engine has not been asked
    "before_commit",  # the engine has answered, its answer is not stored
    "after_commit",  # a chunk is stored
    "before_result",  # all chunks are stored, the result is not
    "after_result",  # the result object is stored, the row does not say so
    "after_finish",  # the row says completed, the work folder is still there
    "after_create",  # job and outbox row are committed, the client has no answer
    "after_send",  # a hint is sent, its outbox row is still there
    "after_drop",  # a deleted job's objects are gone, its row is still there
    "after_claim_delivery",  # a webhook's delivery is ours, nothing is sent
    "after_send_delivery",  # its receiver has answered, nothing is noted
)
"""In the order in which a job passes them; the last five are the API's and the sweeper's."""

EXIT = 137
"""The exit status of a process that was killed by SIGKILL, as shells and containers show it."""

_armed: dict[str, Any] = {}


def arm(point: str, times: int = 1) -> None:
    """Have whichever process ends there that passes the point for the `times`-th time, once.

    This process and those forked from it later count together; none ends there a second time.
    """
    if point not in POINTS:
        raise ValueError(f"no such crash point: {point!r}")
    _armed[point] = multiprocessing.RawValue("i", times)


def reached(point: str) -> None:
    """The flow is at this point. No handler runs and nothing is flushed if this is where it ends."""
    if point in _armed:
        left = _armed[point].value - 1
        _armed[point].value = left
        if left == 0:
            os._exit(EXIT)
