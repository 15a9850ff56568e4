"""When decoded sound plays: what its timestamps say, as far as they can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm

JITTER = SAMPLE_RATE // 10
"""Timestamps off by so little mean nothing; the limit of ffmpeg's own resampler (`min_hard_comp`, 0.1 s)."""

LOOK = 2 * SAMPLE_RATE
"""Sound that has to agree on a gap or a new start: bursts of packets and wild timestamps among good ones do not."""

LONE = SAMPLE_RATE // 2
"""Less sound than this, the last of a file, proves no gap."""

JUMP = 10 * SAMPLE_RATE
"""In containers whose clock may start anew, a longer jump is a new clock and no gap (ffmpeg's `dts_delta_threshold`, 10 s)."""


class Timeline:
    """Puts sound where it plays. Every sample of what comes in comes out, in order; between them may be silence.

    * Timestamps that go back, as where recordings were joined, start a new clock: sound follows what came before.
    * A gap becomes silence if all the sound of the next LOOK agrees on it, and as much as all of it agrees on.
    * Under any other timestamps sound follows sound. Where it has fallen behind its clock, the next gap is shorter.

    start: timestamp of the beginning, in samples; None: that of the first frame
    longest: gaps up to so many samples are filled; at a longer one the parts are joined and the place noted in `joined`
    """

    def __init__(self, *, start: float | None, longest: int) -> None:
        self._longest = longest
        self._started = start is not None
        self._frames = np.empty((0, 2))
        self._pcm = np.empty(0, np.int16)
        self._place = 0  # samples given out, silence included
        self._shift = -(start or 0.0)  # added to timestamps: where the clock in force starts
        self._skew = 0.0  # how much later than it did the last frame wanted to play
        #: samples given out before each gap that was too long to be one
        self.joined: list[int] = []

    def feed(self, frames: Sequence[tuple[float, int]], pcm: Pcm) -> Iterator[Pcm | int]:
        """Take what was decoded; yields samples, and lengths of silence.

        frames: when they want to play (in samples; nan: right after what came before) and how many samples they have;
            not later than their samples
        """
        if frames:
            self._frames = np.concatenate([self._frames, np.array(frames, np.float64)])
            if not self._started:
                self._started, self._shift = True, -float(self._frames[0, 0])
        self._pcm = np.concatenate([self._pcm, pcm]) if len(self._pcm) else pcm
        yield from self._put(last=False)
        if not len(self._frames) and len(self._pcm):
            yield self._take(len(self._pcm))

    def finish(self) -> Iterator[Pcm | int]:
        """The sound has ended: what was held back."""
        yield from self._put(last=True)
        if len(self._pcm):
            yield self._take(len(self._pcm))

    def _put(self, *, last: bool) -> Iterator[Pcm | int]:
        here = int((np.cumsum(self._frames[:, 1]) <= len(self._pcm)).sum())
        while here:
            skews, ends = self._skews(here)
            even = self._even(skews)
            if not even:
                look = int(np.searchsorted(ends, LOOK)) + 1
                if look > here and not last:
                    break
                gap = self._gap(skews[:look], last=look > here)
                if gap:
                    yield gap
                    self._place += gap
                self._skew = float(self._frames[0, 0]) + self._shift - self._place
                even = 1
            else:
                self._skew = float(skews[even - 1])
            yield self._take(int(ends[even - 1]))
            self._frames = self._frames[even:]
            here -= even

    def _skews(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How much later each of the next frames wants to play than right after one another, and where they end."""
        pts, samples = self._frames[:count].T
        ends = np.cumsum(samples)
        skews = pts + self._shift - self._place - (ends - samples)
        return np.where(np.isnan(skews), 0.0, skews), ends

    def _even(self, skews: NDArray[np.float64]) -> int:
        """The number of frames that ask for nothing but to follow one another."""
        steps = np.diff(skews, prepend=self._skew)
        odd = (np.abs(skews) > JITTER) & ~((skews < 0) & (np.abs(steps) <= JITTER))
        return int(odd.argmax()) if odd.any() else len(skews)

    def _gap(self, skews: NDArray[np.float64], *, last: bool) -> int:
        """Silence before the next frame, by its skew and those after it; sets a new clock where one starts."""
        if skews[0] < 0:
            if min(self._skew, 0.0) - skews.max() > JITTER:
                self._shift -= float(skews.max())
            return 0
        restarts = np.flatnonzero(skews < -LOOK)  # what starts anew soon after does not speak against this gap
        gap = int(skews[: restarts[0] if len(restarts) else None].min())
        if gap <= JITTER or (last and len(self._pcm) < LONE):
            return 0
        if gap <= self._longest:
            return gap
        self.joined.append(self._place)
        self._shift -= gap
        return 0

    def _take(self, samples: int) -> Pcm:
        taken, self._pcm = self._pcm[:samples], self._pcm[samples:]
        self._place += samples
        return taken
