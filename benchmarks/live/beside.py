"""Jobs beside two streams (L7): what the streams' partials lose by them, and whether the jobs get the rest of the machine."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import watch
from benchmarks.harness import Bench
from benchmarks.live import speech
from benchmarks.live.latency import MOST as MOST_LATE
from benchmarks.live.latency import STEP, partials_figure
from benchmarks.live.load import Load, play_all
from benchmarks.live.service import MOST, cpu, live_service, pace, percentile
from benchmarks.report import Figure
from testbed.service import Service

STREAMS = 2
WAITING = 3
"""Jobs that are not done, at any time: more than run at once (MAX_CONCURRENT_JOBS=2)."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """cores: that the service took; audio: seconds of jobs for each second"""

    cores: float
    audio: float = 0.0
    load: Load | None = None

    @property
    def shown(self) -> float:
        """p95 of sample to partial."""
        return percentile(self.load.shown, 95) if self.load else 0.0


def run(bench: Bench) -> None:
    """Streams alone, jobs alone, both. What is left to jobs is what the streams alone do not take of the cores."""
    seconds = bench.seconds(smoke=2, bench=90, full=300)
    source = bench.wav(speech.talk(bench, bench.pick(smoke=90, bench=300, full=300), seed=100).pcm, "talk")
    talks = [speech.talk(bench, seconds, seed=1 + n) for n in range(STREAMS)]
    with live_service(bench, MAX_LIVE_STREAMS=str(MOST), MAX_CONCURRENT_JOBS="2") as live:
        runs = bench.repeat(
            {
                "streams alone": lambda: _part(bench, live.service, talks, None),
                "jobs alone": lambda: _part(bench, live.service, [], source, seconds=seconds),
                "both": lambda: _part(bench, live.service, talks, source),
            }
        )
    streams, jobs, both = (_middle(runs[name], bench.result.details, name) for name in runs)
    rest = 1.0 - streams.cores / bench.cores
    judged = not bench.smoke
    shown = both.load.shown if both.load else []
    late = partials_figure(
        "sample to partial, p95, beyond the step, beside jobs", shown, goal="L7", judged=judged, most=1.5 * MOST_LATE
    )
    bench.result.figures += [
        late,
        Figure(name="the same ÷ alone", value=late.value / max(0.01, streams.shown - STEP)),
        Figure(name="the same, alone", value=streams.shown - STEP, unit="s"),
        Figure(
            name="jobs: audio per second beside streams ÷ its share of alone",
            value=both.audio / (jobs.audio * rest or 1.0),
            goal="L7",
            at_least=0.9,
            judged=judged,
        ),
        Figure(name="jobs: audio per second, alone", value=jobs.audio),
        Figure(name="jobs: audio per second, beside streams", value=both.audio),
        Figure(name="share of the cores that the streams alone take", value=1.0 - rest),
    ]


def _middle(parts: list[Part], details: dict[str, Any], name: str) -> Part:
    """Of the rounds, the one in the middle by what it is looked at for."""
    details[name] = [
        {"cores": round(part.cores, 3), "audio": round(part.audio, 3), "shown p95": round(part.shown, 3)}
        | ({"streams": part.load.to_dict()} if part.load else {})
        for part in parts
    ]
    return sorted(parts, key=lambda part: part.audio if name != "streams alone" else part.shown)[len(parts) // 2]


def _part(
    bench: Bench, service: Service, talks: list[speech.Talk], source: Path | None, *, seconds: float = 0.0
) -> Part:
    jobs = Jobs(service, source, waiting=1 if bench.smoke else WAITING) if source is not None else None
    if jobs is not None:
        jobs.start()
    try:
        before, done = cpu(service), jobs.done() if jobs is not None else 0.0
        with bench.span() as taken:
            load = asyncio.run(play_all(service.url, talks, speed=pace(bench))) if talks else None
            if load is None:
                time.sleep(seconds / pace(bench))
        audio = (jobs.done() - done) / taken.wall if jobs is not None else 0.0
        if load is not None and load.failed:
            raise RuntimeError(f"a stream failed: {load.failed[0]}")
        return Part(cores=(cpu(service) - before) / taken.wall, audio=audio, load=load)
    finally:
        if jobs is not None:
            jobs.stop()


class Jobs:
    """Always some that run and one that waits."""

    def __init__(self, service: Service, source: Path, *, waiting: int) -> None:
        self._service, self._source, self._waiting = service, source, waiting
        self._jobs: list[str] = []
        self._finished = 0.0
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Returns when they are at work."""
        self._jobs = [self._submit() for _ in range(self._waiting)]
        watch.wait(self._service, self._jobs[0], lambda body: body["progress"]["chunks_done"])
        self._thread.start()

    def done(self) -> float:
        """Seconds of audio, those of chunks of jobs that are not done among them."""
        with self._lock:
            return self._finished + sum(_audio(self._service.job(job)) for job in self._jobs)

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for job in reversed(self._jobs):
            watch.cancel(self._service, job)

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            with self._lock:
                for job in [*self._jobs]:
                    body = self._service.job(job)
                    if body["status"] == "completed":
                        self._jobs.append(self._submit())
                        self._finished += _audio(body)
                        self._jobs.remove(job)

    def _submit(self) -> str:
        return str(self._service.submit(self._source, language="en")["id"])


def _audio(body: dict[str, Any]) -> float:
    return float(body["progress"]["audio_seconds_done"] or 0.0)
