"""What finding the speech costs: CPU seconds of the VAD per hour of audio, over all of it (P15)."""

from __future__ import annotations

import statistics
from functools import partial

from benchmarks.harness import Bench
from benchmarks.job import vad_cpu
from benchmarks.report import Figure


def run(bench: Bench) -> None:
    minutes = bench.pick(smoke=0.5, bench=10.0, full=60.0)
    for kind, silence in (("dense", 0.0), ("25 % silence", 0.25)):
        pcm, _ = bench.speech(minutes, silence=silence)
        for library in bench.libraries():
            vad_cpu(library, pcm[: 16_000 * 30])  # loads pages and clocks up
            runs = bench.repeat({f"{kind}, {library.kind}": partial(vad_cpu, library, pcm)})
            seconds = statistics.median(next(iter(runs.values())))
            bench.result.figures.append(Figure(
                name=f"CPU per hour, {kind}, {library.kind}", value=seconds * 60 / minutes, unit="s", goal="P15", at_most=9.0,
                judged=not bench.smoke,
            ))  # fmt: skip
