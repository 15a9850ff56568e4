"""What finding the speech costs: CPU seconds of the VAD per hour of audio, over all of it (P15), and against libwhisper's."""

from __future__ import annotations

import statistics

from benchmarks.harness import Bench, Pcm, ratio
from benchmarks.job import BLOCK, vad_cpu
from benchmarks.meter import Span, span
from benchmarks.report import Figure
from testbed.library_vad import LibraryVad
from whisper import VAD_MODEL
from whisper.library.libraries import Library


def run(bench: Bench) -> None:
    minutes = bench.pick(smoke=0.5, bench=10.0, full=60.0)
    library = bench.libraries()[0]
    for kind, silence in (("dense", 0.0), ("25 % silence", 0.25)):
        pcm, _ = bench.speech(minutes, silence=silence)
        runs = bench.repeat(
            {
                kind: lambda pcm=pcm: vad_cpu(pcm),  # type: ignore[misc]
                f"{kind}, libwhisper's": lambda pcm=pcm: library_vad_cpu(library, pcm),  # type: ignore[misc]
            }
        )
        ours, theirs = runs.values()
        bench.result.figures += [
            Figure(
                name=f"CPU per hour, {kind}",
                value=statistics.median(taken.own for taken in ours) * 60 / minutes,
                unit="s",
                goal="P15",
                at_most=9.0,
                judged=not bench.smoke,
            ),
            Figure(name=f"÷ libwhisper's, {kind}", value=ratio(ours, theirs)),
        ]


def library_vad_cpu(library: Library, pcm: Pcm) -> Span:
    """The same audio through libwhisper's VAD."""
    vad = LibraryVad(library, VAD_MODEL)
    with span() as taken:
        for start in range(0, len(pcm), BLOCK):
            vad.feed(pcm[start : start + BLOCK])
    return taken
