"""What the windows agree on: when somebody speaks, how many at once, and where another one begins.

Between these places lie the pieces, each of one voice: they are what the embedding network is asked about, once each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from whisper.speakers.frames import LOCAL, POWERSET, Classes, first_sample, runs, seconds_of

LONGEST_PIECE = 3.0
"""Seconds: what is longer is cut into equal parts, so that one missed change of speaker spoils little."""
SHORTEST_HEARD = 0.3
"""Seconds below which a voice cannot be told (equal error rate 3.7 % at 1 s, 0.01 % at 3 s)."""
_TOLERANCE = 3
"""Frames by which windows may differ about a change of speaker and still mean the same one."""
_AGREED = 0.5
"""Share of the windows that have to say so."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Frames [start, end) in which so many speak: 1, or 2 for two and more."""

    start: int
    end: int
    speakers: int

    @property
    def seconds(self) -> float:
        return seconds_of(self.end - self.start)

    @property
    def samples(self) -> tuple[int, int]:
        """Half-open, in the recording."""
        return first_sample(self.start), first_sample(self.end)

    @property
    def heard(self) -> bool:
        """Whether it is worth asking whose voice it is."""
        return self.speakers == 1 and self.seconds >= SHORTEST_HEARD


@dataclass(frozen=True, kw_only=True)
class Speech:
    """pieces: in order, without overlap; count: of each frame of the recording, how many speak"""

    pieces: tuple[Piece, ...]
    count: NDArray[np.uint8]


def speech_of(starts: Sequence[int], windows: Sequence[Classes]) -> Speech:
    """starts: first frame of each window; windows: the classes of its frames."""
    total = max(start + len(classes) for start, classes in zip(starts, windows, strict=True))
    covered, spoken, talking, changes = (np.zeros(total, np.float32) for _ in range(4))
    for start, classes in zip(starts, windows, strict=True):
        span, local = slice(start, start + len(classes)), POWERSET[classes]
        covered[span] += 1
        spoken[span] += local.any(axis=1)
        talking[span] += local.sum(axis=1)
        changes[span] += _near_changes(classes)
    covered = np.maximum(covered, 1)
    # that anybody speaks is decided before how many do
    count = np.where(spoken / covered > _AGREED, np.maximum(np.rint(talking / covered), 1), 0)
    count = np.minimum(count, LOCAL).astype(np.uint8)
    cuts = _cuts(changes / covered)
    return Speech(pieces=tuple(_pieces(np.minimum(count, 2), cuts)), count=count)


def _near_changes(classes: Classes) -> NDArray[np.bool_]:
    """Frames close to where one window goes from some speakers straight to others."""
    near = np.zeros(len(classes), bool)
    changed = (classes[1:] != classes[:-1]) & (classes[1:] > 0) & (classes[:-1] > 0)
    for at in np.flatnonzero(changed) + 1:
        near[max(0, at - _TOLERANCE) : at + _TOLERANCE + 1] = True
    return near


def _cuts(changes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Frames at which another speaker begins: the middle of those that most windows name."""
    cuts = np.zeros(len(changes), bool)
    for start, end in runs(changes >= _AGREED):
        here = changes[start:end]
        named = np.flatnonzero(here >= here.max() - 1e-6)
        cuts[start + int(named[len(named) // 2])] = True
    return cuts


def _pieces(kind: NDArray[np.uint8], cuts: NDArray[np.bool_]) -> list[Piece]:
    longest = round(LONGEST_PIECE / seconds_of(1))
    borders = np.flatnonzero(cuts[1:] | (kind[1:] != kind[:-1])) + 1
    found = []
    for start, end in runs(kind > 0):
        inner = borders[np.searchsorted(borders, start, "right") : np.searchsorted(borders, end)].tolist()
        for first, last in pairwise([start, *inner, end]):
            speakers, length = int(kind[first]), last - first
            # a third too long is still one piece
            parts = 1 if speakers != 1 or length <= 1.35 * longest else -(-length // longest)
            edges = np.linspace(first, last, parts + 1).round().astype(int).tolist()
            found += [Piece(start=a, end=b, speakers=speakers) for a, b in pairwise(edges)]
    return found
