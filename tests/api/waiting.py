"""Clients that do not wait to the end."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from core.jobs.job import Job
from testbed.faults.waiting import wait_for
from tests.api.serving import Service


def left_alone(running: Service, path: str, *, files: Any, keep: bool = False) -> Job:
    """The one job of a client that went before its end; as it is when it has ended, unless it is to be kept."""
    headers = {"X-On-Disconnect": "keep"} if keep else {}
    with pytest.raises(httpx.ReadTimeout):
        running.client.post(path, files=files, headers=headers, timeout=httpx.Timeout(10, read=2.0))
    # on a busy machine it is stored after its client has gone
    ((job,), _) = wait_for(lambda: (found := running.store.list())[0] and found)
    return job if keep else ended(running, job.id)


def ended(running: Service, job_id: str) -> Job:
    """A job as soon as it has."""
    deadline = time.monotonic() + 10
    while not (job := running.store.get(job_id)).terminal:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job
