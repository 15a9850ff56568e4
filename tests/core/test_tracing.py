"""Traces: from a request over the job's row to its chunks; and nothing where nobody asked for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core.store.sql import SqlStore
from core.system import logs, tracing
from tests.api.serving import service
from tests.core.store_kit import clock, new_job, store
from tests.worker.kit import Kit, talk
from whisper.engine.scripted import Rule

__all__ = ["clock", "store"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.setup("test", "1.2.3", exporter)
    yield exporter
    tracing.stop()


def named(spans: InMemorySpanExporter, name: str) -> list[Any]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def test_from_request_to_chunk(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 2/*"))
    with service(tmp_path, store=kit.store, objects=kit.objects) as running:
        answer = running.submit(talk(tmp_path), model="demo")
        assert answer.status_code == 202
        job_id, request_id = answer.json()["id"], answer.headers["x-request-id"]
    assert kit.run() == "completed"
    (request,) = named(spans, "POST /api/v1/jobs")
    (queue,), (job,) = named(spans, "queue"), named(spans, "job")
    assert request.attributes["http.response.status_code"] == 202
    assert request.attributes["parascribe.request_id"] == request_id
    assert request.parent is None
    assert queue.parent.span_id == job.parent.span_id == request.context.span_id
    assert queue.start_time <= queue.end_time
    assert (job.attributes["parascribe.job_id"], job.attributes["parascribe.outcome"]) == (job_id, "completed")
    chunks = named(spans, "transcribe")
    assert {span.parent.span_id for span in chunks} == {job.context.span_id}
    outcomes = {span.attributes["parascribe.chunk"]: span.attributes["parascribe.outcome"] for span in chunks}
    assert outcomes == {n + 1: "failed" if n == 1 else "done" for n in range(len(chunks))}
    calls = named(spans, "engine")
    assert {span.parent.span_id for span in calls} <= {span.context.span_id for span in (job, *chunks)}
    assert {span.context.trace_id for span in spans.get_finished_spans()} == {request.context.trace_id}


def test_what_came_of_a_request_is_said(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with service(tmp_path) as running:
        running.client.get("/api/v1/jobs/0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f", headers={"traceparent": "nonsense"})
    (request,) = named(spans, "GET /api/v1/jobs/{job_id}")
    assert request.attributes["http.response.status_code"] == 404
    assert request.parent is None


def test_the_row_carries_where_a_job_came_from(store: SqlStore) -> None:
    assert store.create(new_job()).caller == {}
    with logs.bound(request_id="abc"):
        made = store.create(new_job(caller=tracing.caller()))
    assert store.get(made.id).caller == {"request_id": "abc"}
    assert tracing.caller() == {}


def test_an_error_marks_its_span_and_passes(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="broken"), tracing.span("stage", {"chunk": 1}):
        raise ValueError("broken")
    (span,) = named(spans, "stage")
    assert not span.status.is_ok
    assert not span.events  # no traceback


def test_off_it_is_nothing_and_is_not_imported() -> None:
    code = (
        "import sys; from core.system import tracing\n"
        "with tracing.span('job', kind='consumer') as span: span.set(a=1); span.http('GET', '/', 200)\n"
        "tracing.flush(); tracing.stop(); assert tracing.caller() == {}\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
