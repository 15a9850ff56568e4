"""When decoded sound plays: what its timestamps say, as far as they can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from core.chunks import SAMPLE_RATE
from core.ffmpeg_log import Frame

Pcm = NDArray[np.int16]

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
        self._frames: list[Frame] = []
        self._pcm = np.empty(0, np.int16)
        self._place = 0  # samples given out, silence included
        self._started = start is not None
        self._shift = -(start or 0.0)  # added to timestamps: where the clock in force starts
        self._skew = 0.0  # how much later than it did the last frame wanted to play
        #: samples given out before each gap that was too long to be one
        self.joined: list[int] = []

    def feed(self, frames: Sequence[Frame], pcm: Pcm) -> Iterator[Pcm | int]:
        """Take what was decoded; yields samples, and lengths of silence. Frames must not come later than their samples."""
        self._frames += frames
        if not self._started:
            for first in (frame.pts for frame in frames if frame.pts is not None):
                self._started, self._shift = True, -first
                break
        self._pcm = np.concatenate([self._pcm, pcm]) if len(self._pcm) else pcm
        yield from self._put(last=False)
        if not self._frames and len(self._pcm):
            yield self._take(len(self._pcm))

    def finish(self) -> Iterator[Pcm | int]:
        """The sound has ended: what was held back."""
        yield from self._put(last=True)
        if len(self._pcm):
            yield self._take(len(self._pcm))

    def _put(self, *, last: bool) -> Iterator[Pcm | int]:
        here = np.cumsum([frame.samples for frame in self._frames]) <= len(self._pcm)
        ready, done = self._frames[: int(here.sum())], 0
        while done < len(ready):
            even = self._even(ready, done)
            if even == done:
                skews, enough = self._skews(ready, done)
                if not (enough or last):
                    break
                if gap := self._gap(skews, last=not enough):
                    yield gap
                    self._place += gap
                self._skew = (ready[done].pts or 0.0) + self._shift - self._place
                even = done + 1
            yield self._take(sum(frame.samples for frame in ready[done:even]))
            done = even
        del self._frames[:done]

    def _even(self, frames: Sequence[Frame], start: int) -> int:
        """The end of the run of frames from `start` whose timestamps ask for nothing but to follow one another."""
        place = self._place
        for n in range(start, len(frames)):
            pts = frames[n].pts
            if pts is not None:
                skew = pts + self._shift - place
                if abs(skew) > JITTER and not (skew < 0 and abs(skew - self._skew) <= JITTER):
                    return n
                self._skew = skew
            place += frames[n].samples
        return len(frames)

    def _skews(self, frames: Sequence[Frame], start: int) -> tuple[NDArray[np.float64], bool]:
        """How much later each frame of the next LOOK wants to play than without a gap; and whether that much is there."""
        skews, sound = [], 0
        for frame in frames[start:]:
            if sound >= LOOK:
                break
            if frame.pts is not None:
                skews.append(frame.pts + self._shift - self._place - sound)
            sound += frame.samples
        return np.array(skews), sound >= LOOK

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
