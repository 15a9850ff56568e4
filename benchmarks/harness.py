"""What every benchmark is given: its scale, a folder, speech, models, libraries, services and peers to compare with."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import platformdirs
from numpy.typing import NDArray

from benchmarks import made, peer
from benchmarks.meter import CORES, Span, span
from benchmarks.report import Result
from core.audio.samples import SAMPLE_RATE
from testbed import audio_bank
from testbed.service import Service
from whisper import DEMO_MODEL
from whisper.library.libraries import Library, candidates

if TYPE_CHECKING:
    from benchmarks.live.service import Live

T = TypeVar("T")
Pcm = NDArray[np.int16]


class CannotRun(Exception):
    """What a benchmark needs is not to be had on this machine; the text says what."""


class Scale(StrEnum):
    """SMOKE: seconds, proves that it runs; BENCH: minutes each, `accuracy` an hour; FULL: as the goals say."""

    SMOKE = "smoke"
    BENCH = "bench"
    FULL = "full"


class Bench:
    """One run of one benchmark. Everything in `folder` is gone afterwards.

    given: a service that several share: all benchmarks of streams, and smoke runs of those of jobs
    """

    def __init__(
        self,
        name: str,
        scale: Scale,
        folder: Path,
        *,
        rounds: int = 1,
        seconds: float | None = None,
        given: Live | None = None,
    ) -> None:
        self.scale, self.folder, self.rounds = scale, folder, 1 if scale is Scale.SMOKE else rounds
        self._seconds, self.given = seconds, given
        self.cores = CORES
        self.result = Result(name=name, scale=scale.value)
        self.verdicts = platformdirs.user_cache_path("parascribe") / "benchmarks" / "verdicts"

    def pick(self, *, smoke: T, bench: T, full: T) -> T:
        return {Scale.SMOKE: smoke, Scale.BENCH: bench, Scale.FULL: full}[self.scale]

    def seconds(self, *, smoke: float, bench: float, full: float) -> float:
        """How long what is played goes on, where the command does not say it."""
        return self._seconds or self.pick(smoke=smoke, bench=bench, full=full)

    @property
    def smoke(self) -> bool:
        return self.scale is Scale.SMOKE

    def say(self, text: str) -> None:
        print(f"  {self.result.name}: {text}", file=sys.stderr, flush=True)

    # --- what is measured with
    def libraries(self) -> list[Library]:
        """The fastest first: the own build where there is one (ENGINE_DIR, else the user's), then the wheel."""
        own = Path(os.environ.get("ENGINE_DIR") or platformdirs.user_data_path("parascribe") / "engine")
        found = candidates(None, own)
        return found[-1:] if self.smoke else found

    def model(self, size: str, kind: str = "q8_0") -> Path:
        """A made model of that size; the demo model itself in a smoke run."""
        return DEMO_MODEL if self.smoke else made.model(size, kind)

    def speech(self, minutes: float, **spec: Any) -> tuple[Pcm, dict[str, Any]]:
        """Samples and truth (testbed.audio_bank.speech); dense has pauses of 0.2-0.9 s, `silence=0.25` holes as well."""
        return audio_bank.speech(minutes, **spec)

    def wav(self, pcm: Pcm, name: str, *, times: int = 1) -> Path:
        """A file with the samples, `times` over."""
        path = self.folder / f"{name}.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            for _ in range(times):
                out.writeframesraw(pcm.astype("<i2").tobytes())
        return path

    def new_service(self, library: Library, model: Path, **env: str) -> Service:
        """The real service on that library and model, in a folder of its own, not started yet."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        models, name = made.setting(model)
        return Service(
            folder,
            **{
                "WHISPER_LIBRARY": str(library.directory),
                "WHISPER_MODELS_DIR": str(models),
                "WHISPER_MODEL": name,
                "ENGINE_DIR": str(self.verdicts),
                "ENGINE_NICE": "0",
                "LEASE_SECONDS": "60",
                "SWEEP_SECONDS": "5",
                "MAX_UPLOAD_MB": "8192",
            }
            | env,
        )

    @contextmanager
    def service(self, library: Library, model: Path, **env: str) -> Iterator[Service]:
        """The same, running while the block runs. In a smoke run on the demo model the one that was given, whatever is set:
        that it runs does not depend on that."""
        if self.smoke and self.given is not None and model == DEMO_MODEL:
            yield self.given.service
            return
        service = self.new_service(library, model, **env)
        try:
            yield service.start()
        finally:
            if service.process is not None and service.process.poll() is None:
                service.stop()

    def peer(self, **job: Any) -> tuple[Span, dict[str, Any]]:
        """Run the baseline engine process (benchmarks.peer) and measure it from outside."""
        with span() as taken:
            answer = peer.run(job, self.folder)
        return self.took(taken), answer

    @contextmanager
    def span(self, width: int = CORES) -> Iterator[Span]:
        """Measure a block that can use so many cores, and note how much others disturbed it."""
        with span(width) as taken:
            yield taken
        self.took(taken)

    def took(self, taken: Span) -> Span:
        if taken.wall > 1.0:
            self.result.disturbance = max(self.result.disturbance, taken.disturbance)
        return taken

    # --- what is made of it
    def repeat(self, variants: dict[str, Callable[[], T]]) -> dict[str, list[T]]:
        """Run all variants in turn, `rounds` times over: what drifts on the machine meets all of them."""
        runs: dict[str, list[T]] = {name: [] for name in variants}
        for number in range(self.rounds):
            for name, run in variants.items():
                self.say(name + (f" ({number + 1}/{self.rounds})" if self.rounds > 1 else ""))
                runs[name].append(run())
        return runs


def ratio(mine: Sequence[Span], theirs: Sequence[Span]) -> float:
    """Median over the rounds of wall ÷ wall, each less what other programs took."""
    return statistics.median(a.alone / b.alone for a, b in zip(mine, theirs, strict=True))
