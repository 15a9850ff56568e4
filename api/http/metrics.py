"""Figures for Prometheus, in a registry of the app's own (no process-wide state)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.errors import ServiceError
from core.jobs.job import JobStatus

log = logging.getLogger(__name__)

BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
"""Seconds: from a status look-up to the upload of a large file."""


class Metrics:
    """What the API counts. counts: jobs by status, asked for at each scrape."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "parascribe_http_requests",
            "Requests by route and status",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "parascribe_http_request_seconds",
            "Seconds from request to response",
            ("route",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._bytes = Counter("parascribe_upload_bytes", "Bytes of uploads received", registry=self._registry)
        self._registry.register(_Jobs(counts))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request. route: its template, never the path itself."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def received(self, count: int) -> None:
        """Count bytes of an upload."""
        self._bytes.inc(count)

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def describe(self) -> list[Metric]:
        # registering must not ask the database
        return [_family()]

    def collect(self) -> Iterator[Metric]:
        try:
            counts = self._counts()
        except ServiceError as error:  # the other figures are still worth a scrape
            log.warning("No job counts for /metrics: %s", error.message)
            return
        family = _family()
        for status in JobStatus:
            family.add_metric([status.value], counts.get(status.value, 0))
        yield family


def _family() -> GaugeMetricFamily:
    return GaugeMetricFamily("parascribe_jobs", "Jobs by status; queued ones wait", labels=["status"])
