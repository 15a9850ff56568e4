"""Figures for Prometheus, in a registry of the app's own (no process-wide state)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.errors import ServiceError
from core.jobs.job import JobStatus
from core.store.owners import Backlog
from core.store.protocols import ConsumerRow
from core.webhooks import Undelivered

log = logging.getLogger(__name__)

BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
"""Seconds: from a status look-up to the upload of a large file."""

ATTEMPT_BUCKETS = (0.05, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
"""Seconds: from a receiver next door to one that says nothing until it is given up."""

HEARD_SECONDS = 20.0
"""A consumer that has been silent for longer, four of its beats, does not count."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the table is asked for at each scrape; all of it may raise ServiceError."""

    #: jobs by status
    counts: Callable[[], Mapping[str, int]]
    backlog: Callable[[], Backlog]
    consumers: Callable[[], Sequence[ConsumerRow]]
    undelivered: Callable[[], Undelivered]


class LiveMetrics:
    """Figures of live streams that go through this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("parascribe_live_streams", "Live streams that are open here", registry=registry)
        self._bytes = Counter("parascribe_live_bytes", "Bytes of audio of live streams received", registry=registry)
        self._taken_over = Counter(
            "parascribe_live_take_overs",
            "Times that a live stream went on at another process, or at the same one anew",
            registry=registry,
        )
        self._refused = Counter(
            "parascribe_live_refusals", "Live streams that could not begin, by error code", ("code",), registry=registry
        )

    def opened(self) -> None:
        self._open.inc()

    def closed(self) -> None:
        self._open.dec()

    def received(self, count: int) -> None:
        self._bytes.inc(count)

    def taken_over(self) -> None:
        self._taken_over.inc()

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()


class Metrics:
    """What the API counts, and what the table says."""

    def __init__(self, asked: Asked, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "parascribe_http_requests",
            "Requests by route and status",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "parascribe_http_request_seconds",
            "Seconds from request to response",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._bytes = Counter("parascribe_upload_bytes", "Bytes of uploads received", registry=self.registry)
        self._attempts = Counter(
            "parascribe_webhook_attempts",
            "Attempts to deliver a message to a webhook: delivered, put_off (another follows), failed (for good)",
            ("outcome",),
            registry=self.registry,
        )
        self._attempt_seconds = Histogram(
            "parascribe_webhook_attempt_seconds",
            "Seconds until the receiver had answered, or was given up",
            buckets=ATTEMPT_BUCKETS,
            registry=self.registry,
        )
        self.live = LiveMetrics(self.registry)
        about = Gauge(
            "parascribe_build_info", "1, with the version of the program", ("version",), registry=self.registry
        )
        about.labels(version).set(1)
        self.registry.register(_Table(asked))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request. route: its template, never the path itself."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def received(self, count: int) -> None:
        """Count bytes of an upload."""
        self._bytes.inc(count)

    def attempt(self, outcome: str, seconds: float) -> None:
        """Count one attempt to deliver a message."""
        self._attempts.labels(outcome).inc()
        self._attempt_seconds.observe(seconds)

    def text(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self.registry)


class _Table(Collector):
    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def describe(self) -> list[Metric]:
        # registering must not ask the database
        return list(_families().values())

    def collect(self) -> Iterator[Metric]:
        families = _families()
        try:
            self._fill(families)
        except ServiceError as error:  # the other figures are still worth a scrape
            log.warning("No figures of the job table for /metrics: %s", error.message)
            return
        yield from families.values()

    def _fill(self, families: Mapping[str, GaugeMetricFamily]) -> None:
        counts = self._asked.counts()
        for status in JobStatus:
            families["parascribe_jobs"].add_metric([status.value], counts.get(status.value, 0))
        backlog, undelivered = self._asked.backlog(), self._asked.undelivered()
        families["parascribe_webhook_deliveries"].add_metric(["waiting"], undelivered.waiting)
        families["parascribe_webhook_deliveries"].add_metric(["held"], undelivered.held)
        here = [row.info for row in self._asked.consumers() if row.silent_seconds < HEARD_SECONDS]
        for name, value in {
            "parascribe_queue_oldest_seconds": backlog.oldest_seconds,
            "parascribe_queue_audio_seconds": backlog.audio_seconds,
            "parascribe_running_audio_seconds": backlog.running_audio_seconds,
            "parascribe_consumers": len(here),
            "parascribe_job_slots": sum(info.slots for info in here),
            "parascribe_webhook_oldest_seconds": undelivered.oldest_seconds,
        }.items():
            families[name].add_metric([], value)


def _families() -> dict[str, GaugeMetricFamily]:
    jobs = GaugeMetricFamily("parascribe_jobs", "Jobs by status; queued ones wait", labels=["status"])
    about = {
        "parascribe_queue_oldest_seconds": "Age of the oldest job that waits; 0 when none does",
        "parascribe_queue_audio_seconds": "Audio of the jobs that wait, guessed from their bytes where it is not known",
        "parascribe_running_audio_seconds": "Audio that is still to be done of the jobs in work",
        "parascribe_consumers": "Consumers that were heard of in the last 20 s",
        "parascribe_job_slots": "Jobs that those take at once",
        "parascribe_webhook_oldest_seconds": "Age of the oldest message that waits to be delivered; 0 when none does",
    }
    deliveries = GaugeMetricFamily(
        "parascribe_webhook_deliveries",
        "Messages that have not arrived: waiting, or held while their webhook is paused or disabled",
        labels=["state"],
    )
    return {jobs.name: jobs, deliveries.name: deliveries} | {
        name: GaugeMetricFamily(name, text, labels=[]) for name, text in about.items()
    }
