"""What a short job takes beyond the engine's own time (P3), and how long a start takes until the service is ready (P16)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

from benchmarks import made
from benchmarks.harness import Bench
from benchmarks.job import warm_up
from benchmarks.meter import span
from benchmarks.report import Figure
from tests.e2e.service import Service

ROOT = Path(__file__).parents[1]
POLL = 0.003


def run(bench: Bench) -> None:
    clip = bench.wav(bench.speech(5 / 60)[0], "clip")
    library = bench.libraries()[0]
    starts = []
    for model, label, goal in ((bench.model("base"), "base", "P3"), (made.DEMO, "demo", "")):
        with bench.span() as starting:
            service = bench.service(library, model)
            running = service.__enter__()
        starts.append(starting)
        try:
            warm_up(bench, running)
            runs = [one(running, clip) for _ in range(bench.pick(smoke=3, bench=20, full=50))]
        finally:
            service.__exit__(None, None, None)
        beyond = sorted(run["beyond"] for run in runs)
        bench.result.figures += [
            Figure(name=f"beyond engine time, {label}, median", value=1000 * statistics.median(beyond), unit="ms", goal=goal, at_most=60 if goal else None, judged=not bench.smoke),
            Figure(name=f"beyond engine time, {label}, 90 %", value=1000 * beyond[int(len(beyond) * 0.9)], unit="ms"),
        ]
        bench.result.details[label] = runs
    ready = [_start(bench) for _ in range(bench.pick(smoke=1, bench=5, full=9))]
    setup = _setup()
    bench.result.figures += [
        Figure(name="serve to ready, warm", value=statistics.median(ready), unit="s"),
        Figure(name="make run to ready, warm", value=statistics.median(ready) + setup, unit="s", goal="P16", at_most=2.0, judged=not bench.smoke),
    ]
    bench.result.details["starts"] = ready


def one(service: Service, clip: Path) -> dict[str, float]:
    """Submit a clip and poll until it has ended. Seconds: total as the client sees it, of the engine, and what is between."""
    with httpx.Client(base_url=service.url, timeout=60) as client, span() as taken:
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
    return {
        "total": round(total, 4), "accepted": round(accepted, 4), "engine": engine, "beyond": round(total - engine, 4),
        "job_wall": job["performance"]["wall"], "foreign_cpu": round(taken.foreign, 3),
    }  # fmt: skip


def _start(bench: Bench) -> float:
    """Seconds from starting `parascribe serve` until /readyz says yes; the self-test's verdict is known already."""
    library = bench.libraries()[0]
    with span() as taken, bench.service(library, bench.model("base")) as service:
        # Service.start waits for the log line that follows the first good /readyz
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        seconds = taken_so_far(service)
    return seconds if taken.wall else 0.0


def taken_so_far(service: Service) -> float:
    """Seconds since the service's first process was started."""
    import psutil

    assert service.process is not None
    return time.time() - psutil.Process(service.process.pid).create_time()


def _setup() -> float:
    """What `make run` does before it starts the service, when all is in place."""
    start = time.monotonic()
    subprocess.run([sys.executable, str(ROOT / "scripts/bootstrap.py"), "--help"], check=False, capture_output=True)
    return time.monotonic() - start
