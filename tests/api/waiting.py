"""Clients that do not wait to the end."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from core.jobs.job import Job
from tests.api.serving import Service


def left_alone(running: Service, path: str, *, files: Any, keep: bool = False) -> Job:
    """The one job of a client that went before its end; as it is when it has ended, unless it is to be kept."""
    headers = {"X-On-Disconnect": "keep"} if keep else {}
    with pytest.raises(httpx.ReadTimeout):
        running.client.post(path, files=files, headers=headers, timeout=httpx.Timeout(10, read=0.5))
    (job,), _ = running.store.list()
    return job if keep else ended(running, job.id)


def ended(running: Service, job_id: str) -> Job:
    """A job as soon as it has."""
    deadline = time.monotonic() + 10
    while not (job := running.store.get(job_id)).terminal:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job
