"""A transcript as it is kept to be found: its text, its words, and which segment has which of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.transcript.search.query import Needle, Query
from core.transcript.search.words import Found, words_of
from core.transcript.values import Transcript

AROUND = 100
"""Letters that are shown on either side of what was found in a long segment."""

LOOKED = 100
"""At so many places of each needle, for the segments that have most of them."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of a snippet; `match`: this is what was looked for."""

    text: str
    match: bool


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """One segment in which something was found. Seconds."""

    segment: int
    start: float
    end: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """What is found by, of one transcript."""

    #: one line for each segment
    text: str
    #: of each segment: start and end in seconds, and how many words come before it
    places: Sequence[Sequence[float]]
    #: all words in order, a blank before and behind each
    words: str

    @staticmethod
    def of(transcript: Transcript) -> Document:
        lines: list[str] = []
        places: list[tuple[float, float, int]] = []
        words: list[str] = []
        for segment in transcript.segments:
            line = " ".join(segment.text.replace("\0", " ").split())
            lines.append(line)
            places.append((round(segment.start, 3), round(segment.end, 3), len(words)))
            words += [found.word for found in words_of(line)]
        return Document(text="\n".join(lines), places=places, words=spaced(words))

    def excerpts(self, query: Query, *, most: int = 3) -> list[Excerpt]:
        """The segments that have most of what was looked for, at most so many, in order."""
        firsts = [int(first) for _, _, first in self.places]
        found: dict[int, set[Needle]] = defaultdict(set)
        reached: dict[int, set[int]] = defaultdict(set)
        for needle in query.needles:
            for place in _occurrences(self.words, needle, LOOKED):
                for word in range(place, place + len(needle.words)):
                    segment = bisect_right(firsts, word) - 1
                    found[segment].add(needle)
                    if len(needle.words) > 1:  # it may go on in the next segment
                        reached[segment].add(word - firsts[segment])
        best = sorted(sorted(found, key=lambda n: (-len(found[n]), n))[:most])
        lines = self.text.split("\n") if best else []
        return [
            Excerpt(
                segment=n, start=self.places[n][0], end=self.places[n][1], parts=_parts(lines[n], query, reached[n])
            )
            for n in best
        ]


def spaced(words: Sequence[str]) -> str:
    """Words so that each, and each row of them, is found between blanks."""
    return f" {' '.join(words)} " if words else " "


def highlighted(text: str, query: Query) -> tuple[Part, ...] | None:
    """A line in parts; None when nothing in it was looked for."""
    parts = _parts(text, query, ())
    return parts if any(part.match for part in parts) else None


def _occurrences(words: str, needle: Needle, most: int) -> Iterator[int]:
    """Where a needle is, counted in words."""
    place = counted = number = -1
    for _ in range(most):
        place = words.find(needle.spelled, place + 1)
        if place < 0:
            return
        number = words.count(" ", 0, place) if counted < 0 else number + words.count(" ", counted, place)
        counted = place
        yield number


def _parts(line: str, query: Query, known: Sequence[int] | set[int]) -> tuple[Part, ...]:
    """known: numbers of words that are to be marked anyway, since they belong to what began or ends in another segment"""
    words = list(words_of(line))
    spelled = spaced([found.word for found in words])
    marks = [(words[n].start, words[n].end) for n in known if n < len(words)]
    for needle in query.needles:
        for place in _occurrences(spelled, needle, len(words)):
            there = words[place : place + len(needle.words)]
            marks += [(found.start, _end(found, needle, last=found is there[-1])) for found in there]
    return tuple(_cut(line, _joined(line, sorted(marks))))


def _end(found: Found, needle: Needle, *, last: bool) -> int:
    """Of a pair that is only begun, the beginning."""
    return found.start + len(needle.words[-1]) if last and needle.prefix and found.paired else found.end


def _joined(line: str, marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in marks:
        if joined and not line[joined[-1][1] : start].strip():
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _cut(line: str, marks: Sequence[tuple[int, int]]) -> Iterator[Part]:
    """The line in parts, AROUND what was found first, if it is long."""
    middle = marks[0] if marks else (0, 0)
    first, last = max(0, middle[0] - AROUND), min(len(line), middle[1] + AROUND)
    at = first
    before = "…" if first else ""
    for start, end in marks:
        if start >= last:
            break
        if before or start > at:
            yield Part(text=before + line[at:start], match=False)
        yield Part(text=line[start : min(end, last)], match=True)
        at, before = min(end, last), ""
    rest = line[at:last] + ("…" if last < len(line) else "")
    if rest:
        yield Part(text=before + rest, match=False)
