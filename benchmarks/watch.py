"""Waiting for jobs without disturbing them: one connection, few questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from tests.e2e.service import ENDED, Service

Body = dict[str, Any]


def wait(service: Service, job: str, until: Callable[[Body], Any] | None = None, *, every: float = 0.1, seconds: float = 1800.0) -> Body:
    """Poll until `until` says so, or the job has ended; returns its last body."""
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=service.url, timeout=60) as client:
        while True:
            body: Body = client.get(f"/api/v1/jobs/{job}").raise_for_status().json()
            if body["status"] in ENDED or (until is not None and until(body)):
                return body
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} has not ended within {seconds:.0f} s")
            time.sleep(every)


def completed(service: Service, job: str, *, every: float = 0.1, seconds: float = 1800.0) -> Body:
    """The job's body once it is completed; RuntimeError when it ended otherwise."""
    body = wait(service, job, every=every, seconds=seconds)
    if body["status"] != "completed":
        raise RuntimeError(f"the job ended as {body['status']}: {body['error']}")
    return body


def all_completed(service: Service, jobs: Sequence[str], *, every: float = 0.05, seconds: float = 1800.0) -> None:
    """In the order in which they were submitted, so that the last to be asked for is about the last to end."""
    for job in jobs:
        completed(service, job, every=every, seconds=seconds)


def cancel(service: Service, job: str) -> None:
    """Have a job ended that has shown what it was wanted for, and wait until it has."""
    httpx.post(f"{service.url}/api/v1/jobs/{job}/cancel", timeout=30)  # 409 when it has ended by itself
    wait(service, job)
