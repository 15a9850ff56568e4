"""Which voice each word is of: by how long they overlap, then by what people do not do (change in mid-sentence for a moment)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from core.transcript.speakers.turns import Turn

REACH = 1.0
"""Seconds: a word outside of all turns is of the nearest, if that is as near as this."""
ISLAND = 0.3
"""Seconds: a shorter word of another voice in the middle of a sentence is a slip of the clock, not an interruption."""
SENTENCE_SHARE, MINORITY = 0.6, 1.0
"""A sentence is of one voice if that has this share of it and the others speak for less than this, in seconds, at a time: a
real short answer is a sentence of its own."""
BOTH = 0.5
"""Share of a word during which another voice must be heard to be told beside the first."""
_BRIEFEST = 0.01
"""Seconds that a word without any length is taken to last."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A word in time. segment: its segment's number; ends: whether a sentence ends with it"""

    start: float
    end: float
    segment: int
    ends: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Label:
    """voice: None where nobody was heard; share: of the word, during which it was; also: voices heard beside it"""

    voice: int | None = None
    share: float = 0.0
    also: tuple[int, ...] = ()


def labels_of(words: Sequence[Spoken], turns: Sequence[Turn]) -> list[Label]:
    """words, turns: in order of their starts."""
    words = [replace(word, end=max(word.end, word.start + _BRIEFEST)) for word in words]
    nearest = _Nearest(turns)
    labels: list[Label] = []
    for n, (word, heard) in enumerate(zip(words, _overlaps(words, turns), strict=True)):
        before = labels[-1].voice if labels else None
        label = _by_overlap(word, heard, before)
        if label is None:
            voice = nearest.voice(word)
            same = n > 0 and words[n - 1].segment == word.segment
            label = Label(voice=before if voice is None and same else voice)
        labels.append(label)
    _join_islands(words, labels)
    for sentence in _sentences(words):
        _settle(words, labels, sentence)
    return labels


def _overlaps(words: Sequence[Spoken], turns: Sequence[Turn]) -> Iterator[dict[int, float]]:
    """Of each word, the seconds of each voice in it; the voice that began first comes first."""
    active: list[Turn] = []
    coming = 0
    for word in words:
        while coming < len(turns) and turns[coming].start < word.end:
            active.append(turns[coming])
            coming += 1
        active = [turn for turn in active if turn.end > word.start]
        found: dict[int, float] = {}
        for turn in active:
            if (seconds := min(turn.end, word.end) - max(turn.start, word.start)) > 0:
                found[turn.voice] = found.get(turn.voice, 0.0) + seconds
        yield found


def _by_overlap(word: Spoken, heard: dict[int, float], before: int | None) -> Label | None:
    if not heard:
        return None
    longest = max(heard.values())
    best = [voice for voice, seconds in heard.items() if seconds > longest - 1e-9]
    voice = before if before in best else best[0]
    also = tuple(v for v, seconds in heard.items() if v != voice and seconds >= BOTH * word.seconds)
    return Label(voice=voice, share=round(min(1.0, heard[voice] / word.seconds), 3), also=also)


class _Nearest:
    """The turns on both sides of a moment that is in none."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._begun = turns
        self._ended = sorted(turns, key=lambda turn: turn.end)

    def voice(self, word: Spoken) -> int | None:
        after = bisect_left(self._begun, word.end, key=lambda turn: turn.start)
        before = bisect_right(self._ended, word.start, key=lambda turn: turn.end) - 1
        sides = []
        if before >= 0:
            sides.append((word.start - self._ended[before].end, self._ended[before].voice))
        if after < len(self._begun):
            sides.append((self._begun[after].start - word.end, self._begun[after].voice))
        distance, voice = min(sides, key=lambda side: side[0], default=(REACH + 1, None))
        return voice if distance <= REACH else None


def _join_islands(words: Sequence[Spoken], labels: list[Label]) -> None:
    for n in range(1, len(words) - 1):
        left, here, right = labels[n - 1].voice, labels[n].voice, labels[n + 1].voice
        inside = not words[n - 1].ends and not words[n].ends and words[n].seconds < ISLAND
        if inside and left is not None and left == right != here:
            labels[n] = replace(labels[n], voice=left, share=0.0)


def _sentences(words: Sequence[Spoken]) -> Iterator[range]:
    start = 0
    for n, word in enumerate(words):
        if word.ends or n + 1 == len(words):
            yield range(start, n + 1)
            start = n + 1


def _settle(words: Sequence[Spoken], labels: list[Label], sentence: range) -> None:
    seconds: dict[int | None, float] = {}
    for n in sentence:
        seconds[labels[n].voice] = seconds.get(labels[n].voice, 0.0) + words[n].seconds
    voice = max(seconds, key=lambda one: seconds[one])
    if voice is None or len(seconds) == 1 or seconds[voice] < SENTENCE_SHARE * sum(seconds.values()):
        return
    for other, run in groupby(sentence, key=lambda n: labels[n].voice):
        members = list(run)
        if other != voice and words[members[-1]].end - words[members[0]].start < MINORITY:
            for n in members:
                labels[n] = replace(labels[n], voice=voice, share=0.0)
