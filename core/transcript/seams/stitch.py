"""Joining two neighbours that both heard the second around a cut through speech.

Words that both sides heard at the same time anchor the seam (after the multi-word anchor of sagascript, PR #160):
up to it the left side speaks, behind it the right side. Longest-common-subsequence de-duplication is not used: it
fails where the decoder rewords the overlap. Without an anchor each word belongs to the side that owns its middle;
a word that would then be heard by nobody is kept, and the seam is flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.transcript.values import Segment, Word

SAME_WORD = 0.25
"""Seconds between the middles of one word as two windows time it."""

SAME_PHRASE = 0.6
"""The same for each word of a run of several equal words, which is unlikely by chance."""

SLACK = 0.3
"""Seconds that the engine's word times may be off at the edges of what was heard."""

EDGE = 0.1
"""A word this close to where a window opens or ends may be a piece of a word."""


@dataclass(frozen=True)
class PlacedWord:
    """A word of a segment with times that are always there, and where its text begins in the segment's."""

    text: str
    start: float
    end: float
    at: int
    word: Word | None

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    @property
    def key(self) -> str:
        """What two decodings of one word have in common: letters and digits, case folded."""
        return "".join(c for c in self.text.casefold() if c.isalnum())


def placed_words(segment: Segment) -> list[PlacedWord]:
    """The words of a segment; times that are missing are interpolated by length of text."""
    texts = [w.word.strip() for w in segment.words] if segment.words else segment.text.split()
    words: Sequence[Word | None] = segment.words or [None] * len(texts)
    times = _filled([(w.start, w.end) if w else (None, None) for w in words], texts, segment.start, segment.end)
    found, cursor = [], 0
    for text, word, (start, end) in zip(texts, words, times, strict=True):
        at = max(cursor, segment.text.find(text, cursor))
        cursor = min(len(segment.text), at + len(text))
        found.append(PlacedWord(text, start, end, at, word))
    return found


def _filled(
    times: Sequence[tuple[float | None, float | None]], texts: Sequence[str], start: float, end: float
) -> list[tuple[float, float]]:
    filled: list[tuple[float, float]] = []
    n = 0
    while n < len(times):
        a, b = times[n]
        if a is not None and b is not None:
            filled.append((a, max(a, b)))
            n += 1
            continue
        m = n
        while m < len(times) and None in times[m]:
            m += 1
        low = filled[-1][1] if filled else start
        high = times[m][0] if m < len(times) else end
        room = max(0.0, (end if high is None else high) - low)
        letters = sum(len(t) + 1 for t in texts[n:m])
        for text in texts[n:m]:
            step = room * (len(text) + 1) / letters
            filled.append((low, low + step))
            low += step
        n = m
    return filled


def keep_words(segment: Segment, words: Sequence[PlacedWord], first: int, last: int) -> Segment | None:
    """Only the words [first, last) of a segment, with its spelling and spacing; None when nothing is left."""
    if first <= 0 and last >= len(words):
        return segment
    if first >= last:
        return None
    begin = words[first].at if first > 0 else 0
    stop = words[last].at if last < len(words) else len(segment.text)
    return replace(
        segment,
        start=words[first].start if first > 0 else segment.start,
        end=words[last - 1].end if last < len(words) else segment.end,
        text=segment.text[begin:stop].strip(),
        words=segment.words[first:last],
        timestamps=None,
    )


def flagged(segment: Segment, flag: str) -> Segment:
    return segment if flag in segment.flags else replace(segment, flags=(*segment.flags, flag))


def stitch(
    left: list[Segment], right: list[Segment], *, cut: float, heard_from: float, heard_to: float
) -> tuple[list[Segment], list[Segment]]:
    """Resolve what both sides say between `heard_from` and `heard_to`; all times in seconds on the timeline.

    left ends its owned span at `cut` and was heard up to `heard_to`; right begins at `cut` and was heard from
    `heard_from`. Returns both without the words that are the other's.
    """
    near = range(_first_after(left, heard_from - SLACK), len(left))
    far = range(_last_before(right, heard_to + SLACK))
    a = [(s, n, t) for s in near for n, t in enumerate(placed_words(left[s])) if t.middle >= heard_from - SLACK]
    b = [(s, n, t) for s in far for n, t in enumerate(placed_words(right[s])) if t.middle <= heard_to + SLACK]
    i, j, doubt = _seam([t for *_, t in a], [t for *_, t in b], cut, heard_from, heard_to)
    if i < len(a):
        s, n, _ = a[i]
        kept = keep_words(left[s], placed_words(left[s]), 0, n)
        left = left[:s] + ([kept] if kept else [])
    if j > 0:
        s, n, _ = b[j - 1]
        rest = placed_words(right[s])
        kept = keep_words(right[s], rest, n + 1, len(rest))
        right = ([kept] if kept else []) + right[s + 1 :]
    if doubt:
        left = left[:-1] + [flagged(s, "dropped_words_possible") for s in left[-1:]]
        right = [flagged(s, "dropped_words_possible") for s in right[:1]] + right[1:]
    return left, right


def _first_after(segments: Sequence[Segment], time: float) -> int:
    return next((n for n, s in enumerate(segments) if s.end >= time), len(segments))


def _last_before(segments: Sequence[Segment], time: float) -> int:
    return next((n for n, s in enumerate(segments) if s.start > time), len(segments))


def _seam(
    a: list[PlacedWord], b: list[PlacedWord], cut: float, heard_from: float, heard_to: float
) -> tuple[int, int, bool]:
    """Keep a[:i] and b[j:]; the third value says whether a word may have been lost or changed."""
    run = anchor(a, b)
    if run is not None:
        i, j, length = run
        own = sum(t.middle < cut for t in a[i : i + length])  # each side keeps the words it heard with more around them
        before = sum(t.start > heard_from + EDGE for t in b[:j]) > sum(t.middle > heard_from for t in a[:i])
        behind = sum(t.end < heard_to - EDGE for t in a[i + length :]) > sum(
            t.middle < heard_to for t in b[j + length :]
        )
        return i + own, j + own, before or behind
    i = sum(t.middle < cut for t in a)
    j = sum(t.middle < cut for t in b)
    doubt = bool(i < len(a) or j > 0)
    # words past the cut that the right side does not have, and before it that the left side does not have
    while i < len(a) and (j == len(b) or (a[i].middle < b[j].start and a[i].end <= heard_to - EDGE)):
        i += 1
    while j > 0 and (i == 0 or (b[j - 1].middle > a[i - 1].end and b[j - 1].start >= heard_from + EDGE)):
        j -= 1
    if i > 0 and j < len(b) and _same_time(a[i - 1], b[j]):
        doubt = True  # one word, decoded in two ways: the side that heard more around it is right
        if heard_to - a[i - 1].end >= b[j].start - heard_from:
            j += 1
        else:
            i -= 1
    return i, j, doubt


def anchor(a: list[PlacedWord], b: list[PlacedWord]) -> tuple[int, int, int] | None:
    """(i, j, n) of the run of equal words that is long and close in time: `no no no` must not be off by one."""
    best, best_score = None, 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            apart: list[float] = []
            for x, y in zip(a[i:], b[j:], strict=False):
                if not x.key or x.key != y.key or abs(x.middle - y.middle) > SAME_PHRASE:
                    break
                apart.append(abs(x.middle - y.middle))
            if not apart or (len(apart) == 1 and apart[0] > SAME_WORD):
                continue
            score = sum(SAME_PHRASE - gap for gap in apart)
            if score > best_score:
                best, best_score = (i, j, len(apart)), score
    return best


def _same_time(x: PlacedWord, y: PlacedWord) -> bool:
    shared = min(x.end, y.end) - max(x.start, y.start)
    return shared > 0.5 * min(x.end - x.start, y.end - y.start) and shared > 0


def in_order(words: Sequence[Word], start: float, end: float) -> tuple[Word, ...]:
    """Words with times clamped to [start, end], never running backwards."""
    placed: list[Word] = []
    reached = start
    for word in words:
        a = None if word.start is None else min(max(word.start, reached), end)
        b = None if word.end is None else min(max(word.end, a if a is not None else reached), end)
        reached = next((t for t in (b, a) if t is not None), reached)
        placed.append(replace(word, start=a, end=b))
    return tuple(placed)
