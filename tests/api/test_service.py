"""Health, errors of every kind, headers, metrics, OpenAPI, memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from starlette.types import Message, Receive, Scope, Send

import core.errors
from api.http.middleware import RequestLog
from api.http.problems import STATUS, status_of
from core.errors import ModelUnavailable, ServiceError
from core.jobs.params import JobParams
from core.options import options
from core.store.sql import SqlStore
from tests.api.serving import Service, wav
from tests.api.test_submit import refused, until
from tests.core.store_kit import consumer


def subclasses(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from subclasses(sub)


@pytest.mark.parametrize("kind", sorted(set(subclasses(ServiceError)), key=str))
def test_every_error_has_a_status(kind: type[ServiceError]) -> None:
    assert 400 <= status_of(kind()) < 600


def test_no_status_is_left_over() -> None:
    codes = {kind.code for kind in subclasses(ServiceError) if kind.__module__.startswith(core.errors.__name__)}
    assert set(STATUS) == codes | {"not_found", "method_not_allowed"}


def test_errors_of_the_framework_are_problems_too(running: Service) -> None:
    refused(running.client.get("/nothing/here"), 404, "not_found")
    refused(running.client.get("/api/v1/jobs/"), 404, "not_found")
    answer = running.client.put("/api/v1/jobs")
    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].replace(" ", "").split(",")) & {"GET", "POST"}
    # other people's clients are told in their words
    assert running.client.get("/v1/chat/completions").json()["error"]["code"] == "not_found"
    answer = running.client.put("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_defect_is_a_500_without_its_cause(serve: Callable[..., Service], caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, object]:
        raise ZeroDivisionError("secret detail")

    running = serve(system=broken)
    with caplog.at_level(logging.ERROR):
        answer = running.client.get("/api/v1/system", headers={"X-Request-ID": "abc-1"})
    refused(answer, 500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert any("abc-1" in record.getMessage() and record.exc_info for record in caplog.records)


def test_request_ids_and_headers(running: Service) -> None:
    answers = [running.client.get(path) for path in ("/healthz", "/nothing", "/api/v1/jobs")]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 3
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}
    evil = running.client.get("/healthz", headers={"X-Request-ID": "a b<script>"})
    assert evil.headers["X-Request-ID"] != "a b<script>"


def test_a_stream_counts_as_one_request_until_its_first_byte() -> None:
    out: list[float] = []
    counted: list[tuple[str, str, int, float]] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        out.append(time.perf_counter())
        await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"later"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    request_log = RequestLog(stream, observe=lambda *figures: counted.append(figures))
    began = time.perf_counter()
    asyncio.run(request_log({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
    ((method, _, status, seconds),) = counted
    assert (method, status) == ("GET", 200) and 0 < seconds <= out[0] - began


def test_health_needs_nothing_and_readiness_tells_what_is_missing(serve: Callable[..., Service]) -> None:
    def no_model() -> None:
        raise ModelUnavailable

    def no_broker() -> None:
        raise ConnectionError

    store = SqlStore.in_memory()
    running = serve(store=store, checks={"database": store.ping}, advisory={"model": no_model, "broker": no_broker})
    wanted = {"status": "ready", "checks": {"database": "ok", "model": "missing", "broker": "unavailable"}}
    until(lambda: running.client.get("/readyz").json() == wanted)  # a check may be late once
    assert running.client.get("/readyz").status_code == 200
    assert running.client.get("/healthz").json() == {"status": "ok"}
    assert running.client.get("/version").json() == {"name": "parascribe", "version": "0.0.1"}


def test_readiness_and_uploads_agree_about_a_full_disk(serve: Callable[..., Service]) -> None:
    free = [199 << 20]
    running = serve(free_bytes=lambda: free[0])
    answer = running.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["checks"]["disk"]) == (503, "not_ready", "full")
    refused(running.submit(), 507, "insufficient_storage")
    free[0] += 2 << 20
    assert (running.client.get("/readyz").status_code, running.submit().status_code) == (200, 202)


def test_a_check_that_hangs_is_bounded_and_does_not_pile_up(serve: Callable[..., Service]) -> None:
    let_go = threading.Event()
    started = []

    def hang() -> None:
        started.append(1)
        let_go.wait(20)

    running = serve(checks={"storage": hang, "database": lambda: None})
    for _ in range(2):
        answer = running.client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]) == (503, {"storage": "timeout", "database": "ok"})
    assert len(started) == 1
    let_go.set()
    until(lambda: running.client.get("/readyz").status_code == 200)


def test_metrics(running: Service) -> None:
    running.submit()
    running.client.get("/wp-login.php")
    text = running.client.get("/metrics").text
    assert 'parascribe_jobs{status="queued"} 1.0' in text
    assert 'parascribe_http_requests_total{method="POST",route="/api/v1/jobs",status="202"} 1.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert "wp-login" not in text
    received = next(
        float(line.split()[1]) for line in text.splitlines() if line.startswith("parascribe_upload_bytes_total")
    )
    assert received > 1000


def test_what_metrics_say_of_the_job_table(running: Service) -> None:
    def figures() -> dict[str, float]:
        lines = running.client.get("/metrics").text.splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        }

    empty = figures()
    assert empty["parascribe_queue_audio_seconds"] == empty["parascribe_queue_oldest_seconds"] == 0.0
    assert empty["parascribe_consumers"] == 0.0
    assert empty['parascribe_build_info{version="0.0.1"}'] == 1.0
    running.submit(wav(320_000))
    running.store.beat("there", consumer(jobs=3))
    shown = figures()
    assert shown["parascribe_queue_audio_seconds"] == pytest.approx(10.0)  # guessed: 256 kbit/s
    assert shown["parascribe_queue_oldest_seconds"] > 0.0
    assert (shown["parascribe_consumers"], shown["parascribe_job_slots"]) == (1.0, 3.0)


def test_models_and_system(running: Service) -> None:
    body = running.client.get("/api/v1/models").json()
    models = {model["name"]: model for model in body["items"]}
    assert body["default"] == "base"
    assert models["demo"]["installed"]
    assert not models["base"]["installed"]
    assert not models["large-v3-turbo"]["translates"]
    assert running.client.get("/api/v1/system").json() == {"cores": 2.0}


def test_the_description(running: Service) -> None:
    schema = running.client.get("/openapi.json").json()
    operations = {op["operationId"]: op for path in schema["paths"].values() for op in path.values()}
    assert {
        "create_job",
        "get_job",
        "list_jobs",
        "cancel_job",
        "retry_job",
        "delete_job",
        "get_result",
        "list_models",
    } <= set(operations)
    form = operations["create_job"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", "batch", *(option.name for option in options(JobParams))}
    assert all(op["tags"] and op.get("summary") for op in operations.values())
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert schema["components"]["schemas"]["JobBody"]["examples"]
    page = running.client.get("/docs")
    assert page.status_code == 200
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(wanted) >= 2, page.text
    # the page needs nothing from outside
    assert all(running.client.get(path).status_code == 200 for path in wanted if path.startswith("/"))
    assert all(path.startswith("/") for path in wanted), wanted


def test_memory_stays_flat_during_a_large_upload(tmp_path: Path) -> None:
    size = 300 << 20
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.api.serving", str(tmp_path), str(port)], cwd=Path(__file__).parents[2]
    )
    with ExitStack() as stack:
        stack.callback(server.wait, 15)
        stack.callback(server.terminate)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False))

        def up() -> bool:
            try:
                return client.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(up, 20)
        process = psutil.Process(server.pid)
        seen = [process.memory_info().rss]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                seen.append(process.memory_info().rss)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        block = os.urandom(1 << 20)

        def body() -> Iterator[bytes]:
            yield b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\xff\xff\xff\xffWAVE'
            for _ in range(size >> 20):
                yield block
            yield b"\r\n--xyz--\r\n"

        start = time.monotonic()
        answer = client.post(
            "/api/v1/jobs", content=body(), headers={"Content-Type": "multipart/form-data; boundary=xyz"}
        )
        seconds = time.monotonic() - start
        done.set()
        watcher.join()
        assert answer.status_code == 202, answer.text
        assert answer.json()["source"]["bytes"] == size + 12
        grown = (max(seen) - seen[0]) / 2**20
        print(f"grew by {grown:.1f} MiB during {size >> 20} MiB in {seconds:.1f} s")
        assert grown < 24


def test_a_request_that_comes_with_the_end_of_the_one_before(running: Service) -> None:
    form = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%s\r\n--X--\r\n' % wav(600_000)
    head = b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=X\r\nContent-Length: %d\r\n\r\n" % len(form)
    with socket.create_connection((running.host, running.port), timeout=10) as wire:
        wire.sendall(b"POST /api/v1/jobs HTTP/1.1\r\n" + head + form + b"GET /healthz HTTP/1.1\r\n")
        answers = wire.recv(12)
        wire.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
        while more := wire.recv(65536):
            answers += more
    assert answers.startswith(b"HTTP/1.1 202") and answers.count(b"HTTP/1.1 200") == 1


def test_a_head_without_end_is_cut_off(running: Service) -> None:
    with socket.create_connection((running.host, running.port), timeout=10) as endless:
        endless.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        answer = b""
        with contextlib.suppress(ConnectionError):
            for number in range(4000):
                endless.sendall(b"X-%d: %s\r\n" % (number, b"y" * 1000))
        with contextlib.suppress(ConnectionError):
            answer = endless.recv(1000)
    assert number < 3999, "it was read to the end"
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    with socket.create_connection((running.host, running.port), timeout=10) as endless:
        endless.sendall(
            b"POST /api/v1/webhooks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        )
        with contextlib.suppress(ConnectionError):
            for number in range(8000):
                endless.sendall(b"X-%d: %s\r\n" % (number, b"y" * 1000))
    assert number < 7999, "trailers were read to the end"
    with socket.create_connection((running.host, running.port), timeout=10) as long:
        long.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\nConnection: close\r\n\r\n" % (b"y" * 40_000)
        )
        assert long.recv(1000).startswith(b"HTTP/1.1 200")
