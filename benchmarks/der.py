"""Diarization error rate: how much of what is spoken was missed, made up, or given to somebody else.

As NIST's md-eval and pyannote.metrics count it, overlap scored, over exact intervals: speakers are matched one to one so that
they share most time. `collar` seconds on each side of every border of the reference are not looked at (pyannote.metrics
means both sides together). Held against pyannote.metrics 4.2 on random pairs: tests/data/der.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Spoken = tuple[float, float, str]
"""From, to (seconds), who."""


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """Seconds."""

    total: float
    missed: float
    false: float
    confused: float

    @property
    def rate(self) -> float:
        """Per cent."""
        return 100 * (self.missed + self.false + self.confused) / self.total if self.total else 0.0

    @property
    def confusion(self) -> float:
        """Per cent."""
        return 100 * self.confused / self.total if self.total else 0.0

    def __add__(self, other: ErrorRate) -> ErrorRate:
        return ErrorRate(
            total=self.total + other.total,
            missed=self.missed + other.missed,
            false=self.false + other.false,
            confused=self.confused + other.confused,
        )


NOTHING = ErrorRate(total=0.0, missed=0.0, false=0.0, confused=0.0)


def error_rate(reference: Sequence[Spoken], found: Sequence[Spoken], *, collar: float = 0.0) -> ErrorRate:
    borders = {edge for start, end, _ in (*reference, *found) for edge in (start, end)}
    blind = [edge for start, end, _ in reference for edge in (start, end)] if collar else []
    borders |= {edge + side for edge in blind for side in (-collar, collar)}
    edges = np.array(sorted(borders))
    if len(edges) < 2:
        return NOTHING
    middles, seconds = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    for edge in blind:
        seconds[abs(middles - edge) < collar] = 0.0
    theirs, ours = _active(reference, middles), _active(found, middles)
    spoken, heard = theirs.sum(axis=0), ours.sum(axis=0)
    shared = (theirs * seconds) @ ours.T.astype(float)
    right = sum(float(shared[row, column]) for row, column in best_match(shared).items())
    return ErrorRate(
        total=float((spoken * seconds).sum()),
        missed=float((np.maximum(spoken - heard, 0) * seconds).sum()),
        false=float((np.maximum(heard - spoken, 0) * seconds).sum()),
        confused=float((np.minimum(spoken, heard) * seconds).sum()) - right,
    )


def read_rttm(path: Path) -> list[Spoken]:
    found = []
    for line in path.read_text("utf-8").splitlines():
        fields = line.split()
        if fields[:1] == ["SPEAKER"]:
            start = float(fields[3])
            found.append((start, start + float(fields[4]), fields[7]))
    return found


def _active(spoken: Iterable[Spoken], middles: NDArray[np.float64]) -> NDArray[np.int64]:
    """Who speaks at which moment: shape (speakers, moments). Somebody who speaks twice at once speaks once."""
    spoken = list(spoken)
    rows = {who: n for n, who in enumerate(dict.fromkeys(who for _, _, who in spoken))}
    active = np.zeros((len(rows), len(middles)), np.int64)
    for start, end, who in spoken:
        active[rows[who], np.searchsorted(middles, start) : np.searchsorted(middles, end)] = 1
    return active


def best_match(shared: NDArray[np.float64]) -> dict[int, int]:
    """Row -> column, one to one, so that they share most: over all subsets of the fewer ones, which are few."""
    if shared.shape[0] < shared.shape[1]:
        return {row: column for column, row in best_match(shared.T).items()}
    best: dict[int, tuple[float, dict[int, int]]] = {0: (0.0, {})}
    for n, row in enumerate(shared):
        taken = dict(best)
        for used, (time, match) in best.items():
            for column, more in enumerate(row):
                if not used >> column & 1 and time + more > taken.get(used | 1 << column, (-1.0, {}))[0]:
                    taken[used | 1 << column] = (time + more, match | {n: column})
        best = taken
    return max(best.values(), key=lambda one: one[0])[1]
