"""How cost grows: wall, CPU and memory against the length of a file and against the number of short jobs."""

from __future__ import annotations

import numpy as np

from benchmarks import watch
from benchmarks.harness import Bench
from benchmarks.job import timed, warm_up
from benchmarks.meter import PssSampler, Span, tree
from benchmarks.plot import Plot
from benchmarks.report import Figure
from testbed.service import Service
from whisper import DEMO_MODEL

Found = dict[float, tuple[Span, float]]
"""Minutes or jobs -> what they took, and the peak PSS of the service in MiB."""


def run(bench: Bench) -> None:
    library = bench.libraries()[0]
    lengths = bench.pick(smoke=(0.1, 0.2), bench=(1.0, 5.0, 10.0, 20.0), full=(1.0, 10.0, 30.0, 60.0, 120.0, 600.0))
    counts = bench.pick(smoke=(1, 2), bench=(1, 10, 40, 100), full=(1, 10, 100, 300, 1000))
    with bench.service(library, DEMO_MODEL) as service:
        warm_up(bench, service)
        by_length = {minutes: _file(bench, service, minutes) for minutes in lengths}
        by_count = {float(count): _batch(bench, service, count) for count in counts}
    for name, unit, found in (("length", "minutes of audio", by_length), ("jobs", "jobs of 5 s", by_count)):
        lines = {
            "wall, s": [(x, taken.alone) for x, (taken, _) in found.items()],
            "CPU, s": [(x, taken.own) for x, (taken, _) in found.items()],
        }
        memory = {"PSS of all processes": [(x, peak) for x, (_, peak) in found.items()]}
        bench.result.plots += [
            Plot(name=name, title=f"Cost by {name} (demo model)", x=unit, y="s", series=lines),
            Plot(name=f"{name}-memory", title=f"Memory by {name} (demo model)", x=unit, y="MiB", series=memory),
        ]
        bench.result.figures += [
            Figure(name=f"CPU by {name}: farthest from a straight line", value=bend(lines["CPU, s"])),
            Figure(name=f"wall by {name}: farthest from a straight line", value=bend(lines["wall, s"])),
            Figure(
                name=f"memory by {name}: most ÷ least",
                value=max(p for _, p in found.values()) / min(p for _, p in found.values()),
            ),
        ]
        bench.result.details[name] = {
            f"{x:g}": taken.to_dict() | {"peak_mib": round(peak, 1)} for x, (taken, peak) in found.items()
        }


def bend(points: list[tuple[float, float]]) -> float:
    """Largest distance from the least-squares line, as a share of the largest value."""
    xs, ys = np.array(points).T
    line = np.polyval(np.polyfit(xs, ys, 1), xs)
    return float(np.max(np.abs(ys - line)) / np.max(ys))


def _file(bench: Bench, service: Service, minutes: float) -> tuple[Span, float]:
    bench.say(f"{minutes:g} minutes")
    piece = min(10.0, minutes)  # ten minutes over and over, so that ten hours need not be in memory
    source = bench.wav(bench.speech(piece)[0], "growth", times=round(minutes / piece))
    with PssSampler(lambda: tree(_pid(service)), every=0.5) as sampler:
        taken, _ = timed(bench, service, source)
    return taken, sampler.peak


def _batch(bench: Bench, service: Service, count: int) -> tuple[Span, float]:
    bench.say(f"{count} jobs")
    clip = bench.wav(bench.speech(5 / 60)[0], "clip")
    with PssSampler(lambda: tree(_pid(service)), every=0.5) as sampler, bench.span() as taken:
        late = watch.transcribe_all(service, [clip] * count, language="en")
    taken.wall -= late
    return taken, sampler.peak


def _pid(service: Service) -> int:
    assert service.process is not None
    return service.process.pid
