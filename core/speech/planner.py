"""The chunk plan: speech regions in, chunks out, while the audio is still being decoded.

The encoder costs the same for every window, full or not, so regions are packed greedily to the limit and long
holes between them are spliced out. Where a window ends is decided from the regions between its start and
somewhat past its limit, and from nothing else: never from block sizes, and never from what came before the
start. So a planner restarted at the end of any stored chunk goes on with the very same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk, common

PLANNER_VERSION = "4"
"""Goes into the plan hash. Raise it with every change of this module, of core.speech.regions, core.speech.strategies or whisper.vad.silero that moves a cut."""

MARGIN = round(0.3 * SAMPLE_RATE)
"""Silence kept on each side of speech, at window edges and splices: VAD may clip words, and words must not run together."""

SPLICE = SAMPLE_RATE
"""Holes longer than this are spliced out down to two margins; shorter pauses are left as spoken. With 0.5 s and 0.2 s
kept on each side there are 3 % fewer windows, and 0.26 points more WER (14,000 words, the demo model)."""

CUT_SILENCE = round(0.15 * SAMPLE_RATE)
"""Shortest hole between (padded) regions that is a safe cut; below, it counts as speech."""

GOOD_SILENCE = round(0.5 * SAMPLE_RATE)
"""From this length on a hole is as good as any: likely the end of a sentence."""

WORTH = 8.0
"""Samples of window given up for each sample that the hole at the cut is longer. Measured on 30 minutes of sentences
with pauses of 0.2-0.9 s: as few windows as with 0; taking the longest hole at any price makes 6 % more."""

OVERLAP, OVERLAP_MOST = round(0.5 * SAMPLE_RATE), round(2.5 * SAMPLE_RATE)
"""How far each of two chunks reaches into the other where the cut goes through speech: at least 1 s is heard twice, and
somewhat more to the least-speech point there, since a window that opens or ends inside a word costs its neighbours too."""

NEAR = 0.7
"""Holes are looked for from this share of the window on."""

TAIL = 1.3
"""What is left at the end and is more than one window but less than this share is cut near its middle."""

SHORTEST, LONGEST = 5 * SAMPLE_RATE, 30 * SAMPLE_RATE
"""Bounds of a window: overlap and search range must fit in; the model's own window is 30 s."""


@dataclass(frozen=True)
class _Cut:
    """A decision: `at` ends the owned span, after `regions` whole regions; `through` speech or in a hole."""

    at: int
    regions: int
    through: bool


class ChunkPlanner:
    """Packs regions into chunks of at most `max_samples` heard samples.

    quietest: `RegionSource.quietest`, asked only where speech is longer than a window
    finds_speech: `RegionSource.finds_speech`: whether `Chunk.speech` can be told
    start, first_index: end and index + 1 of the last stored chunk, when a plan is continued. The regions are fed
        from the beginning of the audio all the same.

    Where a cut goes through speech, the chunk before reaches `overlap_after` past its end and the one behind
    `overlap_before` ahead of its start.
    """

    def __init__(
        self,
        max_samples: int,
        *,
        quietest: Callable[[int, int], int],
        finds_speech: bool = True,
        start: int = 0,
        first_index: int = 0,
    ) -> None:
        if not SHORTEST <= max_samples <= LONGEST:
            raise ValueError(f"a chunk has {SHORTEST // SAMPLE_RATE} to {LONGEST // SAMPLE_RATE} s of audio")
        self._max = max_samples
        self._reach = max(OVERLAP, min(OVERLAP_MOST, max_samples // 10))
        self._quietest = quietest
        self._finds_speech = finds_speech
        self._start = start
        self._index = first_index
        self._speech: list[Region] = []

    def feed(self, regions: Iterable[Region]) -> list[Chunk]:
        """Take final regions, in order; returns the chunks that are certain now."""
        for region in regions:
            joined = self._speech and region.start - self._speech[-1].end < CUT_SILENCE
            start = self._speech.pop().start if joined else region.start
            self._speech.append(Region(start=start, end=region.end))
        planned = []
        while self._length(heard := self._heard()) > self._max * TAIL:
            planned.append(self._take(self._near_limit(heard), heard))
        return planned

    def finish(self, total_samples: int) -> list[Chunk]:
        """The audio has ended: the rest of the plan. Empty when the chunks so far reach its end."""
        planned = []
        while self._length(heard := self._heard()) > self._max:
            near_end = self._length(heard) <= self._max * TAIL
            planned.append(self._take(self._near_middle(heard) if near_end else self._near_limit(heard), heard))
        if self._start < total_samples:
            planned.append(self._take(_Cut(total_samples, len(heard), through=False), heard))
        return planned

    def hears_from(self, settled: int) -> int:
        """No chunk to come hears anything before this sample. settled: `RegionSource.settled`"""
        first = next((region.start for region in self._speech if region.end > self._start), settled)
        # what is joined to speech before the start is cut through there
        return first - MARGIN if first - MARGIN >= self._start else max(0, self._start - self._reach)

    def _heard(self) -> list[int]:
        """Samples heard up to the end of each region when a window opens at the start; stops once it is decided."""
        passed = 0
        while passed < len(self._speech) - 1 and self._speech[passed].end <= self._start:
            passed += 1
        del self._speech[:passed]
        if self._speech and self._speech[0].end <= self._start:
            return []  # kept: what comes next may be joined to it
        heard: list[int] = []
        for region in self._speech:
            if not heard:
                heard.append(region.end - self._opening())
            else:
                hole = region.start - self._speech[len(heard) - 1].end
                heard.append(heard[-1] + (hole if hole <= SPLICE else 2 * MARGIN) + region.samples)
            if heard[-1] > self._max * TAIL:
                break
        return heard

    @staticmethod
    def _length(heard: list[int]) -> int:
        return heard[-1] if heard else 0

    def _opening(self) -> int:
        """The first sample heard: a margin before speech, or the overlap where the cut before went through it."""
        first = self._speech[0].start
        if first >= self._start:
            return max(self._start, first - MARGIN)
        return max(first, self._quietest(max(0, self._start - self._reach), max(0, self._start - OVERLAP)))

    def _ending(self, cut: int, limit: int) -> int:
        """The last sample heard where a cut goes through speech; its region ends at `limit`."""
        near, far = cut + OVERLAP, cut + self._reach
        at = self._quietest(near, far)
        return min(limit, at if at < far else near)  # a source that knows no quiet places names the end of any range

    def _near_limit(self, heard: list[int]) -> _Cut:
        low, high = round(self._max * NEAR), self._max
        return self._best_hole(heard, low, high, lambda at: at) or self._through(heard, low, high - self._reach)

    def _near_middle(self, heard: list[int]) -> _Cut:
        total = heard[-1]
        low, high = round(total * 0.3), round(total * 0.7)
        return self._best_hole(heard, low, high, lambda at: -abs(at - total // 2)) or self._through(
            heard, round(total * 0.4), round(total * 0.6)
        )

    def _best_hole(self, heard: list[int], low: int, high: int, fit: Callable[[int], float]) -> _Cut | None:
        """The hole that ends between `low` and `high` heard samples, is long, and fits best; the latest of equals."""
        best, best_score = None, 0.0
        for n, (before, after) in enumerate(pairwise(self._speech)):
            if n >= len(heard) or heard[n] > high:
                break
            score = WORTH * min(after.start - before.end, GOOD_SILENCE) + fit(heard[n])
            if heard[n] >= low and (best is None or score >= best_score):
                best, best_score = _Cut((before.end + after.start) // 2, n + 1, through=False), score
        return best

    def _through(self, heard: list[int], low: int, high: int) -> _Cut:
        """The least-speech point between `low` and `high` heard samples, all of which lie in one region."""
        n = next(n for n, value in enumerate(heard) if value > high)
        region = self._speech[n]
        origin = region.end - heard[n]  # heard samples -> timeline, inside this region
        at = self._quietest(max(region.start, self._start, origin + low), origin + high)
        return _Cut(at, n + 1, through=True)

    def _take(self, cut: _Cut, heard: list[int]) -> Chunk:
        taken = self._speech[: cut.regions]
        before = after = 0
        spans: list[Region] = []
        if taken:
            opening = self._opening()
            before = max(0, self._start - opening)
            if cut.through:
                after = self._ending(cut.at, taken[-1].end) - cut.at
                end = cut.at + after
            else:
                end = min(taken[-1].end + MARGIN, cut.at, taken[-1].end + self._max - heard[cut.regions - 1])
            for left, right in pairwise(taken):
                if right.start - left.end > SPLICE:
                    spans.append(Region(start=opening, end=left.end + MARGIN))
                    opening = right.start - MARGIN
            spans.append(Region(start=opening, end=end))
        chunk = Chunk(
            index=self._index,
            start=self._start,
            end=cut.at,
            regions=tuple(spans),
            overlap_before=before,
            overlap_after=after,
            speech=common(taken, spans) if self._finds_speech else None,
        )
        self._index += 1
        self._start = cut.at
        return chunk
