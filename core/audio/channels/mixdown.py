"""One channel of two (or each by itself), and no constant offset in it: what the engine and the search for speech want to hear."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Protocol

import numpy as np

from core.audio.channels.two_talks import TwoTalks
from core.audio.samples import SAMPLE_RATE, Pcm

WINDOW = SAMPLE_RATE // 2
"""Samples over which it is looked whether the channels cancel each other."""

CANCELS = 0.1
"""A mix with less than this share of the louder channel's energy (-10 dB) has lost it. Uncorrelated channels leave 0.5 of
it, one silent channel 0.25."""

AUDIBLE = 30.0
"""Root mean square (of 32768, -61 dBFS) from which it matters what is lost."""

BLOCK = SAMPLE_RATE // 10
"""Samples per look at the offset."""

BLOCKS = 51
"""The offset is the median of so many blocks, the last five seconds: voices have slow movements of their own, pauses do not."""

NO_OFFSET = 32
"""Offsets up to this (of 32768, 0.1 %) stay: recordings without one come out sample for sample as they are."""


class Cleaner(Protocol):
    """What is made of decoded samples. Some of it comes with a later call."""

    def feed(self, pcm: Pcm) -> Pcm:
        """The next samples, those of all channels at one moment side by side, shape (n * channels,)."""
        ...

    def finish(self) -> Pcm:
        """The sound has ended: what was held back."""
        ...


class Together:
    """One channel of two."""

    def __init__(self, mixdown: Mixdown) -> None:
        self._mixdown, self._offset = mixdown, OffsetRemover()

    def feed(self, pcm: Pcm) -> Pcm:
        return self._offset.feed(self._mixdown.feed(pcm))

    def finish(self) -> Pcm:
        return np.concatenate([self._offset.feed(self._mixdown.finish()), self._offset.finish()])


class EachAlone:
    """All channels, each by itself: shape (n, channels)."""

    def __init__(self, channels: int) -> None:
        self._offsets = [OffsetRemover() for _ in range(channels)]

    def feed(self, pcm: Pcm) -> Pcm:
        channels = pcm.reshape(-1, len(self._offsets)).T
        return np.stack([offset.feed(one) for offset, one in zip(self._offsets, channels, strict=True)], axis=1)

    def finish(self) -> Pcm:
        return np.stack([offset.finish() for offset in self._offsets], axis=1)


class Mixdown:
    """The mean of two channels; where they cancel each other (one has its polarity reversed) the louder one alone.

    talks: who wants to know whether they hold two
    """

    def __init__(self, talks: TwoTalks | None = None) -> None:
        self.talks = talks
        self._rest = np.empty((0, 2), np.int16)
        self._lost = 0

    @property
    def lost_seconds(self) -> float:
        """How much sound the mean alone would have lost."""
        return self._lost / SAMPLE_RATE

    def feed(self, pcm: Pcm) -> Pcm:
        """Interleaved samples of both channels, shape (2 n,) -> mono; up to WINDOW of it comes with the next call."""
        both = np.concatenate([self._rest, pcm.reshape(-1, 2)])
        whole = len(both) // WINDOW * WINDOW
        self._rest = both[whole:].copy()
        return self._mixed(both[:whole])

    def finish(self) -> Pcm:
        """The sound has ended: what was held back."""
        return self._mixed(self._rest)

    def _mixed(self, both: Pcm) -> Pcm:
        left, right = both[:, 0], both[:, 1]
        if np.array_equal(left, right):
            if self.talks:
                self.talks.same(len(left), float(left.var()) if len(left) else 0.0)
            return left.copy()
        mono = ((left.astype(np.int32) + right) >> 1).astype(np.int16)
        for start in range(0, len(both), WINDOW):
            part = slice(start, start + WINDOW)
            channels = both[part].astype(np.float32)
            energies = channels.var(axis=0)
            louder = int(energies.argmax())
            if energies[louder] <= AUDIBLE**2:
                continue
            mixed = channels.mean(axis=1).var()
            if mixed < CANCELS * energies[louder]:
                mono[part] = both[part, louder]
                self._lost += len(channels)
            if self.talks:
                self.talks.add(both[part], energies, float(mixed))
        return mono


class OffsetRemover:
    """Takes out what cheap converters and 8-bit files add to every sample."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.int16)
        self._weights = np.rint(4096 * np.hanning(BLOCK))  # whole numbers: sums are exact, whatever their order
        self._means = deque[float](maxlen=BLOCKS)
        self._last = 0.0  # what was taken out at the end of the last block

    def feed(self, pcm: Pcm) -> Pcm:
        """As many samples as whole blocks are there for; the rest comes with the next call."""
        pcm = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        whole = len(pcm) // BLOCK * BLOCK
        self._rest = pcm[whole:].copy()
        sums = pcm[:whole].reshape(-1, BLOCK).astype(np.float64) @ self._weights
        offsets = [self._follow(mean) for mean in (sums / self._weights.sum()).tolist()]
        return self._without(pcm[:whole], offsets)

    def finish(self) -> Pcm:
        """The sound has ended: what was held back."""
        offset = self._last
        if len(self._rest) and not self._means:
            offset = self._follow(float(self._rest.mean()))
        return self._without(self._rest, [offset])

    def _follow(self, mean: float) -> float:
        """The offset to take out at the end of a block."""
        self._means.append(mean)
        offset = statistics.median(self._means)
        found = offset if abs(offset) > NO_OFFSET else 0.0
        if len(self._means) == 1:
            self._last = found
        return found

    def _without(self, pcm: Pcm, offsets: list[float]) -> Pcm:
        """The samples less offsets that change evenly, between those at the ends of equal parts."""
        steps = [self._last, *offsets]
        self._last = steps[-1]
        if not any(steps):
            return pcm
        ends = np.linspace(0, len(pcm), len(steps))
        offset = np.rint(np.interp(np.arange(1, len(pcm) + 1), ends, steps))
        return np.clip(pcm - offset, -32768, 32767).astype(np.int16)
