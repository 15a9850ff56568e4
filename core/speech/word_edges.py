"""Where words begin and end: what an aligner says, held against where anybody speaks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]
"""(start, end) in seconds."""

Costs = NDArray[np.float64]

STEP = 0.01
"""Seconds of a frame."""

APART = 1.0
"""Seconds between two words beyond which neither says anything about where the other lies."""

TOGETHER = 120
"""Most words that are laid at once (40 s of speech): more are parted at their longest pause."""

SHORTEST = 0.03
"""Seconds of a word."""

BELIEVED = 0.3
"""Share of their time that must be speech for words to be moved onto it: what a detector does not hear at all can be speech."""

_PULL, _SILENT, _UNSAID, _PAUSE = 2.0, 4.0, 4.0, 0.1
"""What a frame costs per second, by each second that it lies outside of where the aligner has its word; silence in a word, per
second; speech outside of words, per second; and each pause between two words."""


def placed(words: Sequence[Span], speech: Sequence[Span]) -> list[Span]:
    """The words in the same order, laid on the speech as cheaply as can be.

    words: as an aligner has them, in order; speech: where anybody speaks

    Each frame of 10 ms is of one word or of none, and the sum of what the frames cost is the least there is, by dynamic
    programming over words and frames. So a boundary that the aligner puts into a pause, or near one, comes to lie on
    its edges, and no word stretches over it; a boundary amid speech stays. Times are monotonic. Words that have less than
    `SHORTEST` each stay as they are.
    """
    speech = _joined(speech)
    found: list[Span] = []
    for first, last in _groups(words):
        group = words[first:last]
        begin, stop = min(start for start, _ in group), max(end for _, end in group)
        floor = max(found[-1][1] if found else 0.0, begin - APART / 2)
        ceiling = min(stop + APART / 2, max(stop, words[last][0])) if last < len(words) else stop + APART / 2
        frames = _spoken(speech, floor, ceiling)
        heard = frames.sum() * STEP >= BELIEVED * sum(end - start for start, end in group)
        laid = _cheapest(group, floor, frames) if heard else []
        found += [(floor + a * STEP, floor + b * STEP) for a, b in laid] or _in_order(group, floor)
    return found


def _in_order(words: Sequence[Span], least: float) -> list[Span]:
    found = []
    for start, end in words:
        begin = max(start, least)
        least = max(end, begin)
        found.append((begin, least))
    return found


def _groups(words: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Half-open ranges of words that lie near each other."""
    pauses = [b[0] - a[1] for a, b in pairwise(words)]
    first = 0
    for last in range(1, len(words) + 1):
        while last - first > TOGETHER:
            half = first + TOGETHER // 2
            cut = max(range(half, last), key=lambda n: pauses[n - 1])
            yield first, cut
            first = cut
        if last == len(words) or pauses[last - 1] >= APART:
            yield first, last
            first = last


def _joined(spans: Sequence[Span]) -> list[Span]:
    """In order, and disjoint."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _spoken(speech: Sequence[Span], start: float, end: float) -> Costs:
    """Of each frame the share that is speech."""
    limits = start + STEP * np.arange(max(0, round((end - start) / STEP)) + 1)
    said = np.zeros(len(limits))
    first = bisect_left(speech, start, key=lambda span: span[1])
    for a, b in speech[first : bisect_left(speech, end, key=lambda span: span[0])]:
        said += np.clip(limits - a, 0.0, b - a)
    shares: Costs = np.diff(said) / STEP
    return shares


def _cheapest(words: Sequence[Span], origin: float, speech: Costs) -> list[tuple[int, int]]:
    """Of each word the first frame and the one behind its last; nothing where they do not fit.

    speech: of each frame from `origin` on

    Costs of spans of frames are differences of running sums, so the best start for each possible end of a word is a
    running minimum: a word costs a few passes over its group's frames.
    """
    least, frames = round(SHORTEST / STEP), len(speech)
    if frames < least * len(words):
        return []
    times = origin + STEP * (np.arange(frames) + 0.5)
    unsaid = _sums(_UNSAID * speech)
    silent = _SILENT * (1 - speech)
    entered = unsaid
    """Cost of all up to a frame that is the next word's first."""
    starts, ends = [], []
    for start, end in words:
        own = _sums(silent + _PULL * np.maximum(0.0, np.maximum(start - times, times - end)))
        starts.append(entered - own)
        left = own + _running(starts[-1], least)
        ends.append((left, left - unsaid))
        entered = np.minimum(left, _PAUSE + unsaid + _running(ends[-1][1], 1))
    found: list[tuple[int, int]] = []
    end = int(np.argmin(ends[-1][1]))
    for n in range(len(words) - 1, -1, -1):
        start = int(np.argmin(starts[n][: end - least + 1]))
        found.append((start, end))
        if n:
            left, quiet = ends[n - 1]
            before = int(np.argmin(quiet[:start]))
            end = start if left[start] <= _PAUSE + unsaid[start] + quiet[before] else before
    return found[::-1]


def _sums(costs: Costs) -> Costs:
    """Of so many frames from the first on, in seconds times cost."""
    return np.concatenate([[0.0], np.cumsum(costs) * STEP])


def _running(costs: Costs, behind: int) -> Costs:
    """The least of all that lie so many frames behind, or more."""
    least = np.full(len(costs), np.inf)
    least[behind:] = np.minimum.accumulate(costs)[:-behind]
    return least
