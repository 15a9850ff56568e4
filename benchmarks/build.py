"""The own engine build against the wheel: speed on one core, same text; how long the build took (P17)."""

from __future__ import annotations

import json
import statistics
from functools import partial

from benchmarks.harness import Bench
from benchmarks.report import Figure, machine
from core.audio.samples import SAMPLE_RATE
from whisper.workshop.measure import Figures, measure


def run(bench: Bench) -> None:
    pcm, _ = bench.speech(bench.pick(smoke=0.25, bench=1.0, full=4.0))
    libraries = bench.libraries()
    own = next((library for library in libraries if library.kind == "own"), None)
    wide = "avx512f" in machine()["vector_units"]
    for kind in ("f16", "q8_0") if not bench.smoke else ("q8_0",):
        model = bench.model("base", kind)
        runs: dict[str, list[Figures]] = bench.repeat(
            {f"{kind}, {library.kind}": partial(measure, library, model, pcm, passes=1) for library in libraries}
        )
        cpu = {name: statistics.median(one.cpu_seconds for one in taken) for name, taken in runs.items()}
        for name, seconds in cpu.items():
            bench.result.figures.append(
                Figure(name=f"CPU ÷ audio, base {name}", value=seconds / (len(pcm) / SAMPLE_RATE))
            )
        if own:
            bench.result.figures += [
                Figure(
                    name=f"wheel ÷ own, base {kind}",
                    value=cpu[f"{kind}, wheel"] / cpu[f"{kind}, own"],
                    goal="P17",
                    at_least=1.9,
                    judged=wide,
                ),
                Figure(
                    name=f"different texts, base {kind}",
                    value=len({one.text for taken in runs.values() for one in taken}) - 1,
                    goal="P17",
                    at_most=0,
                ),
            ]
    if own:
        record = json.loads((own.directory / "record.json").read_text())
        bench.result.figures.append(
            Figure(
                name="time of the build as recorded",
                value=record["build_seconds"],
                unit="s",
                goal="P17",
                at_most=180,
                judged=bench.cores <= 2,
            )
        )
        bench.result.details["record"] = {name: record[name] for name in ("compiler", "flags", "bytes", "verdict")}
