"""Long recordings out of short ones: with pauses between the clips, or as speech without any hole to cut in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recordings import Clip
from core.audio.samples import SAMPLE_RATE

Pcm = NDArray[np.int16]

_FRAME = SAMPLE_RATE // 50
_QUIET_DB = 30.0
"""Frames so far below a clip's loud ones (95th percentile) are its pauses: LibriSpeech's noise floor lies 40 dB below and more."""

PAUSES = (0.3, 1.5)
"""Seconds between the clips of a long recording."""

UNBROKEN = 0.06
"""Longest pause, in seconds, that is left in speech which is to be cut through: shorter than what any VAD calls a pause."""


def with_pauses(clips: Sequence[Clip], minutes: float, *, seed: int = 1) -> tuple[Pcm, dict[str, Any]]:
    """Clips in seeded order, each as often as the length wants, with PAUSES between them; samples and truth.

    Truth: {"utterances": [{"start", "end", "text"}]}, seconds.
    """
    rng = random.Random(seed)
    chosen = _drawn(clips, minutes, rng)
    pauses = [np.zeros(round(rng.uniform(*PAUSES) * SAMPLE_RATE), np.int16) for _ in chosen]
    return _put_together([clip.samples() for clip in chosen], pauses, [clip.text for clip in chosen])


def unbroken(clips: Sequence[Clip], minutes: float, *, seed: int = 1) -> tuple[Pcm, dict[str, Any]]:
    """Clips in seeded order whose every pause, theirs and those between them, is at most UNBROKEN, over a steady noise."""
    chosen = _drawn(clips, minutes, random.Random(seed))
    spoken = [without_pauses(clip.samples()) for clip in chosen]
    pcm, truth = _put_together(spoken, [np.zeros(0, np.int16)] * len(spoken), [clip.text for clip in chosen])
    return _over_noise(pcm, 25.0, seed), truth


def with_true_ends(
    clips: Sequence[Clip], minutes: float, *, seed: int = 1, pauses: tuple[float, float] = PAUSES
) -> tuple[Pcm, dict[str, Any]]:
    """As `with_pauses`, but that clips end with their last loud frame, and over a room's quiet noise, 45 dB below."""
    rng = random.Random(seed)
    chosen = _drawn(clips, minutes, rng)
    quiet = [np.zeros(round(rng.uniform(*pauses) * SAMPLE_RATE), np.int16) for _ in chosen]
    pcm, truth = _put_together([_loud_part(clip.samples()) for clip in chosen], quiet, [clip.text for clip in chosen])
    return _over_noise(pcm, 45.0, seed), truth


def _drawn(clips: Sequence[Clip], minutes: float, rng: random.Random) -> list[Clip]:
    """All in an order of chance, and again in another, until they are long enough."""
    chosen: list[Clip] = []
    seconds = 0.0
    while seconds < 60 * minutes:
        for clip in rng.sample(list(clips), len(clips)):
            if seconds >= 60 * minutes:
                break
            chosen.append(clip)
            seconds += len(clip.samples()) / SAMPLE_RATE
    return chosen


def _put_together(
    spoken: Sequence[Pcm], pauses: Sequence[Pcm], texts: Sequence[str | None]
) -> tuple[Pcm, dict[str, Any]]:
    """Speech and pause by turns."""
    utterances, position = [], 0
    for said, pause, text in zip(spoken, pauses, texts, strict=True):
        utterances.append({"start": position / SAMPLE_RATE, "end": (position + len(said)) / SAMPLE_RATE, "text": text})
        position += len(said) + len(pause)
    return np.concatenate([part for pair in zip(spoken, pauses, strict=True) for part in pair]), {
        "utterances": utterances
    }


def _loud(pcm: Pcm) -> NDArray[np.bool_]:
    """By frame of 20 ms: whether it is part of the speech."""
    frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-9)
    return np.asarray(level > np.percentile(level, 95) - _QUIET_DB)


def from_first_sample(pcm: Pcm) -> Pcm:
    """Without what comes before the first loud frame."""
    return pcm[int(np.argmax(_loud(pcm))) * _FRAME :]


def _loud_part(pcm: Pcm) -> Pcm:
    loud = np.flatnonzero(_loud(pcm))
    return pcm[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]


def _over_noise(pcm: Pcm, decibels: float, seed: int) -> Pcm:
    """White noise that far below the speech."""
    level = np.sqrt(np.mean(pcm.astype(np.float64) ** 2)) * 10 ** (-decibels / 20)
    noise = np.random.default_rng(seed).normal(0.0, level, len(pcm))
    return np.clip(pcm + noise, -32768, 32767).astype(np.int16)


def without_pauses(pcm: Pcm) -> Pcm:
    """Every quiet stretch shortened to UNBROKEN, those at the ends left out."""
    loud = _loud(pcm)
    kept = np.zeros(len(loud), bool)
    quiet = UNBROKEN * SAMPLE_RATE  # what may be kept of the stretch at hand
    for n in range(int(np.argmax(loud)), len(loud) - int(np.argmax(loud[::-1]))):
        quiet = UNBROKEN * SAMPLE_RATE if loud[n] else quiet - _FRAME
        kept[n] = loud[n] or quiet >= 0
    return np.asarray(pcm[: len(loud) * _FRAME][np.repeat(kept, _FRAME)])
