"""Speakers beside the words: a job's wall against one after the other, on full cores, with free ones, and with cores that sleep."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import local, watch
from benchmarks.harness import Bench
from benchmarks.job import timed, warm_up
from benchmarks.meter import CORES
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE, Pcm
from testbed.service import Service
from whisper import DEMO_MODEL
from whisper.engine.host_diarizer import TurnsDiarizer
from whisper.engine.scripted import ScriptedEngine
from whisper.library.libraries import Library
from whisper.speakers.frames import Classes
from whisper.speakers.scripted import ScriptedNetworks
from whisper.types import Call, ChunkTranscript, TranscribeOptions

GOAL = "S6"

FULL = {"MAX_PARALLEL_WORKERS": str(CORES), "WHISPER_THREADS": "1"}
FREE = {"MAX_PARALLEL_WORKERS": "1", "WHISPER_THREADS": "1"}
"""As the limits are for whoever sets nothing, but for the number of workers."""

ROUNDS = 5
"""At least: the walls of equal runs differ by 10 % here, by more than what is looked for (0.96 to 1.15 in five rounds)."""

AT_LEAST = {1: 1.5, 5: 3.0, 10: 4.0}
"""By the number of files: how many times faster than one after the other, on enough cores."""


def run(bench: Bench) -> None:
    _sleeping(bench)
    minutes = bench.pick(smoke=0.1, bench=3.0, full=30.0)
    source = bench.wav(bench.speech(minutes)[0], "talk")
    free = _pair(bench, source, FREE)
    full = free if bench.smoke else _pair(bench, source, FULL)  # starting two more services proves nothing new
    _figures(bench, free, full)


# --- the real engine
@dataclass(kw_only=True)
class Pair:
    """Seconds of each round. words: of a job without speakers; words_beside: until the last word, with them"""

    words: list[float] = field(default_factory=list)
    words_beside: list[float] = field(default_factory=list)
    in_turn: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    #: CPU of the jobs' processes and the engine
    words_cpu: list[float] = field(default_factory=list)
    in_turn_cpu: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, list[float]]:
        return {name: [round(value, 3) for value in values] for name, values in vars(self).items()}


def _pair(bench: Bench, source: Path, limits: dict[str, str]) -> Pair:
    """Two services, one with PARALLEL_PROCESSING and one without, asked by turns: what drifts meets both."""
    library, model = bench.libraries()[0], bench.model("base")
    found = Pair()
    with ExitStack() as stack:
        # the pressure limit as it is for whoever sets nothing: quiet threads that wait must not hold workers back
        services = [
            stack.enter_context(
                bench.service(library, model, PARALLEL_PROCESSING=value, CPU_PRESSURE_LIMIT="95", **limits)
            )
            for value in (("true",) if bench.smoke else ("true", "false"))  # in a smoke run one is enough
        ]
        beside, in_turn = services[0], services[-1]
        short = bench.wav(bench.speech(0.2)[0], "short")
        for service in () if bench.smoke else services:
            warm_up(bench, service)
            timed(bench, service, short, diarize=True)
        rounds = 1 if bench.smoke else max(ROUNDS, bench.rounds)
        for number in range(rounds):
            bench.say(f"{limits['MAX_PARALLEL_WORKERS']} workers ({number + 1}/{rounds})")
            taken, _ = timed(bench, in_turn, source, word_timestamps=True)  # which speakers ask for too
            found.words.append(taken.alone)
            found.words_cpu.append(taken.own)
            taken, _ = timed(bench, in_turn, source, diarize=True)
            found.in_turn.append(taken.alone)
            found.in_turn_cpu.append(taken.own)
            taken, _ = timed(bench, beside, source, diarize=True)
            found.beside.append(taken.alone)
            if limits is not FREE or bench.smoke:  # the last word waits for nobody where cores are free
                found.words_beside.append(_words(bench, beside, source))
    return found


def _words(bench: Bench, service: Service, source: Path) -> float:
    """Seconds until all words are there, while speakers are looked for beside them."""
    with bench.span() as taken:
        job = service.submit(source, language="en", diarize=True)["id"]
        watch.wait(service, job, _has_words, every=0.1)
    watch.completed(service, job)
    return taken.alone


def _has_words(body: dict[str, Any]) -> bool:
    progress = body["progress"]
    return progress["chunks_total"] is not None and progress["chunks_done"] >= progress["chunks_total"]


def _figures(bench: Bench, free: Pair, full: Pair) -> None:
    judged = not bench.smoke
    speakers = [a - b for a, b in zip(free.in_turn, free.words, strict=True)]
    longer = [max(pair) for pair in zip(free.words, speakers, strict=True)]
    bench.result.figures += [
        Figure(
            name="free cores: beside ÷ the longer of both",
            value=_ratio(free.beside, longer),
            goal=GOAL,
            at_most=1.05,
            judged=judged and CORES > 1,
        ),
        Figure(name="free cores: in turn ÷ beside", value=_ratio(free.in_turn, free.beside)),
        Figure(
            name="full cores: beside ÷ in turn",
            value=_ratio(full.beside, full.in_turn),
            goal=GOAL,
            at_most=1.02,  # the walls of two equal runs differ by so much
            judged=judged,
        ),
        Figure(
            name="full cores: last word, beside ÷ without speakers",
            value=_ratio(full.words_beside, full.words),
            goal=GOAL,
            at_most=1.03,
            judged=judged,
        ),
        Figure(name="words alone, full cores", value=statistics.median(full.words), unit="s"),
        Figure(name="words alone, one worker", value=statistics.median(free.words), unit="s"),
    ]
    words = statistics.median(full.words_cpu)
    heard = max(0.0, statistics.median(full.in_turn_cpu) - words)
    bench.result.details |= {
        "free": free.to_dict(),
        "full": full.to_dict(),
        "words_cpu": round(words, 2),
        "speakers_cpu": round(heard, 2),
        "model": {
            f"{workers} workers of {cores} cores": [round(wall, 2) for wall in forecast(words, heard, cores, workers)]
            for cores, workers in ((CORES, CORES), (CORES, 1), (8, 4), (16, 8), (16, 16))
        },
    }


def _ratio(mine: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def forecast(words: float, speakers: float, cores: int, workers: int) -> tuple[float, float]:
    """Walls of one long file, in turn and beside, by the CPU seconds of its words and its speakers, as if both could be cut
    into any number of parts: beside the words it has the cores that they do not have, then all of them.
    """
    first = words / workers
    left = max(0.0, speakers - first * (cores - workers))
    return first + speakers / cores, first + left / cores


# --- an engine that sleeps: as many cores as it takes
WIDTH = 8
"""Windows at once."""


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """Seconds that a chunk, and a window or a piece, takes of one core."""

    chunk: float
    window: float


class SleepingEngine(ScriptedEngine):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        time.sleep(self._seconds)
        return super().transcribe(model, pcm, options, call)


class SleepingNetworks(ScriptedNetworks):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def classes(self, window: Pcm) -> Classes:
        time.sleep(self._seconds)
        return super().classes(window)

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        time.sleep(self._seconds)
        return super().voice(piece)


def _sleeping(bench: Bench) -> None:
    """All files at once, each job in a process of its own as in a consumer, against one file after the other, in which
    the speakers come behind the words; both with two chunks of a job at once."""
    sleep = bench.pick(
        smoke=Sleep(chunk=0.05, window=0.02), bench=Sleep(chunk=0.7, window=0.25), full=Sleep(chunk=1.4, window=0.5)
    )
    seconds = bench.pick(smoke=20, bench=100, full=100)
    source = bench.wav(_two_tones(seconds), "tones")
    library = bench.libraries()[0]
    (bench.folder / "sleeping").mkdir()

    def wall(files: int, *, beside: bool, at_once: bool, diarize: bool = True) -> float:
        return _wall(bench.folder / "sleeping", library, source, sleep, files, beside, at_once, diarize)

    words = wall(1, beside=True, at_once=True, diarize=False)
    for files in bench.pick(smoke=(1,), bench=tuple(AT_LEAST), full=tuple(AT_LEAST)):
        in_turn, beside = (wall(files, beside=mode, at_once=mode) for mode in (False, True))
        bench.say(f"sleeping cores, {files} files: {in_turn:.1f} s in turn, {beside:.1f} s beside")
        bench.result.details[f"sleeping, {files}"] = {"in_turn": round(in_turn, 2), "beside": round(beside, 2)}
        bench.result.figures.append(
            Figure(
                name=f"sleeping cores, {files} {'file' if files == 1 else 'files'}: in turn ÷ beside",
                value=in_turn / beside,
                goal=GOAL,
                at_least=AT_LEAST.get(files),
                judged=not bench.smoke,
            )
        )
        if files == 1:
            bench.result.figures.append(
                Figure(
                    name="sleeping cores, 1 file: beside ÷ the longer of both",
                    value=beside / max(words, in_turn - words),
                    goal=GOAL,
                    at_most=1.05,
                    judged=not bench.smoke,
                )
            )


def _two_tones(seconds: int) -> Pcm:
    """Two voices, as the scripted networks hear them, take turns."""
    t = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    hertz = np.where(t % 10 < 5, 200, 900)
    noise = np.random.default_rng(1).normal(0, 20, len(t))  # each second is another word
    return (3000 * np.sin(2 * np.pi * hertz * t) + noise).astype(np.int16)


def _wall(
    folder: Path, library: Library, source: Path, sleep: Sleep, files: int, beside: bool, at_once: bool, diarize: bool
) -> float:
    """From the start of the first job to the end of the last."""
    context = multiprocessing.get_context("fork")
    ready, go = context.Semaphore(0), context.Event()
    settings = {"parallel_processing": beside, "chunk_strategy": "fixed", "chunk_duration": 10.0}
    with local.consumer(folder, library, DEMO_MODEL, engine=ScriptedEngine(), **settings) as parts:
        for _ in range(files):
            local.submit(parts, source, DEMO_MODEL, diarize=diarize)
    processes = [
        context.Process(
            target=_consume, args=(folder, library, sleep, settings, files if not at_once else 1, ready, go)
        )
        for _ in range(files if at_once else 1)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        if not ready.acquire(timeout=120):
            raise RuntimeError("a consumer did not start")
    began = time.monotonic()
    go.set()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a job has failed")
    return time.monotonic() - began


def _consume(
    folder: Path,
    library: Library,
    sleep: Sleep,
    settings: dict[str, Any],
    jobs: int,
    ready: multiprocessing.synchronize.Semaphore,
    go: multiprocessing.synchronize.Event,
) -> None:
    with local.consumer(folder, library, DEMO_MODEL, engine=SleepingEngine(sleep.chunk), **settings) as made:
        diarizer = TurnsDiarizer(lambda call, quiet: SleepingNetworks(sleep.window), width=WIDTH)
        parts = replace(made, diarizer=diarizer, width=2)
        ready.release()
        go.wait()
        for _ in range(jobs):
            local.work(parts)
