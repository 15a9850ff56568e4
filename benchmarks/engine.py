"""The engine alone: what W workers on shared weights make of W cores, against one worker on the same chunks (P2)."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.harness import RATE, Bench, Pcm
from benchmarks.meter import Span
from benchmarks.report import Figure
from whisper.libraries import Library
from whisper.prefork import PreforkEngine, start_manager
from whisper.types import ChunkTranscript, TranscribeOptions

ENGLISH = TranscribeOptions(language="en")


def run(bench: Bench) -> None:
    chunks = windows(bench, bench.pick(smoke=2, bench=6, full=12) * bench.cores)
    for library in bench.libraries() if bench.scale == "full" else bench.libraries()[:1]:
        _library(bench, library, chunks)


def windows(bench: Bench, count: int, seconds: float = 28.0) -> list[Pcm]:
    """Pieces of dense speech of that length."""
    size = round(seconds * RATE)
    pcm, _ = bench.speech(count * seconds / 60)
    return [pcm[n * size : (n + 1) * size] for n in range(count)]


def _library(bench: Bench, library: Library, chunks: list[Pcm]) -> None:
    model = str(bench.model("base"))
    with ExitStack() as stack:
        engines = {}
        for workers in (1, bench.cores):
            engines[workers] = _engine(bench, stack, library, workers)
            _decode(engines[workers], model, chunks[:1] * workers, workers)  # start the host, touch the weights

        def measured(workers: int) -> tuple[Span, list[ChunkTranscript]]:
            with bench.span(workers) as taken:
                said = _decode(engines[workers], model, chunks, workers)
            return taken, said

        runs = bench.repeat({f"{library.kind}, {n} workers": partial(measured, n) for n in engines})
        detect = [engines[1].detect_language(model, chunk).engine_seconds for chunk in chunks[:3]]
    one, many = runs.values()
    speed_up = statistics.median(a.alone / b.alone for (a, _), (b, _) in zip(one, many, strict=True))
    per_chunk = {name: [said.engine_seconds for _, chunks_said in taken for said in chunks_said] for name, taken in runs.items()}
    first, second = (statistics.median(seconds) for seconds in per_chunk.values())
    texts = {tuple(said.text for said in chunks_said) for taken in runs.values() for _, chunks_said in taken}
    bench.result.figures += [
        Figure(name=f"speed-up ÷ {bench.cores} workers, {library.kind}", value=speed_up / bench.cores, goal="P2", at_least=0.97, judged=not bench.smoke),
        Figure(name=f"CPU of a chunk, {bench.cores} workers ÷ 1, {library.kind}", value=second / first),
        Figure(name=f"CPU of a 28 s chunk, {library.kind}", value=first, unit="s"),
        Figure(name=f"encoder's share, {library.kind}", value=statistics.median(detect) / first),
        Figure(name=f"different texts, {library.kind}", value=len(texts) - 1, at_most=0),
    ]
    bench.result.details[library.kind] = {
        name: {"spans": [a.to_dict() for a, _ in taken], "chunk_seconds": [round(s, 3) for s in per_chunk[name]]}
        for name, taken in runs.items()
    }


def _engine(bench: Bench, stack: ExitStack, library: Library, workers: int) -> PreforkEngine:
    socket = bench.folder / f"{library.kind}{workers}" / "engine"
    manager = start_manager(socket, workers=workers, threads=1, library=library.directory, log_level="WARNING")
    stack.callback(_end, manager)
    engine = PreforkEngine(socket)
    stack.callback(engine.close)
    return engine


def _end(manager: Any) -> None:
    manager.terminate()
    manager.wait()


def _decode(engine: PreforkEngine, model: str, chunks: list[Pcm], workers: int) -> list[ChunkTranscript]:
    """All chunks, one more in the queue than there are workers, as a job does it."""
    with ThreadPoolExecutor(workers + 1) as pool:
        return list(pool.map(lambda chunk: engine.transcribe(model, chunk, ENGLISH, timeout=600.0), chunks))
