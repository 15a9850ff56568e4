"""How soon the first chunk of a two-hour file is committed: decoding, VAD and engine work at the same time (P14)."""

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
    minutes = bench.pick(smoke=0.5, bench=120.0, full=120.0)
    source = _recording(bench, minutes)
    chunk = bench.wav(bench.speech(bench.pick(smoke=5, bench=28, full=28) / 60)[0], "chunk")
    firsts, ones = [], []
    with bench.service(bench.libraries()[0], bench.model("base")) as service:
        warm_up(bench, service)
        for _ in range(bench.pick(smoke=1, bench=3, full=5)):
            job = watch.completed(service, service.submit(chunk, language="en")["id"])
            ones.append(job["performance"]["engine_seconds"])
            firsts.append(_first(bench, service, source))
    one, first = statistics.median(ones), statistics.median(firsts)
    bench.result.figures += [
        Figure(
            name=f"first chunk of {minutes:g} min ÷ one chunk",
            value=first / one,
            goal="P14",
            at_most=2.0,
            judged=not bench.smoke,
        ),
        Figure(name="first chunk after submit", value=first, unit="s"),
        Figure(name="one chunk", value=one, unit="s"),
    ]
    bench.result.details = {"firsts": firsts, "ones": ones, "bytes": source.stat().st_size}


def _recording(bench: Bench, minutes: float) -> Path:
    """An mp3 of that length: mp3 frames may be strung together, so ten minutes are encoded once."""
    piece = min(10.0, minutes)
    part = audio_bank.write(bench.folder / "part.mp3", bench.speech(piece)[0], "-b:a", "64k", "-write_xing", "0")
    path = bench.folder / "talk.mp3"
    path.write_bytes(part.read_bytes() * round(minutes / piece))
    return path


def _first(bench: Bench, service: Service, source: Path) -> float:
    """Seconds from the accepted submit until progress shows a chunk; less what others took of the cores meanwhile."""
    job = service.submit(source, language="en")["id"]
    start = time.monotonic()
    with bench.span() as taken:
        body = watch.wait(service, job, lambda body: body["progress"]["chunks_done"], every=0.02)
    seconds = time.monotonic() - start
    if not body["progress"]["chunks_done"]:
        raise RuntimeError(f"the job ended as {body['status']}: {body['error']}")
    watch.cancel(service, job)
    return seconds * taken.alone / taken.wall
