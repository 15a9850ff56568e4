"""Where sound is put by its timestamps: nothing is ever lost, and silence is added only where all the sound agrees."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE
from core.audio.timeline import JUMP, Timeline

FRAME = 320
DAY = 24 * 3600 * SAMPLE_RATE


def sound(frames: int) -> NDArray[np.int16]:
    return np.arange(1, frames * FRAME + 1).astype(np.int16) | 1  # never 0: silence is told from it


def placed(
    clock: Callable[[int], float], *, count: int = 500, step: int = 10_000, longest: int = DAY
) -> tuple[list[tuple[int, int]], Timeline]:
    """Runs of silence (place, length) in frames of 20 ms; checks that all the sound is there, in order."""
    timeline = Timeline(start=0.0, longest=longest)
    pcm, frames = sound(count), [(clock(n), FRAME) for n in range(count)]
    out: list[NDArray[np.int16] | int] = []
    for start in range(0, len(pcm), step):
        told = [frame for n, frame in enumerate(frames) if start <= n * FRAME < start + step]
        out += timeline.feed(told, pcm[start : start + step])
    out += timeline.finish()
    gaps, place = [], 0
    for piece in out:
        if isinstance(piece, int):
            gaps.append((place // FRAME, piece // FRAME))
            place += piece
        else:
            place += len(piece)
    np.testing.assert_array_equal(np.concatenate([piece for piece in out if not isinstance(piece, int)]), pcm)
    return gaps, timeline


CLOCKS: dict[str, tuple[Callable[[int], float], list[tuple[int, int]]]] = {
    "even": (lambda n: n * FRAME, []),
    "none": (lambda n: math.nan, []),
    "all zero": (lambda n: 0, []),
    "jitter": (lambda n: (n + (n * 7 % 15)) * FRAME, []),
    "bursts": (lambda n: n // 25 * 25 * FRAME, []),
    "a packet an hour ahead": (lambda n: n * FRAME + 3600 * SAMPLE_RATE * (n in (100, 300, 499)), []),
    "a packet an hour behind": (lambda n: n * FRAME - 3600 * SAMPLE_RATE * (n == 100), []),
    "a late start": (lambda n: (n + 150) * FRAME, [(0, 150)]),
    "a gap": (lambda n: (n + 100 * (n >= 200)) * FRAME, [(200, 100)]),
    "a gap under jitter": (lambda n: (n + 100 * (n >= 200) + n % 4) * FRAME, [(200, 100)]),
    "an hour's gap": (lambda n: (n + 180_000 * (n >= 200)) * FRAME, [(200, 180_000)]),
    "joined": (lambda n: n % 250 * FRAME, []),
    "joined, a gap in each": (lambda n: (n % 250 + 100 * (n % 250 >= 120)) * FRAME, [(120, 100), (470, 100)]),
    "zero for a while, then right": (lambda n: n * FRAME * (n > 200), []),
    "sound that falls behind, then a gap": (lambda n: (n * 0.9 + 100 * (n >= 400)) * FRAME, [(400, 50)]),
}


@pytest.mark.parametrize("step", [FRAME, 10_000, 10**6])
@pytest.mark.parametrize("name", CLOCKS)
def test_clocks(name: str, step: int) -> None:
    clock, expected = CLOCKS[name]
    gaps, timeline = placed(clock, step=step)
    assert gaps == expected
    assert timeline.joined == []


def test_a_jump_too_long_to_be_a_gap_joins_and_is_told() -> None:
    gaps, timeline = placed(lambda n: (n + 5000 * (n >= 200)) * FRAME, longest=JUMP)
    assert gaps == [] and timeline.joined == [200 * FRAME]


def test_without_a_word_on_the_start_the_first_frame_starts() -> None:
    timeline = Timeline(start=None, longest=DAY)
    pieces = [*timeline.feed([(5000.0, FRAME), (5000.0 + FRAME, FRAME)], sound(2)), *timeline.finish()]
    assert [len(piece) for piece in pieces if not isinstance(piece, int)] == [2 * FRAME] and len(pieces) == 1


def test_sound_that_no_frame_was_told_of_is_not_held_back() -> None:
    timeline = Timeline(start=0.0, longest=DAY)
    assert sum(len(piece) for piece in timeline.feed([], sound(3)) if not isinstance(piece, int)) == 3 * FRAME
