"""Waiting for jobs without disturbing them: one connection, few questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from testbed.service import ENDED, PLAIN, Service

Body = dict[str, Any]


def wait(
    service: Service,
    job: str,
    until: Callable[[Body], Any] | None = None,
    *,
    every: float = 0.1,
    seconds: float = 1800.0,
) -> Body:
    """Poll until `until` says so, or the job has ended; returns its last body."""
    with _client(service) as client:
        return _wait(client, job, until, every, seconds)


def _client(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=60, verify=PLAIN)


def _wait(client: httpx.Client, job: str, until: Callable[[Body], Any] | None, every: float, seconds: float) -> Body:
    deadline = time.monotonic() + seconds
    while True:
        body: Body = client.get(f"/api/v1/jobs/{job}").raise_for_status().json()
        if body["status"] in ENDED or (until is not None and until(body)):
            return body
        if time.monotonic() > deadline:
            raise TimeoutError(f"job {job} has not ended within {seconds:.0f} s")
        time.sleep(every)


def completed(service: Service, job: str, *, every: float = 0.1, seconds: float = 1800.0) -> Body:
    """The job's body once it is completed; RuntimeError when it ended otherwise."""
    return _good(wait(service, job, every=every, seconds=seconds))


def _good(body: Body) -> Body:
    if body["status"] != "completed":
        raise RuntimeError(f"the job ended as {body['status']}: {body['error']}")
    return body


def late(*jobs: Body) -> float:
    """Seconds since the last of these jobs ended, by the service's word and this machine's clock."""
    return max(0.0, time.time() - max(datetime.fromisoformat(job["finished_at"]).timestamp() for job in jobs))


def transcribe_all(service: Service, sources: Sequence[Path], *, language: str, seconds: float = 1800.0) -> float:
    """Submit all, wait for all; returns how many seconds ago the last one ended.

    By one connection, since making a client costs tens of milliseconds of CPU, and with few questions, since each costs
    milliseconds of the cores that the jobs need.
    """
    with _client(service) as client:
        jobs = []
        for source in sources:
            files = {"file": (source.name, source.read_bytes())}
            jobs.append(
                client.post("/api/v1/jobs", files=files, data={"language": language}).raise_for_status().json()["id"]
            )
        return late(*[_good(_wait(client, job, None, 0.25, seconds)) for job in jobs])


def results(
    service: Service,
    sources: Sequence[Path],
    params: Mapping[str, str],
    *,
    every: float = 0.25,
    seconds: float = 3600.0,
) -> list[Body]:
    """Submit all, wait for all; their results (`format=json`) in order. params: the form's other fields"""
    with _client(service) as client:
        jobs = []
        for source in sources:
            with source.open("rb") as data:
                answer = client.post("/api/v1/jobs", files={"file": (source.name, data)}, data=dict(params))
            jobs.append(answer.raise_for_status().json()["id"])
        for job in jobs:
            _good(_wait(client, job, None, every, seconds))
        return [
            client.get(f"/api/v1/jobs/{job}/result", params={"format": "json"}).raise_for_status().json()
            for job in jobs
        ]


def cancel(service: Service, job: str) -> None:
    """Have a job ended that has shown what it was wanted for, and wait until it has."""
    httpx.post(f"{service.url}/api/v1/jobs/{job}/cancel", timeout=30)  # 409 when it has ended by itself
    wait(service, job)
