"""What is said in streams, and when each utterance really ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import joined, official
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.recordings import Clip, MissingRecordings, shared
from core.audio.samples import SAMPLE_RATE
from testbed import audio_bank

SET = "test-other/"
"""Of the shared recordings: 50 clips of LibriSpeech, six minutes."""

PAUSES = (0.9, 1.8)
"""Seconds between utterances: so long that each of them ends."""


@dataclass(frozen=True, kw_only=True)
class Talk:
    """pcm: 16 kHz mono; ends: seconds at which somebody falls silent for at least PAUSES[0]"""

    pcm: Pcm
    ends: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


def talk(bench: Bench, seconds: float, *, seed: int = 1) -> Talk:
    """Of about that length, never shorter; another one for each seed. Made speech in a smoke run. Raises CannotRun."""
    if bench.smoke:
        return made(seconds, seed=seed)
    pcm, truth = joined.with_true_ends(real_clips(), seconds / 60, seed=seed, pauses=PAUSES)
    return Talk(pcm=pcm, ends=tuple(one["end"] for one in truth["utterances"]))


def made(seconds: float, *, seed: int = 1) -> Talk:
    """For the demo model."""
    pcm, truth = audio_bank.speech(max(0.1, seconds / 60), seed, gap=PAUSES)
    return Talk(pcm=pcm, ends=tuple(one["end"] for one in truth["utterances"]))


def real_clips() -> list[Clip]:
    """Raises CannotRun."""
    try:
        return [clip for clip in shared() if clip.name.startswith(SET)]
    except MissingRecordings as error:
        raise CannotRun(str(error)) from error


def model(bench: Bench) -> Path:
    """OpenAI's base as q8_0; the demo model in a smoke run. Raises CannotRun."""
    if bench.smoke:
        return bench.model("base")
    try:
        return official.model("base", "q8_0")
    except official.MissingModel as error:
        raise CannotRun(str(error)) from error


def wav(path: Path, pcm: Pcm) -> Path:
    return audio_bank.write(path, pcm)
