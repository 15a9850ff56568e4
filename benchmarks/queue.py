"""Ten thousand waiting jobs: what claiming, listing and sweeping cost against an almost empty table (P11)."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from uuid_utils import uuid7

from benchmarks.harness import Bench
from benchmarks.plot import Plot
from benchmarks.report import Figure
from core.jobs.job import Claim, JobStatus, NewJob, Source
from core.jobs.params import JobParams
from core.objects.local import LocalObjects
from core.queue.hints import PollOnly
from core.queue.sweeper import Sweeper
from core.store.database import open_database
from core.store.sql import SqlStore

TIMES = 15


def run(bench: Bench) -> None:
    """SQLite, and whatever database BENCH_DATABASE_URL names (it must be empty)."""
    urls = {"sqlite": f"sqlite:///{bench.folder}/jobs.db"}
    if given := os.environ.get("BENCH_DATABASE_URL"):
        urls["postgres"] = given
    for kind, url in urls.items():
        _database(bench, kind, url)


def _database(bench: Bench, kind: str, url: str) -> None:
    database = open_database(url)
    database.migrate()
    store = SqlStore(database)
    sweeper = Sweeper(store, LocalObjects(bench.folder / "objects"), PollOnly(), interval=5.0, max_attempts=3)
    actions: dict[str, Callable[[], object]] = {
        "claim": lambda: store.release(_claimed(store)),
        "list": lambda: store.list(limit=50),
        "list, second page": lambda: store.list(status=JobStatus.QUEUED, limit=50, after=store.list(limit=50)[1]),
        "sweep": sweeper.sweep_once,
        "hints": sweeper.send_hints,
        "counts": store.counts,
    }
    sizes = bench.pick(smoke=(20, 100), bench=(100, 1000, 3000, 10_000), full=(100, 1000, 3000, 10_000, 30_000))
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    slowest: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    created: list[float] = []
    for size in sizes:
        start, count = time.monotonic(), size - len(created)
        created += [_timed(lambda: store.create(_job())) for _ in range(count)]
        bench.say(f"{kind}: {size} jobs, {1000 * (time.monotonic() - start) / count:.1f} ms each to make")
        for name, action in actions.items():
            seconds = [_timed(action) for _ in range(TIMES)]
            lines[name].append((size, 1000 * statistics.median(seconds)))
            slowest[name].append((size, 1000 * max(seconds)))
    store.close()
    for name, points in lines.items():
        goal = name in ("claim", "list", "sweep")
        bench.result.figures.append(
            Figure(
                name=f"{name} with {sizes[-1]:,} jobs, {kind}, median",
                value=points[-1][1],
                unit="ms",
                goal="P11" if goal else "",
                at_most=20.0 if goal else None,
            )
        )
        bench.result.figures.append(
            Figure(name=f"{name}, {sizes[-1]:,} ÷ {sizes[0]:,} jobs, {kind}", value=points[-1][1] / points[0][1])
        )
    bench.result.details[kind] = {"median_ms": lines, "slowest_ms": slowest}
    bench.result.plots.append(
        Plot(name=kind, title=f"By number of waiting jobs ({kind})", x="jobs", y="ms", series=lines)
    )


def _timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def _claimed(store: SqlStore) -> Claim:
    claim = store.claim(owner="bench", consumer="bench", lease_seconds=60.0)
    assert claim is not None
    return claim


def _job() -> NewJob:
    number = str(uuid7())
    source = Source(
        filename="talk.mp3", bytes=1_000_000, media_type="audio/mpeg", sha256="a" * 64, key=f"jobs/{number}/source"
    )
    return NewJob(id=number, source=source, params=JobParams(model="base"))
