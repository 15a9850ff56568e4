"""How many streams at once the service keeps up with, with partials and without (L3): more and more, until it does not."""

from __future__ import annotations

import asyncio
import itertools

from benchmarks.harness import Bench
from benchmarks.live import speech
from benchmarks.live.load import Load, play_all
from benchmarks.live.service import MOST, cpu, live_service, pace, percentile
from benchmarks.report import Figure
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
    step = max(1, goal // 4)
    most = 0
    for count in itertools.islice(itertools.count(max(1, goal // 2), step), 1 if bench.smoke else None):
        load = _load(bench, service, name, count, probe)
        details[f"{count} streams, {probe:.0f} s"] = load
        if load["broken"] or count + step > MOST:
            bench.say(f"{name}: with {count} streams it breaks: {load['broken']}")
            break
        most = count
    while most > 0 and seconds > probe:
        load = details[f"{most} streams, {seconds:.0f} s"] = _load(bench, service, name, most, seconds)
        if not load["broken"]:
            bench.result.figures += [
                Figure(name=f"{name}, {most} streams: end of speech to final, p95", value=load["late p95"], unit="s"),
                Figure(name=f"{name}, {most} streams: cores that it takes", value=load["cores"]),
            ]
            break
        bench.say(f"{name}: with {most} streams it breaks: {load['broken']}")
        most -= 1
    return most


def _load(bench: Bench, service: Service, name: str, count: int, seconds: float) -> dict[str, object]:
    bench.say(f"{name}: {count} streams for {seconds:.0f} s")
    talks = [speech.talk(bench, seconds, seed=1 + n) for n in range(count)]
    before = cpu(service)
    with bench.span() as taken:
        load: Load = asyncio.run(play_all(service.url, talks, speed=pace(bench), partials=name == "with partials"))
    return load.to_dict() | {
        "late p95": percentile(load.late, 95),
        "cores": round((cpu(service) - before) / taken.wall, 3),
        "others": round(taken.disturbance, 3),
    }
