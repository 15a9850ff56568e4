"""Where anybody speaks, to a hundredth of a second: pauses between words too, which a speech detector alone passes over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.speech.regions import FRAME, Score
from core.speech.word_edges import STEP, Span

_HOP, _WINDOW = round(STEP * SAMPLE_RATE), SAMPLE_RATE // 40
"""Samples from one level to the next, and that one is taken over (25 ms)."""

_FLOOR, _PEAK, _LOUD = 10, 95, 0.4
"""Loud is what lies above so much of the way (in dB) between these percentiles of the levels."""

_MOST_RANGE = 50.0
"""dB between them at most: more is digital silence."""

CLEAR = 30.0
"""dB between them from which on levels show where speech ends; below, it ends in the noise, and the detector knows better."""

_POSSIBLE, _CERTAIN = 0.2, 0.5
"""Probabilities from which a detector's frame may be speech (levels decide), or is."""

_EARLY, _LATE = 0.04, 0.02
"""Seconds by which speech may begin before the first such frame and end behind the last."""

_HANGS_ON = 0.07
"""Seconds for which Silero VAD goes on calling it speech; measured: it is 85 ms late at ends and at most 15 at starts, with noise
of 20 to 5 dB below the speech (docs/explanation/alignment.md)."""

Mask = NDArray[np.bool_]


def speech_spans(pcm: Pcm, score: Score) -> list[Span]:
    """Seconds of each stretch, in order. score: Silero VAD, from its beginning"""
    frames = len(pcm) // _HOP
    if not frames:
        return []
    levels = _levels(pcm, frames)
    floor, peak = np.percentile(levels, [_FLOOR, _PEAK])
    floor = max(floor, peak - _MOST_RANGE)
    middles = (np.arange(frames) + 0.5) * _HOP
    probabilities = score(pcm)
    probable = np.interp(middles, (np.arange(len(probabilities)) + 0.5) * FRAME, probabilities)
    if peak - floor >= CLEAR:
        spoken = (levels > floor + _LOUD * (peak - floor)) & _widened(probable > _POSSIBLE, _EARLY, _LATE)
    else:
        spoken = ~_widened(probable <= _CERTAIN, _HANGS_ON, 0.0)
    steps = np.flatnonzero(np.diff(np.concatenate([[False], spoken, [False]]).astype(np.int8)))
    return [(a * STEP, b * STEP) for a, b in steps.reshape(-1, 2).tolist()]


def _levels(pcm: Pcm, frames: int) -> NDArray[np.float64]:
    """dB of each frame, over a window around its middle."""
    energy = np.concatenate([[0.0], np.cumsum(pcm.astype(np.float64) ** 2)])
    middles = (np.arange(frames) * _HOP) + _HOP // 2
    first, last = np.maximum(0, middles - _WINDOW // 2), np.minimum(len(pcm), middles + _WINDOW // 2)
    levels: NDArray[np.float64] = 10 * np.log10((energy[last] - energy[first]) / (last - first) + 1.0)
    return levels


def _widened(mask: Mask, before: float, behind: float) -> Mask:
    """With each true stretch so many seconds longer."""
    found = mask.copy()
    for n in range(1, round(before / STEP) + 1):
        found[:-n] |= mask[n:]
    for n in range(1, round(behind / STEP) + 1):
        found[n:] |= mask[:-n]
    return found
