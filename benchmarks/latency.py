"""What a short job takes beyond the engine's own time (P3), and how long a start takes until the service is ready (P16)."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks import made
from benchmarks.harness import Bench
from benchmarks.job import warm_up
from benchmarks.meter import Span, span
from benchmarks.report import Figure
from core.processes import Limits, spawn
from tests.e2e.service import Service

POLL = 0.005


def run(bench: Bench) -> None:
    clip = bench.wav(bench.speech(5 / 60)[0], "clip")
    library = bench.libraries()[0]
    for model, label, goal in ((bench.model("base"), "base", "P3"), (made.DEMO, "demo", "")):
        with bench.service(library, model) as service:
            warm_up(bench, service)
            runs = [one(service, clip) for _ in range(bench.pick(smoke=3, bench=20, full=50))]
        beyond = sorted(run["beyond"] for run in runs)
        alone = statistics.median(run["beyond_alone"] for run in runs)
        bench.result.figures += [
            Figure(name=f"beyond engine time, {label}, median", value=1000 * alone, unit="ms", goal=goal, at_most=60.0 if goal else None, judged=not bench.smoke),
            Figure(name=f"the same as on the clock, {label}", value=1000 * statistics.median(beyond), unit="ms"),
            Figure(name=f"the same, 90th percentile, {label}", value=1000 * beyond[int(len(beyond) * 0.9)], unit="ms"),
        ]
        bench.result.details[label] = runs
    starts = [_start(bench) for _ in range(bench.pick(smoke=1, bench=5, full=9))]
    bench.result.figures.append(Figure(
        name="serve to ready, warm", value=statistics.median(taken.alone for taken in starts), unit="s", goal="P16", at_most=2.0,
        judged=not bench.smoke,
    ))  # fmt: skip
    taken = [(_child(True), _child(False)) for _ in range(bench.pick(smoke=3, bench=30, full=100))]
    quick, launcher = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    bench.result.figures += [
        Figure(name="start of a child with limits", value=1000 * quick, unit="ms"),
        Figure(name="the same ÷ by the Python launcher", value=quick / launcher),
    ]
    bench.result.details["starts"] = [taken.to_dict() for taken in starts]


def one(service: Service, clip: Path) -> dict[str, Any]:
    """Submit a clip and poll until it has ended; seconds.

    total: as the client sees it; engine: CPU of the workers; beyond: between the two; beyond_alone: less what other
    programs took of the cores
    """
    with httpx.Client(base_url=service.url, timeout=60) as client, span(1) as taken:
        start = time.monotonic()
        answer = client.post("/api/v1/jobs", files={"file": (clip.name, clip.read_bytes())}, data={"language": "en"})
        accepted = time.monotonic() - start
        assert answer.status_code == 202, answer.text
        address = f"/api/v1/jobs/{answer.json()['id']}"
        while (job := client.get(address).json())["status"] in ("queued", "processing"):
            time.sleep(POLL)
        total = time.monotonic() - start
    assert job["status"] == "completed", job
    engine = job["performance"]["engine_seconds"]
    beyond = total - engine
    return {
        "total": round(total, 4), "accepted": round(accepted, 4), "engine": engine, "beyond": round(beyond, 4),
        "beyond_alone": round(max(0.0, taken.alone - engine), 4), "job_wall": job["performance"]["wall"],
    }  # fmt: skip


def _start(bench: Bench) -> Span:
    """From starting `parascribe serve` until the log says that /readyz is good; the self-test's verdict is known already."""
    service = bench.new_service(bench.libraries()[0], bench.model("base"))
    with bench.span() as taken:
        service.start()
    service.stop()
    return taken


def _child(quick: bool) -> float:
    """Seconds until a program that does nothing was started with limits, and has ended."""
    start = time.monotonic()
    spawn(["/bin/true"], limits=Limits(memory=2**31, cpu_seconds=60, open_files=64, nice=10), quick=quick).wait()
    return time.monotonic() - start
