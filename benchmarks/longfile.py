"""Memory of a job's process by length of the audio (P8), with a scripted engine: all but the decoding of text is real."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import Bench
from benchmarks.local import runner
from benchmarks.meter import PssSampler, Span
from benchmarks.plot import Plot
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE
from whisper import DEMO_MODEL
from whisper.engine.scripted import ScriptedEngine
from whisper.library.libraries import Library
from whisper.wire.process import die_with


def run(bench: Bench) -> None:
    library = bench.libraries()[0]
    block = _block(bench)
    minutes = len(block) / SAMPLE_RATE / 60
    blocks = bench.pick(smoke=(1, 2), bench=(1, 3, 6), full=(1, 6, 24, 60))
    found: dict[float, tuple[float, Span]] = {}
    for times in blocks:
        length = times * minutes
        bench.say(f"{length:g} minutes")
        source = bench.wav(block, "long", times=times)
        found[length] = _job(bench, library, source)
        source.unlink()
    first, last = min(found), max(found)
    peaks = {length: peak for length, (peak, _) in found.items()}
    bench.result.figures += [
        Figure(
            name=f"peak memory, {last:g} min ÷ {first:g} min", value=peaks[last] / peaks[first], goal="P8", at_most=1.10
        ),
        Figure(name=f"peak memory, {first:g} min", value=peaks[first], unit="MiB"),
        Figure(name=f"peak memory, {last:g} min", value=peaks[last], unit="MiB"),
        Figure(name=f"CPU without the engine, per hour, {last:g} min", value=found[last][1].own * 60 / last, unit="s"),
    ]
    bench.result.details = {
        f"{length:g}": {"peak_mib": round(peak, 1)} | taken.to_dict() for length, (peak, taken) in found.items()
    }
    bench.result.plots.append(
        Plot(
            name="memory",
            title="Memory of a job's process",
            x="minutes of audio",
            y="MiB",
            series={"peak PSS": list(peaks.items())},
        )
    )
    bench.result.plots.append(
        Plot(
            name="cpu",
            title="CPU without the engine",
            x="minutes of audio",
            y="s",
            series={"decode, VAD, plan, merge": [(length, taken.own) for length, (_, taken) in found.items()]},
        )
    )


def _block(bench: Bench) -> np.ndarray:
    """Ten minutes: eight of speech and a long silence."""
    minutes = bench.pick(smoke=0.5, bench=10.0, full=10.0)
    return np.concatenate([bench.speech(minutes * 0.8)[0], np.zeros(round(minutes * 0.2 * 60 * SAMPLE_RATE), np.int16)])


def _job(bench: Bench, library: Library, source: Path) -> tuple[float, Span]:
    """Run the job in a process of its own; its peak PSS in MiB (decoder not included) and what it took."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.longfile",
        json.dumps(
            [str(bench.folder), vars(library) | {"directory": str(library.directory)}, str(source), os.getpid()]
        ),
    ]
    with bench.span() as taken:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        with PssSampler(lambda: [process.pid], every=0.1) as sampler:
            out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the job ended with status {process.returncode}")
    bench.result.details.setdefault("high_water", []).append(json.loads(out))
    return sampler.peak, taken


def main() -> None:
    folder, library, source, parent = json.loads(sys.argv[1])
    die_with(parent)
    there = Library(**{**library, "directory": Path(library["directory"])})
    with runner(Path(folder), there, DEMO_MODEL, engine=ScriptedEngine(), max_audio_hours=24) as transcribe:
        result, chunks = transcribe(Path(source))
    print(
        json.dumps(
            {
                "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "chunks": len(chunks),
                "segments": len(result["segments"]),
            }
        )
    )


if __name__ == "__main__":
    main()
