"""A clip that somebody waits for, while bulk work fills all slots and more of it waits: how much longer it takes than alone."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks import watch
from benchmarks.harness import Bench
from benchmarks.job import warm_up
from benchmarks.report import Figure
from testbed import audio_bank
from testbed.service import Service


def run(bench: Bench) -> None:
    """The clip has 5 s; its own time is that of the same clip on the idle service."""
    clip = bench.wav(bench.speech(5 / 60)[0], "clip")
    count = bench.pick(smoke=2, bench=6, full=200)
    minutes = bench.pick(smoke=0.5, bench=30.0, full=60.0)
    bulk = _recording(bench, minutes)
    times = bench.pick(smoke=1, bench=15, full=40)
    with bench.service(bench.libraries()[0], bench.model("base")) as service:
        warm_up(bench, service)
        alone = [_wall(service, clip) for _ in range(times)]
        jobs = [service.submit(bulk, language="en", priority="bulk")["id"] for _ in range(count)]
        for job in jobs[:2]:  # MAX_CONCURRENT_JOBS
            watch.wait(service, job, lambda body: body["progress"]["chunks_done"])
        beside = [_wall(service, clip) for _ in range(times)]
        waiting = sum(service.job(job)["status"] == "queued" for job in jobs)
        for job in reversed(jobs):
            watch.cancel(service, job)
    one = statistics.median(alone)
    ratios = sorted(wall / one for wall in beside)
    bench.result.figures += [
        Figure(
            name="interactive wall while bulk waits ÷ alone",
            value=statistics.median(ratios),
            goal="fairness",
            at_most=2.0,
            judged=not bench.smoke,
        ),
        Figure(name="the same, 90th percentile", value=ratios[int(len(ratios) * 0.9)]),
        Figure(name="interactive wall, alone", value=one, unit="s"),
        Figure(name="bulk audio waiting at the end", value=waiting * minutes / 60, unit="h"),
    ]
    bench.result.details = {"alone": alone, "beside": beside}


def _wall(service: Service, clip: Path) -> float:
    """Seconds from before the upload until the job's own end."""
    began = time.time()
    job = watch.completed(service, service.submit(clip, language="en", priority="interactive")["id"], every=0.02)
    return time.time() - began - watch.late(job)


def _recording(bench: Bench, minutes: float) -> Path:
    """An mp3 of that length: mp3 frames may be strung together, so ten minutes are encoded once."""
    piece = min(10.0, minutes)
    part = audio_bank.write(bench.folder / "part.mp3", bench.speech(piece)[0], "-b:a", "32k", "-write_xing", "0")
    path = bench.folder / "bulk.mp3"
    path.write_bytes(part.read_bytes() * round(minutes / piece))
    return path
