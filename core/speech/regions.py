"""Where speech is: regions out of a stream of scores, one score per 32 ms frame.

The hysteresis is Silero VAD's own (`VADIterator` / `get_speech_timestamps`): speech opens at `on`,
closes when the score has stayed below `off` for `min_silence`, and is kept from `min_speech` on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm, Region

FRAME = 512
"""Samples per score: the window of Silero VAD v5 and v6 at 16 kHz (32 ms)."""

PIECE = 10 * SAMPLE_RATE
"""Unbroken speech is handed over in touching pieces of this length, so that nobody waits for its end."""

Score = Callable[[Pcm], NDArray[np.float32]]
"""PCM of a whole number of frames -> one score in [0, 1] per frame, shape (n / 512,), float32."""


class RegionSource(Protocol):
    """Finds speech in PCM that arrives block by block. What CHUNK_STRATEGY chooses."""

    finds_speech: bool
    """Whether regions are speech that was found, or just all there is."""

    def feed(self, pcm: Pcm) -> list[Region]:
        """Take the next block, of any length; returns the regions that are final now, in order.

        Regions are disjoint. Those that touch (`a.end == b.start`) are one stretch of speech.
        """
        ...

    def finish(self) -> list[Region]:
        """The audio has ended: the last regions, clipped to it."""
        ...

    def quietest(self, start: int, end: int) -> int:
        """Where between two samples already fed speech is least likely: a place to cut, in [start, end]."""
        ...

    def settled(self) -> int:
        """No region to come begins before this sample."""
        ...

    def left_out(self, heard: Sequence[Region]) -> list[Region]:
        """Once the audio has ended: stretches outside of what is heard that may be speech too."""
        ...


class SpeechRegions:
    """Regions out of speech probabilities. The result does not depend on how they are split into blocks.

    on, off: probability that opens a region, and below which it may close
    min_speech, min_silence, pad: seconds. `pad` widens each region on both sides; it is at most half of
        `min_silence`, so that padded regions never overlap. The planner adds a wider margin of its own.

    Keeps one byte per frame (1.1 MB for 10 hours) for `quietest`.
    """

    def __init__(
        self,
        *,
        on: float = 0.5,
        off: float = 0.35,
        min_speech: float = 0.25,
        min_silence: float = 0.1,
        pad: float = 0.032,
    ) -> None:
        if not 0 < off <= on < 1:
            raise ValueError("0 < off <= on < 1 must hold")
        if 2 * pad > min_silence:
            raise ValueError("pad must not exceed half of min_silence: regions would overlap")
        self._on, self._off = on, off
        self._min_speech, self._min_silence, self._pad = (
            round(s * SAMPLE_RATE) for s in (min_speech, min_silence, pad)
        )
        self._scores = bytearray()
        self._start: int | None = None  # of the running speech
        self._quiet: int | None = None  # where the score fell below `off` inside it
        self._given = 0  # samples up to which the running speech has been handed over

    def feed(self, probabilities: Sequence[float] | NDArray[np.float32]) -> list[Region]:
        """Take the next frames' probabilities; returns the regions that are final now."""
        values = np.asarray(probabilities, np.float32)
        found: list[Region] = []
        position = len(self._scores) * FRAME
        for probability in values.tolist():
            if self._start is None:
                if probability >= self._on:
                    self._start, self._quiet, self._given = position, None, 0
            elif probability >= self._on:
                self._quiet = None
            elif probability < self._off and self._quiet is None:
                self._quiet = position
            position += FRAME
            if self._start is None:
                continue
            if self._quiet is not None and position - self._quiet >= self._min_silence:
                found += self._close(self._quiet, position)
            elif self._quiet is None and position - max(self._start, self._given) >= PIECE:
                begin = self._begin(self._start)
                self._given = begin + PIECE
                found.append(Region(start=begin, end=self._given))
        self._scores += np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8).tobytes()
        return found

    def finish(self, total_samples: int) -> list[Region]:
        """The audio has `total_samples` (its last frame may have been padded): the region still open."""
        if self._start is None:
            return []
        end = len(self._scores) * FRAME if self._quiet is None else self._quiet
        return self._close(min(end, total_samples), total_samples)

    def settled(self) -> int:
        """No region to come begins before this sample."""
        return max(0, len(self._scores) * FRAME - self._pad) if self._start is None else self._begin(self._start)

    def quietest(self, start: int, end: int) -> int:
        """Middle of the five frames (160 ms) with the least mean probability; the latest of equals."""
        first, last = -(-start // FRAME), end // FRAME
        if first >= last:
            return (start + end) // 2
        reach = 2
        low = max(0, first - reach)
        around = np.frombuffer(bytes(self._scores[low : last + reach]), np.uint8).astype(np.int32)
        missing = (last + reach) - (low + len(around))
        around = np.pad(around, (reach - (first - low), missing), mode="edge")
        sums = np.convolve(around, np.ones(2 * reach + 1, np.int32), "valid")
        best = len(sums) - 1 - int(np.argmin(sums[::-1]))
        return min(end, (first + best) * FRAME + FRAME // 2)

    def _begin(self, start: int) -> int:
        return self._given or max(0, start - self._pad)

    def _close(self, end: int, limit: int) -> list[Region]:
        assert self._start is not None
        start, begin = self._start, self._begin(self._start)
        kept = self._given or end - start >= self._min_speech
        self._start = self._quiet = None
        end = min(end + self._pad, limit)
        return [Region(start=begin, end=end)] if kept and end > begin else []


class ScoredRegions:
    """A RegionSource over any frame score: Silero VAD (`vad`) or loudness (`silence`).

    left_out: what there is to say about the rest
    """

    finds_speech = True

    def __init__(
        self, score: Score, regions: SpeechRegions, left_out: Callable[[Sequence[Region]], list[Region]] = lambda _: []
    ) -> None:
        self._score, self._regions = score, regions
        self.left_out = left_out
        self._rest: Pcm = np.zeros(0, np.int16)
        self._total = 0

    def feed(self, pcm: Pcm) -> list[Region]:
        self._total += len(pcm)
        if len(self._rest):
            pcm = np.concatenate([self._rest, pcm])
        whole = len(pcm) // FRAME * FRAME
        self._rest = pcm[whole:].copy()
        return self._regions.feed(self._score(pcm[:whole])) if whole else []

    def finish(self) -> list[Region]:
        found: list[Region] = []
        if len(self._rest):
            found = self._regions.feed(self._score(np.pad(self._rest, (0, FRAME - len(self._rest)))))
            self._rest = self._rest[:0]
        clipped = [Region(start=r.start, end=min(r.end, self._total)) for r in found if r.start < self._total]
        return clipped + self._regions.finish(self._total)

    def settled(self) -> int:
        return self._regions.settled()

    def quietest(self, start: int, end: int) -> int:
        return self._regions.quietest(start, end)
