"""The segmentation network's frames: where they lie in the recording, and which of its three local speakers they hold.

pyannote segmentation 3.0 (Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization",
2023) looks at 10 s and says for each frame of 17 ms which of up to three speakers talk, at most two of them at once. Who
is the first, second and third is its own choice, anew in each window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE

WINDOW = 10 * SAMPLE_RATE
"""Samples it looks at."""
HOP, FIELD = 270, 991
"""Samples from one frame to the next, and that one frame sees."""
STEP = 148
"""Frames from one window to the next (2.5 s): each moment is heard by four of them. With 5 s the error rate rises by a point
and one count of 23 is wrong; with 1 s nothing is gained for three times the time (docs/explanation/speakers.md)."""
LOCAL = 3

POWERSET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], bool)
"""Class of a frame -> who of the window's three talks."""

Classes = NDArray[np.uint8]
"""Of each frame, 0 to 6."""


def window_starts(samples: int) -> list[int]:
    """Frames at which windows begin, so that each moment of a recording is in one; none of what is too short for a frame.

    The last one ends with the recording (to a frame).
    """
    if samples < FIELD:
        return []
    last = max(0, samples - WINDOW) // HOP
    starts = list(range(0, last + 1, STEP))
    return starts if starts[-1] == last else [*starts, last]


def first_sample(frame: int) -> int:
    """Where the middle of what a frame sees begins to be its own."""
    return max(0, frame * HOP + FIELD // 2 - HOP // 2)


def seconds_of(frames: int) -> float:
    """How long so many frames last."""
    return frames * HOP / SAMPLE_RATE


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where it is true: half-open spans in order."""
    steps = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
