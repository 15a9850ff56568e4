"""Traces by OpenTelemetry where they are asked for (`setup`); everywhere else nothing of it is imported.

A trace goes on in another process by W3C's `traceparent` (https://www.w3.org/TR/trace-context/), which a job's row carries.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from core.errors import ServiceError
from core.system import logs

FLUSH_SECONDS = 0.5
"""Longest wait for what is still to be sent: a collector that is away holds up no job."""

SEND_SECONDS = 1.0
"""How often what was traced is sent."""

Kind = Literal["internal", "server", "consumer"]


class Span:
    """One stretch of work; this one is nothing, for where there are no traces."""

    def set(self, **attributes: str | float | bool) -> None:
        """More of what is known of it; names as they are in the trace, after `parascribe.`."""

    def http(self, method: str, route: str, status: int) -> None:
        """Of a request: what it is called by, and how it was answered."""


class _Otel(Span):
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **attributes: str | float | bool) -> None:
        self._span.set_attributes(_named(attributes))

    def http(self, method: str, route: str, status: int) -> None:
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes({"http.request.method": method, "http.route": route})
        if status:  # else nobody was there any more
            self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)


class _Tracer:
    """OpenTelemetry's, of this process."""

    def __init__(self, role: str, version: str, exporter: Any) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        own = Resource({"service.name": f"parascribe-{role}", "service.version": version})
        # no atexit handler: a forked process leaves without it, and `flush` has a limit
        self.provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            batches = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=SEND_SECONDS * 1000)
            self.provider.add_span_processor(batches)
        else:
            self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("parascribe", version)
        self.w3c = TraceContextTextMapPropagator()

    def context(self, parent: str | None) -> Any:
        return self.w3c.extract({"traceparent": parent}) if parent else None


_tracer: _Tracer | None = None


def check() -> None:
    """Raises ServiceError where OpenTelemetry is not installed."""
    wanted = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        found = all(importlib.util.find_spec(name) for name in wanted)
    except ModuleNotFoundError:  # not even what it lies in
        found = False
    if not found:
        raise ServiceError("TRACING=true needs OpenTelemetry: pip install 'parascribe[otel]'.")


def setup(role: str, version: str, exporter: Any = None) -> None:
    """Begin to trace in this process. To be called after the fork: the thread that sends does not survive one.

    exporter: an OpenTelemetry SpanExporter that is given each span at once; None = OTLP over HTTP, as the OTEL_* variables say
    """
    global _tracer  # noqa: PLW0603 (as the log's sink, it is the process's)
    _tracer = _Tracer(role, version, exporter)


def stop() -> None:
    """No more traces from now on."""
    global _tracer  # noqa: PLW0603
    flush()
    _tracer = None


@contextlib.contextmanager
def span(
    name: str,
    attributes: Mapping[str, str | float | bool] = MappingProxyType({}),
    *,
    kind: Kind = "internal",
    parent: str | None = None,
) -> Iterator[Span]:
    """What is done inside is one span of the trace.

    attributes: as `Span.set` has them; parent: the `traceparent` of another process, None = as the context has it
    """
    if _tracer is None:
        yield Span()
        return
    from opentelemetry.trace import SpanKind

    with _tracer.tracer.start_as_current_span(
        name,
        context=_tracer.context(parent),
        kind=SpanKind[kind.upper()],
        attributes=_named(attributes),
        record_exception=False,  # its text may be for the log only
    ) as started:
        yield _Otel(started)


def past(name: str, since: datetime, *, parent: str | None = None) -> None:
    """A span from then until now."""
    if _tracer is not None:
        began = int(since.timestamp() * 1e9)
        _tracer.tracer.start_span(name, context=_tracer.context(parent), start_time=began).end()


def caller() -> Mapping[str, str]:
    """Where what is being done comes from: `request_id`, and `traceparent` where there are traces. For a job's row."""
    found: dict[str, str] = {}
    if _tracer is not None:
        _tracer.w3c.inject(found)
    request_id = logs.value_of("request_id")
    kept = {"traceparent": found.get("traceparent"), "request_id": request_id}
    return {name: value for name, value in kept.items() if value}


def flush() -> None:
    """Send what was traced so far, for FLUSH_SECONDS at most."""
    if _tracer is not None:
        sender = threading.Thread(target=_tracer.provider.force_flush, daemon=True)
        sender.start()
        sender.join(FLUSH_SECONDS)


def _named(attributes: Mapping[str, str | float | bool]) -> dict[str, str | float | bool]:
    return {f"parascribe.{name}": value for name, value in attributes.items()}
