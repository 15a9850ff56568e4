"""Text on a screen: how wide it is, where a line may end, and which ends read best. Widths are in columns."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from core.transcript.languages import goes_without_blanks

_SENTENCE = frozenset(".!?…。！？؟۔।")  # noqa: RUF001
_CLAUSE = frozenset(",;:—–،؛、，；：")  # noqa: RUF001
_CLOSING = "\"'”’»)]」』）】》"  # noqa: RUF001
_SMALL_KANA = frozenset("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ々")
_VOWELS_AHEAD, _VOWELS_BEHIND = frozenset("เแโใไເແໂໃໄ"), frozenset("ะาำๅະາຳ")
"""Of Thai and Lao: letters written ahead of the consonant that they belong to, and behind it."""
_NEVER_FIRST = _SMALL_KANA | _VOWELS_BEHIND | frozenset("\"'")
_NOT_FIRST = frozenset({"Pe", "Pf", "Po", "Pd", "Mn", "Mc", "Me", "Cf", "Lm"})
_NOT_LAST = frozenset({"Ps", "Pi", "Sc"})
"""Categories that do not begin, or end, a line between letters without blanks (after UAX #14 and JIS X 4051)."""
_JOINER = "\u200d"
_SKINS = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_FLAGS = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
"""Of which two are one flag."""
_JOINING = _FLAGS | {_JOINER}


@lru_cache(maxsize=16384)
def _columns(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf") or letter in _SKINS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" or letter in _FLAGS else 1


def _each(text: str) -> Iterator[tuple[str, int]]:
    """Letters with their columns: none for what is one emoji with those before it (UAX #29, GB11 to GB13)."""
    before, flags = "", 0
    for letter in text:
        flags = flags + 1 if letter in _FLAGS else 0
        joined = before == _JOINER and unicodedata.category(letter) == "So"
        yield letter, 0 if joined or (flags and flags % 2 == 0) else _columns(letter)
        before = letter


def width(text: str) -> int:
    """Columns as a terminal counts them: two for a full-width letter (UAX #11) or an emoji, none for a combining mark."""
    if text.isascii():
        return len(text)
    if _JOINING.isdisjoint(text):
        return sum(map(_columns, text))
    return sum(columns for _, columns in _each(text))


def right_to_left(text: str) -> bool:
    """Whether its first letter with a direction goes that way (UAX #9, rules P2 and P3)."""
    ways = (unicodedata.bidirectional(letter) for letter in text)
    return next((way != "L" for way in ways if way in ("L", "R", "AL")), False)


def units(text: str, limit: int) -> list[str]:
    """A text, its white space as single blanks, cut wherever a line may end; joined they are that text again.

    limit: columns that none is wider than; a longer word is cut anywhere but within what is one sign with its marks
    """
    found: list[str] = []
    for word in text.split():
        if found:
            found[-1] += " "
        begin = 0
        for n in range(1, len(word)):
            if _may_end(word[n - 1], word[n]):
                found += _cut(word[begin:n], limit)
                begin = n
        found += _cut(word[begin:], limit)
    return found


def _may_end(last: str, first: str) -> bool:
    """Whether a line may end between two letters of one word: only where the script knows no blanks."""
    if (last.isascii() and first.isascii()) or not (goes_without_blanks(last) or goes_without_blanks(first)):
        return False
    if last in _VOWELS_AHEAD or last in "\"'" or unicodedata.category(last) in _NOT_LAST:
        return False
    return not (first in _NEVER_FIRST or unicodedata.category(first) in _NOT_FIRST)


def _cut(word: str, limit: int) -> Iterator[str]:
    if width(word) <= limit:
        yield word
        return
    piece, wide = "", 0
    for letter, columns in _each(word):
        if columns and wide + columns > limit:
            yield piece
            piece, wide = "", 0
        piece, wide = piece + letter, wide + columns
    yield piece


def roughness(unit: str) -> float:
    """How little one likes to break behind a unit: 0 at the end of a sentence, 1 within a word."""
    text = unit.rstrip().rstrip(_CLOSING)
    if text[-1:] in _SENTENCE:
        return 0.0
    if text[-1:] in _CLAUSE:
        return 0.25
    return 0.5 if unit[-1:] == " " else 1.0


class Ruler:
    """Measures spans of units: [i, j) as one text without the blank at its end."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._sums = [0, *accumulate(map(width, texts))]

    def width(self, i: int, j: int) -> int:
        """Columns of a span."""
        return self._sums[j] - self._sums[i] - (j > i and self.texts[j - 1][-1:] == " ")

    def reaches(self, limit: int, lines: int) -> list[int]:
        """For each unit the end of the longest span from there that fits so many lines."""
        once, end = [], 0
        for begin in range(len(self.texts)):
            end = max(end, begin + 1)
            while end < len(self.texts) and self.width(begin, end + 1) <= limit:
                end += 1
            once.append(end)
        once.append(len(self.texts))
        reached = list(range(len(self.texts) + 1))
        for _ in range(lines):
            reached = [once[end] for end in reached]
        return reached


def wrap(texts: Sequence[str], limit: int) -> list[tuple[int, int]]:
    """Units as lines, by their spans: as few as can be, of like width, and rather broken where a phrase ends."""
    ruler = Ruler(texts)
    if ruler.width(0, len(texts)) <= limit:
        return [(0, len(texts))] if texts else []

    def cost(i: int, j: int) -> float | None:
        wide = ruler.width(i, j)
        if wide > limit and j > i + 1:
            return None
        broken = 0.4 * roughness(texts[j - 1]) if j < len(texts) else 0.0
        return 1000 + (wide / limit) ** 2 + broken

    return partition(len(texts), cost)


def partition(count: int, cost: Callable[[int, int], float | None]) -> list[tuple[int, int]]:
    """The cheapest way to cut [0, count) into spans.

    cost: of the span [i, j); None when neither it nor a longer one from `i` on can be. A span of one can always be.
    """
    best, came = [0.0] + [math.inf] * count, [0] * (count + 1)
    for i in range(count):
        for j in range(i + 1, count + 1):
            price = cost(i, j)
            if price is None:
                break
            if best[i] + price < best[j]:
                best[j], came[j] = best[i] + price, i
    spans, end = [], count
    while end:
        spans.append((came[end], end))
        end = came[end]
    return spans[::-1]
