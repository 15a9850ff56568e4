"""The last stretch of one channel's samples, by their positions in the stream."""

from __future__ import annotations

from collections import deque

import numpy as np

from core.audio.samples import Pcm, Region


class Tape:
    """begin: position of the first sample that will come; first, end: what can be read is between them"""

    def __init__(self, begin: int = 0) -> None:
        self._pieces: deque[Pcm] = deque()
        self.first = self.end = begin

    def add(self, pcm: Pcm) -> None:
        if len(pcm):
            self._pieces.append(np.ascontiguousarray(pcm))
            self.end += len(pcm)

    def read(self, region: Region) -> Pcm:
        """Samples that are still there."""
        if not self.first <= region.start <= region.end <= self.end:
            raise ValueError(f"{region} is not on the tape, which has [{self.first}, {self.end})")
        pieces, at = [], self.first
        for piece in self._pieces:
            if at < region.end and at + len(piece) > region.start:
                pieces.append(piece[max(0, region.start - at) : region.end - at])
            at += len(piece)
        return np.concatenate([np.empty(0, np.int16), *pieces])

    def last(self, samples: int) -> Pcm:
        return self.read(Region(start=self.end - samples, end=self.end))

    def forget(self, before: int) -> None:
        """What lies before a position will not be read any more."""
        while self._pieces and self.first + len(self._pieces[0]) <= before:
            self.first += len(self._pieces.popleft())
