"""What can be seen of a running service from outside: its figures, its log lines as JSON, its traces."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scripts.servers import free_port
from testbed.service import Service, audio, running

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass(kw_only=True)
class Seen:
    """service: with everything switched on; job: one it has completed; figures: address of its consumer's"""

    service: Service
    job: dict[str, Any]
    figures: str
    spans: list[Any] = field(default_factory=list)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder, port, spans = tmp_path_factory.mktemp("seen"), free_port(), []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            for one in sent.resource_spans:
                about = {entry.key: entry.value.string_value for entry in one.resource.attributes}
                spans.extend((about["service.name"], span) for scope in one.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    path, _ = audio(folder, minutes=0.5, seed=3)
    given = {
        "METRICS_PORT": str(port),
        "LOG_FORMAT": "json",
        "TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
    }
    with running(folder / "service", **given) as service:
        with path.open("rb") as data:
            answer = httpx.post(
                f"{service.url}/api/v1/jobs",
                files={"file": ("talk.wav", data)},
                data={"model": "demo"},
                headers={"X-Request-ID": "seen-1", "traceparent": f"00-{TRACE}-{CALLER}-01"},
                timeout=60,
            )
        job = service.wait(answer.json()["id"])
        assert job["status"] == "completed"
        yield Seen(service=service, job=job, figures=f"http://127.0.0.1:{port}", spans=spans)
    collector.shutdown()
    collector.server_close()


def figures(url: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in httpx.get(f"{url}/metrics").text.splitlines() if line[0] != "#")
    return {name: float(value) for name, value in lines}


def test_a_job_shows_in_the_figures_of_api_and_consumer(seen: Seen) -> None:
    chunks, done = seen.job["progress"]["chunks_done"], 'parascribe_jobs_left_total{code="",outcome="completed"}'
    until(lambda: done in figures(seen.figures))
    found = figures(seen.figures)
    assert found[done] == 1.0
    assert found['parascribe_chunks_total{outcome="done"}'] == chunks
    assert found["parascribe_audio_seconds_total"] == pytest.approx(30.0, abs=1.0)
    assert found['parascribe_chunk_seconds_count{model="demo"}'] >= chunks
    assert found["parascribe_engine_up"] == 1.0
    assert found['parascribe_engine_workers{model="demo",state="busy"}'] == 0.0
    assert found["parascribe_consumer_memory_bytes"] > 50_000_000
    table = figures(seen.service.url)
    assert table['parascribe_jobs{status="completed"}'] == 1.0
    until(lambda: figures(seen.service.url)["parascribe_consumers"] == 1.0)


def test_a_log_line_says_request_job_and_chunk(seen: Seen) -> None:
    assert f"Figures of this consumer on {seen.figures}/metrics" in seen.service.log
    lines = [json.loads(line)["record"] for line in seen.service.log.splitlines() if line.startswith("{")]
    of_job = [line for line in lines if line["extra"].get("job_id") == seen.job["id"]]
    accepted = next(line for line in lines if line["message"].startswith("Accepted job"))
    assert accepted["extra"]["request_id"] == "seen-1"
    assert {line["extra"].get("request_id") for line in of_job} == {"seen-1"}
    chunks = [line["extra"]["chunk"] for line in of_job if " Completed in " in line["message"]]
    assert sorted(chunks) == list(range(1, seen.job["progress"]["chunks_done"] + 1))


def test_a_trace_goes_from_the_request_to_each_chunk(seen: Seen) -> None:
    def ours() -> list[tuple[str, Any]]:
        return [(service, span) for service, span in seen.spans if span.trace_id.hex() == TRACE]

    until(lambda: {"job", "queue", "POST /api/v1/jobs"} <= {span.name for _, span in ours()})
    by_name = {span.name: span for _, span in ours()}
    request, job = by_name["POST /api/v1/jobs"], by_name["job"]
    assert request.parent_span_id.hex() == CALLER
    assert by_name["queue"].parent_span_id == job.parent_span_id == request.span_id
    chunks = [span for _, span in ours() if span.name == "transcribe"]
    assert len(chunks) == seen.job["progress"]["chunks_done"]
    assert {span.parent_span_id for span in chunks} == {job.span_id}
    assert {service for service, _ in ours()} == {"parascribe-api", "parascribe-consumer"}


def test_a_port_in_use_is_refused_in_words(seen: Seen, tmp_path: Path) -> None:
    port = seen.figures.rpartition(":")[2]
    two = Service(tmp_path / "two", METRICS_PORT=port).start(wait=False)
    assert two.process is not None
    assert two.process.wait(60) == 1
    assert f"Port {port} of 127.0.0.1 cannot be had for figures (METRICS_PORT)" in two.log
    two.assert_gone()


def test_deaths_of_the_engine_are_counted(seen: Seen) -> None:
    host = seen.service.processes("parascribe whisper host")
    assert host
    host[0].kill()
    until(lambda: figures(seen.figures).get('parascribe_engine_restarts_total{model="demo"}') == 1.0)
