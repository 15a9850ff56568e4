"""What is listened to: recordings as they are, recordings made hard to understand, and sounds without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.joined import from_first_sample
from benchmarks.recordings import Clip
from core.audio.samples import SAMPLE_RATE
from testbed import audio_bank

Pcm = NDArray[np.int16]

OTHERS = tuple(f"test-other/{speaker}-0001.flac" for speaker in ("1688-142285", "2033-164914"))
ALIGNED = tuple(f"pocketsphinx/sense_and_sensibility_01_austen_64kb-0{n}.wav" for n in (870, 880, 890))
ENGLISH = ("jfk.wav", "libri/2412-153948-0000.flac", "faster-whisper/stereo_diarization.wav", *ALIGNED)
FOREIGN = ("sprichwort.wav", "zh/aishell-BAC009S0724W0121.wav", "uberi/french.aiff", "faster-whisper/multilingual.mp3")
NOISES = tuple(f"noise/noise{n}.wav" for n in range(1, 6))

TALK = "ami/tst00.wav"
"""Four people at a table: of such speech a first decode leaves some without text."""
TREATED = "libri/2412-153948-0000.flac"
TWO_LANGUAGES = ("jfk.wav", "sprichwort.wav")


@dataclass(frozen=True, kw_only=True)
class Case:
    """name: the clip's, with what was done to it; clips: those that it needs; make: their samples -> a file in a folder"""

    name: str
    clips: tuple[str, ...] = ()
    make: Callable[[Path, list[Clip]], Path] = lambda _, clips: clips[0].path

    def text(self, clips: list[Clip]) -> str:
        return " ".join(clip.text or "" for clip in clips)

    def language(self, clips: list[Clip]) -> str:
        return "+".join(dict.fromkeys(clip.language for clip in clips))


def _filtered(name: str, filters: str, *options: str) -> Callable[[Path, list[Clip]], Path]:
    def make(folder: Path, clips: list[Clip]) -> Path:
        return audio_bank.write(folder / f"{name}.wav", clips[0].samples(), "-af", filters, *options)

    return make


def _made(name: str, samples: Callable[[list[Clip]], Pcm]) -> Callable[[Path, list[Clip]], Path]:
    def make(folder: Path, clips: list[Clip]) -> Path:
        return audio_bank.write(folder / f"{name}.wav", samples(clips))

    return make


def _both(clips: list[Clip]) -> Pcm:
    return np.concatenate([part for clip in clips for part in (clip.samples(), np.zeros(SAMPLE_RATE, np.int16))])


def _noise(_: list[Clip]) -> Pcm:
    return np.random.default_rng(1).normal(0.0, 1000.0, 30 * SAMPLE_RATE).astype(np.int16)


def _music(_: list[Clip]) -> Pcm:
    """Chords of decaying harmonics, a beat every half second."""
    mix = np.zeros(30 * SAMPLE_RATE)
    beat = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    for n, root in enumerate([220.0, 174.6, 261.6, 196.0] * 15):
        for note in (root, root * 5 / 4, root * 3 / 2):
            tone = sum(np.sin(2 * np.pi * note * k * beat) / k for k in range(1, 6)) * np.exp(-3 * beat)
            mix[n * SAMPLE_RATE // 2 :][: len(beat)] += 1500 * tone
    return np.clip(mix, -32768, 32767).astype(np.int16)


TREATMENTS: dict[str, Callable[[Path, list[Clip]], Path]] = {
    "40 dB down": _filtered("quiet", "volume=-40dB"),
    "telephone": _filtered("telephone", "highpass=f=300,lowpass=f=3400", "-ar", "8000", "-c:a", "pcm_mulaw"),  # G.711
    "1.5 times as fast": _filtered("fast", "atempo=1.5"),
    "from the first sample": _made("first", lambda clips: from_first_sample(clips[0].samples())),
}
WORDLESS = (
    Case(name="silence", make=_made("silence", lambda _: np.zeros(30 * SAMPLE_RATE, np.int16))),
    Case(name="white noise", make=_made("noise", _noise)),
    Case(name="music", make=_made("music", _music)),
    *(Case(name=name, clips=(name,)) for name in NOISES),
)
TWO = Case(name="two languages", clips=TWO_LANGUAGES, make=_made("two", _both))


def spoken(model: str) -> Iterator[Case]:
    """Of the smaller one fewer: what both go through is the same."""
    base = model == "base"
    for name in (*ENGLISH, *OTHERS, *FOREIGN) if base else ("jfk.wav", "sonnet.mp3", *ALIGNED):
        yield Case(name=name, clips=(name,))
    for treatment, make in TREATMENTS.items() if base else ():
        yield Case(name=f"{TREATED}, {treatment}", clips=(TREATED,), make=make)
    if base:
        yield TWO
