"""Threads that wait for one another on cores that are all busy: those of an own build yield, those of others may spin.

Two requests at once, in engines of their own with a thread for each core, against the same two one after the other.
"""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks.engine import decode, started, windows
from benchmarks.harness import Bench, Pcm
from benchmarks.meter import Span
from benchmarks.report import Figure
from whisper.engine.host_engine import HostEngine
from whisper.library.libraries import Library

SECONDS = 9.0
"""Of audio in a request: about as much as a live stream asks for."""


def run(bench: Bench) -> None:
    for library in bench.libraries():
        _library(bench, library)


def _library(bench: Bench, library: Library) -> None:
    model, pair = str(bench.model("base")), windows(bench, 2, SECONDS)
    with ExitStack() as stack:
        threads = bench.pick(
            smoke=1, bench=bench.cores, full=bench.cores
        )  # one waits for nobody, and so takes no minute
        engines = [started(bench, stack, library, f"sharing{n}", 1, threads=threads) for n in range(2)]
        decode(engines, model, pair)  # start the hosts, touch the weights

        def at_once() -> Span:
            with bench.span() as taken, ThreadPoolExecutor(2) as both:
                list(both.map(one, engines, pair))
            return taken

        def in_turn() -> Span:
            with bench.span() as taken:
                list(map(one, engines, pair))
            return taken

        def one(engine: HostEngine, pcm: Pcm) -> None:
            decode([engine], model, [pcm])

        runs = bench.repeat({"at once": at_once, "in turn": in_turn})
    ratio = statistics.median(a.wall / b.wall for a, b in zip(runs["at once"], runs["in turn"], strict=True))
    bench.result.figures.append(Figure(name=f"two requests at once ÷ in turn, {library.kind}", value=ratio))
    bench.result.details[library.kind] = {
        "threads yield": library.shares_cores,
        **{name: [span.to_dict() for span in spans] for name, spans in runs.items()},
    }
