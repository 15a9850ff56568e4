"""How many streams at once the service keeps up with, with partials and without (L3): more and more, until it does not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.harness import Bench
from benchmarks.live import speech
from benchmarks.live.load import Load, play_all
from benchmarks.live.service import MOST, cpu, live_service, pace, percentile
from benchmarks.report import Figure
from core.live.sessions import RESUME_SECONDS
from testbed.service import Service

GOALS = {"with partials": 4, "finals only": 12}


def run(bench: Bench) -> None:
    """Steps of a minute; then the most that it has kept up with, or fewer, for the whole time. Names where it broke."""
    seconds = bench.seconds(smoke=4, bench=120, full=600)
    probe = min(seconds, bench.pick(smoke=4, bench=45, full=60))
    with live_service(bench, MAX_LIVE_STREAMS=str(MOST)) as live:
        for name, goal in GOALS.items():
            most = _most(bench, live.service, name, goal, seconds, probe)
            bench.result.figures.append(
                Figure(name=f"streams at once, {name}", value=most, goal="L3", at_least=goal, judged=not bench.smoke)
            )


def _most(bench: Bench, service: Service, name: str, goal: int, seconds: float, probe: float) -> int:
    details = bench.result.details.setdefault(name, {})

    def holds(count: int, seconds: float) -> dict[str, Any] | None:
        load = details[f"{count} streams, {seconds:.0f} s"] = _load(bench, service, name, count, seconds)
        if not load["broken"]:
            return load
        bench.say(f"{name}: with {count} streams it breaks: {load['broken']}")
        return None

    first, step = 1 if bench.smoke else max(1, goal // 2), max(1, goal // 4)
    most = first
    if bench.smoke:
        return most if holds(most, probe) else 0
    if holds(first, probe):
        while most + step <= MOST and holds(most + step, probe):
            most += step
    else:
        most -= 1
        while most and not holds(most, probe):
            most -= 1
    while most and seconds > probe:
        if load := holds(most, seconds):
            bench.result.figures += [
                Figure(name=f"{name}, {most} streams: end of speech to final, p95", value=load["late p95"], unit="s"),
                Figure(name=f"{name}, {most} streams: cores that it takes", value=load["cores"]),
            ]
            break
        most -= 1
    return most


def _load(bench: Bench, service: Service, name: str, count: int, seconds: float) -> dict[str, Any]:
    bench.say(f"{name}: {count} streams for {seconds:.0f} s")
    talks = [speech.talk(bench, seconds, seed=1 + n) for n in range(count)]
    before = cpu(service)
    with bench.span() as taken:
        load: Load = asyncio.run(play_all(service.url, talks, speed=pace(bench), partials=name == "with partials"))
    if load.failed:
        time.sleep(RESUME_SECONDS + 5.0)  # what is left of those that failed is waited for
    return load.to_dict() | {
        "late p95": percentile(load.late, 95),
        "cores": round((cpu(service) - before) / taken.wall, 3),
        "others": round(taken.disturbance, 3),
    }
