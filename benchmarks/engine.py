"""The engine alone: what W workers on shared weights make of W cores, against one worker on the same chunks (P2).

Beside it, W engines that share nothing: what these cores and their memory lose by being busy together, whoever uses them.
"""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any

from benchmarks.harness import Bench, Pcm
from benchmarks.meter import Span
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.library.libraries import Library
from whisper.types import Call, ChunkTranscript, TranscribeOptions

ENGLISH = TranscribeOptions(language="en")


def run(bench: Bench) -> None:
    seconds = bench.pick(smoke=5.0, bench=28.0, full=28.0)
    chunks = windows(bench, bench.pick(smoke=1, bench=6, full=12) * bench.cores, seconds)
    for library in bench.libraries() if bench.scale == "full" else bench.libraries()[:1]:
        _library(bench, library, chunks)


def windows(bench: Bench, count: int, seconds: float = 28.0) -> list[Pcm]:
    """Pieces of dense speech of that length."""
    size = round(seconds * SAMPLE_RATE)
    pcm, _ = bench.speech(count * seconds / 60)
    return [pcm[n * size : (n + 1) * size] for n in range(count)]


def _library(bench: Bench, library: Library, chunks: list[Pcm]) -> None:
    model, cores = str(bench.model("base")), bench.cores
    with ExitStack() as stack:
        many = started(bench, stack, library, "together", cores)
        apart = [started(bench, stack, library, f"apart{n}", 1) for n in range(cores)]
        for engine in (*apart, many):
            workers = cores if engine is many else 1
            decode([engine] * workers, model, chunks[:1] * workers)  # start the host, touch the weights

        def measured(slots: list[HostEngine], width: int) -> tuple[Span, list[ChunkTranscript]]:
            with bench.span(width) as taken:
                said = decode(slots, model, chunks)
            return taken, said

        # one chunk more lies with an engine than it has workers, as when a job uses it
        runs = bench.repeat(
            {
                f"{library.kind}, 1 workers": partial(measured, apart[:1] * 2, 1),
                f"{library.kind}, {cores} workers": partial(measured, [many] * (cores + 1), cores),
                f"{library.kind}, {cores} engines apart": partial(measured, apart, cores),
            }
        )
        detect = [apart[0].detect_language(model, chunk).engine_seconds for chunk in chunks[: 1 if bench.smoke else 3]]
    alone, together, separate = runs.values()
    speed_ups = [
        statistics.median(a.alone / b.alone for (a, _), (b, _) in zip(alone, other, strict=True))
        for other in (together, separate)
    ]
    per_chunk = {
        name: [said.engine_seconds for _, chunks_said in taken for said in chunks_said] for name, taken in runs.items()
    }
    first, second, _ = (statistics.median(seconds) for seconds in per_chunk.values())
    texts = {tuple(said.text for said in chunks_said) for taken in runs.values() for _, chunks_said in taken}
    bench.result.figures += [
        Figure(
            name=f"speed-up ÷ {cores} workers, {library.kind}",
            value=speed_ups[0] / cores,
            goal="P2",
            at_least=0.97,
            judged=not bench.smoke,
        ),
        Figure(name=f"speed-up ÷ {cores} engines that share nothing, {library.kind}", value=speed_ups[1] / cores),
        Figure(name=f"CPU of a chunk, {cores} workers ÷ 1, {library.kind}", value=second / first),
        Figure(name=f"CPU of a {len(chunks[0]) / SAMPLE_RATE:g} s chunk, {library.kind}", value=first, unit="s"),
        Figure(name=f"encoder's share, {library.kind}", value=statistics.median(detect) / first),
        Figure(name=f"different texts, {library.kind}", value=len(texts) - 1, at_most=0),
    ]
    bench.result.details[library.kind] = {
        name: {"spans": [a.to_dict() for a, _ in taken], "chunk_seconds": [round(s, 3) for s in per_chunk[name]]}
        for name, taken in runs.items()
    }


def started(
    bench: Bench, stack: ExitStack, library: Library, name: str, workers: int, *, threads: int = 1
) -> HostEngine:
    """An engine of its own, which ends with the stack."""
    socket = bench.folder / f"{library.kind}-{name}" / "engine"
    manager = start_manager(
        socket,
        workers=workers,
        threads=threads,
        library=library.directory,
        engine_dir=bench.verdicts,
        log_level="WARNING",
    )
    stack.callback(_end, manager)
    engine = HostEngine(socket)
    stack.callback(engine.close)
    return engine


def _end(manager: Any) -> None:
    manager.terminate()
    manager.wait()


def decode(slots: list[HostEngine], model: str, chunks: list[Pcm]) -> list[ChunkTranscript]:
    """slots: each engine as many times as chunks may lie with it at once."""
    free: SimpleQueue[HostEngine] = SimpleQueue()
    for slot in slots:
        free.put(slot)

    def decode(chunk: Pcm) -> ChunkTranscript:
        engine = free.get()
        try:
            return engine.transcribe(model, chunk, ENGLISH, Call(timeout=600.0))
        finally:
            free.put(engine)

    with ThreadPoolExecutor(len(slots)) as pool:
        return list(pool.map(decode, chunks))
