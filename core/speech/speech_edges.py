"""Where anybody speaks, to a hundredth of a second: a speech detector's stretches, with their ends where the sound ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.speech.regions import FRAME, Score
from core.speech.word_edges import STEP, Span

_HOP, _WINDOW = round(STEP * SAMPLE_RATE), SAMPLE_RATE // 40
"""Samples from one level to the next, and those that one is taken over (25 ms)."""

_SPEECH = 0.5
"""Probability from which a moment is speech (Silero VAD's own threshold)."""

_FLOOR, _PEAK, _LOUD, _MOST_RANGE = 10, 95, 0.4, 50.0
"""Loud is what lies above so much of the way (in dB) between these percentiles of the levels, which are so many dB apart at
most: more is digital silence (as `whisper.library.word_times`)."""

CLEAR = 30.0
"""dB between them from which on levels show where speech begins and ends; below, both drown in what is behind it."""

_HEAD, _TAIL = 0.10, 0.12
"""Seconds by which loud sound may go before a stretch, and in which its last loud frame is looked for."""

_HANGS_ON = 0.07
"""Seconds for which the detector goes on calling it speech, where levels say nothing. Measured on 28 edges that are known, with
noise 20, 10 and 5 dB below the speech: 80 to 90 ms late at ends, 3 to 14 at starts (docs/explanation/alignment.md)."""

_SHORTEST = 3
"""Frames of a stretch."""


def speech_spans(pcm: Pcm, score: Score) -> list[Span]:
    """Seconds of each stretch, in order and disjoint. score: of Silero VAD that has heard nothing yet"""
    frames = len(pcm) // _HOP
    if not frames:
        return []
    loud, clear = _loud(pcm, frames)
    found: list[tuple[int, int]] = []
    for begin, stop in _stretches(pcm, score, frames):
        start, end = begin, stop - round(_HANGS_ON / STEP)
        if clear:
            start = _first_loud(loud, begin, max(found[-1][1] if found else 0, begin - round(_HEAD / STEP)))
            last = np.flatnonzero(loud[max(begin, stop - round(_TAIL / STEP)) : stop][::-1])
            end = stop - int(last[0]) if len(last) else end
        found.append((start, max(end, min(stop, start + _SHORTEST))))
    return [(start * STEP, end * STEP) for start, end in found]


def _stretches(pcm: Pcm, score: Score, frames: int) -> list[tuple[int, int]]:
    """As the detector has them: its probabilities stand for the middles of its own frames, which are longer."""
    probabilities = score(pcm)
    middles = (np.arange(frames) + 0.5) * _HOP
    spoken = np.interp(middles, (np.arange(len(probabilities)) + 0.5) * FRAME, probabilities) > _SPEECH
    steps = np.flatnonzero(np.diff(np.concatenate([[False], spoken, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in steps.reshape(-1, 2)]


def _loud(pcm: Pcm, frames: int) -> tuple[NDArray[np.bool_], bool]:
    """Of each frame whether it is, over a window around its middle; and whether that says anything."""
    energy = np.concatenate([[0.0], np.cumsum(pcm.astype(np.float64) ** 2)])
    middles = np.arange(frames) * _HOP + _HOP // 2
    first, last = np.maximum(0, middles - _WINDOW // 2), np.minimum(len(pcm), middles + _WINDOW // 2)
    levels = 10 * np.log10((energy[last] - energy[first]) / (last - first) + 1.0)
    floor, peak = np.percentile(levels, [_FLOOR, _PEAK])
    floor = max(floor, peak - _MOST_RANGE)
    return levels > floor + _LOUD * (peak - floor), bool(peak - floor >= CLEAR)


def _first_loud(loud: NDArray[np.bool_], start: int, least: int) -> int:
    """Back to where unbroken loud sound begins."""
    while start > least and loud[start - 1]:
        start -= 1
    return start
