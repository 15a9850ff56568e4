"""What a short job takes beyond the engine's own time (P3), and how long a start takes until the service is ready (P16)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks import watch
from benchmarks.harness import Bench
from benchmarks.job import warm_up
from benchmarks.meter import Span
from benchmarks.report import Figure
from core.system.processes import Limits, spawn
from testbed import audio_bank
from testbed.service import Service
from whisper import DEMO_MODEL

SELDOM, OFTEN = 0.05, 0.005
"""Seconds between a client's questions. Asking often costs client and API CPU time, which the job then lacks."""


def run(bench: Bench) -> None:
    """The clip of P3 is a WAV file as programs for speech write it (16 kHz, mono); the same as an mp3 beside it."""
    said = bench.speech(5 / 60)[0]
    wav, mp3 = bench.wav(said, "clip"), audio_bank.write(bench.folder / "clip.mp3", said)
    library, times = bench.libraries()[0], bench.pick(smoke=1, bench=20, full=50)
    models = ((bench.model("base"), "base", "P3"), (DEMO_MODEL, "demo", ""))
    for model, label, goal in models[: 1 if bench.smoke else None]:
        with bench.service(library, model) as service:
            warm_up(bench, service)
            runs = [
                (one(service, wav, SELDOM), one(service, mp3, SELDOM), one(service, wav, OFTEN)) for _ in range(times)
            ]
        quiet, decoded, watched = zip(*runs, strict=True)
        bench.result.figures += [
            Figure(
                name=f"beyond engine time, {label}, median",
                value=_median(quiet, "completed"),
                unit="ms",
                goal=goal,
                at_most=60.0 if goal else None,
                judged=not bench.smoke,
            ),
            Figure(
                name=f"the same, 90th percentile, {label}",
                value=1000 * sorted(run["completed"] for run in quiet)[int(times * 0.9)],
                unit="ms",
            ),
            Figure(
                name=f"the same, an mp3, which ffmpeg decodes, {label}", value=_median(decoded, "completed"), unit="ms"
            ),
            Figure(
                name=f"as a client sees it that asks every {1000 * OFTEN:.0f} ms, {label}",
                value=_median(watched, "seen"),
                unit="ms",
            ),
        ]
        bench.result.details[label] = {"wav": quiet, "mp3": decoded, "watched": watched}
    starts = [_start(bench) for _ in range(bench.pick(smoke=1, bench=5, full=9))]
    bench.result.figures.append(
        Figure(
            name="serve to ready, warm",
            value=statistics.median(taken.alone for taken in starts),
            unit="s",
            goal="P16",
            at_most=2.0,
            judged=not bench.smoke,
        )
    )
    taken = [(_child(True), _child(False)) for _ in range(bench.pick(smoke=3, bench=30, full=100))]
    quick, launcher = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    bench.result.figures += [
        Figure(name="start of a child with limits", value=1000 * quick, unit="ms"),
        Figure(name="the same ÷ by the Python launcher", value=quick / launcher),
    ]
    bench.result.details["starts"] = [taken.to_dict() for taken in starts]


def one(service: Service, clip: Path, every: float) -> dict[str, float]:
    """Submit a clip and ask every so often until it has ended; seconds.

    engine: CPU of the workers; completed: from before the upload until the job's own end (the service's word, on this
    machine's clock), less the engine's; seen: the same until the client hears of it
    """
    with httpx.Client(base_url=service.url, timeout=60) as client:
        began = time.time()
        answer = client.post("/api/v1/jobs", files={"file": (clip.name, clip.read_bytes())}, data={"language": "en"})
        accepted = time.time() - began
        assert answer.status_code == 202, answer.text
        address = f"/api/v1/jobs/{answer.json()['id']}"
        while (job := client.get(address).json())["status"] in ("queued", "processing"):
            time.sleep(every)
        seen = time.time() - began
        late = watch.late(job)
    assert job["status"] == "completed", job
    engine = job["performance"]["engine_seconds"]
    found = {"accepted": accepted, "engine": engine, "completed": seen - late - engine, "seen": seen - engine}
    return {name: round(seconds, 4) for name, seconds in found.items()}


def _median(runs: Sequence[dict[str, float]], name: str) -> float:
    """In milliseconds."""
    return 1000 * statistics.median(run[name] for run in runs)


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
