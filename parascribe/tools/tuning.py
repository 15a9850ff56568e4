"""Which split of the cores into workers and threads is the fastest on this machine: found by trying."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil

from core.audio.samples import SAMPLE_RATE, Pcm
from core.config.settings import Settings
from core.errors import Cancelled, ValidationFailed
from core.system import machine
from parascribe.run.runtime import private_folder
from parascribe.run.wiring.models import open_models
from parascribe.tools.engines import speech
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.library.libraries import candidates
from whisper.library.selftest import choose_library
from whisper.models.sizes import size_of
from whisper.types import Call, ChunkTranscript, TranscribeOptions

CHUNK_SECONDS = 28
"""The longest chunk of a job; the encoder's work is the same for each."""
MOST_ROUNDS = 6
"""Chunks per worker that are measured at most: more would make the figure no better."""
NOISE = 0.03
"""Two figures closer than this are taken for equal."""

_THREADS = (1, 2, 3, 4, 6, 8)  # more than 8 per worker never pay (whisper.cpp #200, #1184)
_SAMPLE_SECONDS = 0.2
_CAUTION = 1.25
"""A round of all workers may take so much longer than one chunk alone: they share the memory's bandwidth."""
_ENGLISH = TranscribeOptions(language="en")


@dataclass(frozen=True, kw_only=True)
class Split:
    """A number of workers and of threads in each."""

    workers: int
    threads: int

    @property
    def width(self) -> int:
        """Cores it can keep busy."""
        return self.workers * self.threads


@dataclass(frozen=True, kw_only=True)
class Measured:
    """speed: seconds of audio per second of wall time with all workers busy
    alone: wall seconds of one 28 s chunk while the other workers idle
    memory_mb: peak PSS of all engine processes, MB (10^6)
    """

    split: Split
    speed: float
    alone: float
    memory_mb: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best for much audio, and the one that has a single short file back first."""

    throughput: Measured
    latency: Measured


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """skipped: what there was no time for; load: the machine's load average before anything was measured"""

    model: str
    library: str
    cores: int
    load: float
    measured: tuple[Measured, ...]
    skipped: tuple[Split, ...]

    @property
    def choice(self) -> Choice:
        return choose(self.measured, self.cores)

    @property
    def complete(self) -> bool:
        """Nothing that might have been chosen is missing."""
        return all(split.width > self.cores for split in self.skipped)

    def efficiency(self, one: Measured) -> float | None:
        """Speed ÷ (cores it can use x the speed of one worker with one thread); None where that was not measured."""
        base = next((other.speed for other in self.measured if other.split.width == 1), None)
        return None if base is None else one.speed / (base * min(one.split.width, self.cores))

    def to_dict(self) -> dict[str, Any]:
        def body(one: Measured) -> dict[str, Any]:
            return asdict(one.split) | {
                "audio_seconds_per_second": round(one.speed, 2),
                "efficiency": _rounded(self.efficiency(one)),
                "one_chunk_seconds": round(one.alone, 3),
                "memory_mb": round(one.memory_mb, 1),
            }

        return {
            "model": self.model,
            "library": self.library,
            "cores": self.cores,
            "load": round(self.load, 2),
            "measured": [body(one) for one in self.measured],
            "skipped": [asdict(split) for split in self.skipped],
            "complete": self.complete,
            "throughput": asdict(self.choice.throughput.split),
            "latency": asdict(self.choice.latency.split),
        }


def splits(cores: int, most_workers: int) -> list[Split]:
    """What is worth measuring, the telling ones first.

    One worker with one thread, by which the others are judged; every way to use all cores; where there are many,
    half of them (memory bandwidth may be the limit); and for comparison one that wants more cores than there are.

    most_workers: as many as the memory holds
    """
    full = {min(cores // threads, most_workers): threads for threads in _THREADS if threads <= cores}
    found = [Split(workers=1, threads=1)]
    found += [Split(workers=workers, threads=threads) for workers, threads in full.items()]
    if cores >= 4:
        found.append(Split(workers=min(cores // 2, most_workers), threads=1))
    widest = found[1]
    found.append(Split(workers=widest.workers, threads=2 * max(widest.threads, cores // widest.workers)))
    return list(dict.fromkeys(found))


def choose(measured: Sequence[Measured], cores: int) -> Choice:
    """Of those that the cores suffice for. Equally fast ones: the one that takes less memory; equally quick: the faster one.

    measured: at least one that fits
    """
    fitting = [one for one in measured if one.split.width <= cores]
    most, least = max(one.speed for one in fitting), min(one.alone for one in fitting)
    return Choice(
        throughput=min((one for one in fitting if one.speed >= most * (1 - NOISE)), key=lambda one: one.memory_mb),
        latency=max((one for one in fitting if one.alone <= least * (1 + NOISE)), key=lambda one: one.speed),
    )


def tune(settings: Settings, model: str, *, seconds: float, say: Callable[[str], object] = lambda _: None) -> Tuning:
    """Measure the splits one after the other with real engine hosts; those for which the time does not suffice are left out.

    seconds: for all of them together, the engine's self-test not counted

    Raises ValidationFailed (too little time for even one; an engine of another kind), UnknownModel, ModelUnavailable,
    ModelInvalid, EngineUnavailable, ChunkFailed.
    """
    if settings.whisper_executable is not None:
        raise ValidationFailed("WHISPER_EXECUTABLE is set: only the resident engine can be tuned.")
    path = open_models(settings).validate(model).path
    library = choose_library(candidates(settings.whisper_library, settings.engine_path), path, settings.engine_path)
    pcm = np.resize(speech(), CHUNK_SECONDS * SAMPLE_RATE)
    here, load = machine.inspect(), os.getloadavg()[0]
    cores = max(1, int(here.cores + 0.5))
    size = size_of(model)
    most = machine.resolve_plan(
        model=model,
        weights_mb=size.weights_mb,
        worker_mb=size.worker_mb,
        max_parallel_workers=0,
        whisper_threads=0,
        max_concurrent_jobs=1,
        use_parallel_transcription=True,
        machine=here,
    ).workers
    waiting, measured = splits(cores, most), []
    limit = _Limit(time.monotonic() + seconds)
    while waiting and not limit.is_set():
        split, slot = waiting[0], time.monotonic() + limit.left() / len(waiting)
        say(f"{split.workers} workers x {split.threads} threads")
        try:
            with _running(settings, split) as (manager, engine):
                measured.append(_Trial(split, cores, manager, engine, str(path), pcm, limit).run(slot))
        except Cancelled:
            break
        del waiting[0]
    if not measured:
        raise ValidationFailed(
            f"{model} is too slow here to measure anything in {seconds:.0f} s: allow more --seconds."
        )
    return Tuning(
        model=model, library=library.kind, cores=cores, load=load, measured=tuple(measured), skipped=tuple(waiting)
    )


class _Limit:
    """When to stop, for calls that take a `cancel`."""

    def __init__(self, end: float) -> None:
        self.end = end

    def left(self) -> float:
        return self.end - time.monotonic()

    def is_set(self) -> bool:
        return self.left() <= 0


@contextlib.contextmanager
def _running(settings: Settings, split: Split) -> Iterator[tuple[int, HostEngine]]:
    """An engine manager of that split, as a consumer would start it: its pid, and a client."""
    with private_folder() as folder:
        socket = folder / "engine"
        process = start_manager(
            socket,
            workers=split.workers,
            threads=split.threads,
            library=settings.whisper_library,
            engine_dir=settings.engine_path,
            nice=settings.engine_nice,
            log_level="WARNING",
        )
        engine = HostEngine(socket)
        try:
            yield process.pid, engine
        finally:
            engine.close()
            process.terminate()
            process.wait()


@dataclass(frozen=True)
class _Trial:
    """The measurement of one split. The same chunk each time, so that all workers have the same to do."""

    split: Split
    cores: int
    manager: int
    engine: HostEngine
    model: str
    pcm: Pcm
    limit: _Limit

    def run(self, slot: float) -> Measured:
        """slot: `time.monotonic()` until which more rounds may be begun. Raises Cancelled at the limit."""
        workers = self.split.workers
        # one call more than there are workers waits at the engine, as in a job: none idles between two chunks
        with ThreadPoolExecutor(workers + 1) as pool:
            try:
                memory = self._warm_up([pool.submit(self._chunk) for _ in range(workers)])
                alone = self._timed()
                for _ in range(2):
                    if time.monotonic() + 4 * alone < slot:
                        alone = min(alone, self._timed())
                one_round = _CAUTION * alone * max(1.0, self.split.width / self.cores)
                rounds = min(MOST_ROUNDS, max(1, int((slot - time.monotonic()) / one_round)))
                began = time.monotonic()
                for chunk in [pool.submit(self._chunk) for _ in range(workers * rounds)]:
                    chunk.result()
                wall = time.monotonic() - began
            except BaseException:
                self.limit.end = 0.0  # the others need not go on
                raise
        return Measured(split=self.split, speed=workers * rounds * CHUNK_SECONDS / wall, alone=alone, memory_mb=memory)

    def _timed(self) -> float:
        began = time.monotonic()
        self._chunk()
        return time.monotonic() - began

    def _chunk(self) -> ChunkTranscript:
        return self.engine.transcribe(self.model, self.pcm, _ENGLISH, Call(cancel=self.limit))

    def _warm_up(self, chunks: Sequence[Future[ChunkTranscript]]) -> float:
        """The weights are read and touched, every worker has decoded once; returns the peak memory in MB meanwhile.

        Memory is looked at here and not later, since looking takes time from the workers.
        """
        peak = 0.0
        while wait(chunks, _SAMPLE_SECONDS).not_done:
            peak = max(peak, _memory_mb(self.manager))
        for chunk in chunks:
            chunk.result()
        return max(peak, _memory_mb(self.manager))


def _memory_mb(root: int) -> float:
    """PSS of a process and its descendants; where the kernel tells none (macOS), what each has for itself."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(root)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found = one.memory_full_info()
                total += getattr(found, "pss", found.uss)
    return total / 1e6


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
