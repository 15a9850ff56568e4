"""HEAD is answered wherever GET is: the same status and headers, no content."""

from __future__ import annotations

import http.client
import re

import httpx
import pytest

from tests.api.serving import Service

OWN = {"date", "x-request-id"}
"""Headers that differ from one answer to the next."""


def headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def test_everywhere_as_get_without_the_content(running: Service) -> None:
    job = running.submit().json()["links"]["self"]
    described = {
        path: operations["get"]["responses"]["200"].get("content", {})
        for path, operations in running.client.get("/openapi.json").json()["paths"].items()
        if "get" in operations
    }
    streams = {
        path.replace("/api/v1/jobs/{job_id}", job) for path in described if "text/event-stream" in described[path]
    }
    assert len(described) >= 8 and len(streams) == 2
    paths = {
        path.replace("/api/v1/jobs/{job_id}", job).replace("{model}", "base")
        for path in described
        if path not in ("/metrics", "/api/v1/stats")  # they change with each look
    } - streams
    static = re.findall(r'href="([^"]+)"', running.client.get("/docs").text)
    for path in [
        *paths,
        f"{job}?",
        f"{job}?colour=red",
        "/docs",
        "/openapi.json",
        *static,
        "/nothing",
        "/api/v1/jobs/nonsense",
    ]:
        got, head = running.client.get(path), running.client.head(path)
        assert (head.status_code, headers(head)) == (got.status_code, headers(got)), path
        assert not head.content and int(head.headers["content-length"]) == len(got.content) > 0
    for path in streams:
        head = running.client.head(path)
        assert head.status_code == 200 and head.headers["content-type"].startswith("text/event-stream"), path
    assert running.client.head("/metrics").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("suffix", ["", "?"], ids=["the short way", "the framework's own"])
def test_a_status_that_is_known_is_not_modified(running: Service, suffix: str) -> None:
    job = running.submit().json()["links"]["self"] + suffix
    known = {"If-None-Match": running.client.head(job).headers["etag"]}
    assert (
        running.client.head(job, headers=known).status_code == running.client.get(job, headers=known).status_code == 304
    )
    running.client.post(job.rstrip("?") + "/cancel")
    assert running.client.head(job, headers=known).status_code == 200


def test_the_connection_goes_on_after_a_head(running: Service) -> None:
    """Content that went out all the same would be read as the beginning of the next answer."""
    wire = http.client.HTTPConnection(running.host, running.port, timeout=10)
    for method, path in (
        ("HEAD", "/healthz"),
        ("HEAD", "/api/v1/jobs/x/result"),
        ("HEAD", "/docs"),
        ("GET", "/healthz"),
    ):
        wire.request(method, path)
        answer = wire.getresponse()
        content = answer.read()
    assert (answer.status, content) == (200, b'{"status":"ok"}')
    wire.close()


def test_other_methods_are_still_refused_and_all_that_there_are_are_named(running: Service) -> None:
    job = running.submit().json()["links"]["self"]
    wanted = {
        "/api/v1/jobs": "GET, HEAD, POST",
        job: "DELETE, GET, HEAD",
        f"{job}/cancel": "POST",
        "/healthz": "GET, HEAD",
    }
    for path, allowed in wanted.items():
        answer = running.client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert running.client.head(f"{job}/cancel").status_code == 405
    assert running.client.get(job).json()["status"] == "queued"
    text = running.client.get("/metrics").text
    assert 'method="HEAD",route="/api/v1/jobs/{job_id}/cancel",status="405"' in text
