"""Text as the words that it is found by: the same for the index, for what people type, and for what is highlighted.

Capitals, accents and the width of letters do not matter (Unicode's NFKD without the marks on letters, case folded). Scripts
that put no blanks between words (Chinese, Japanese, Thai, ...) and Korean, whose words carry their particles, become
overlapping pairs of letters and the last letter alone: 東京都 is 東京, 京都, 都. So each part of at least two letters is a
row of pairs, and each letter the beginning of one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

MOST_LETTERS = 64
"""Of one word; the rest of it is not looked at."""

PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean: as in a regular expression's brackets."""

_JOINERS = "\u00ad\u200b-\u200d\u2060\ufeff"
_DROPPED = dict.fromkeys(
    [
        *range(0x0300, 0x0370),  # on Latin, Greek, Cyrillic letters
        *range(0x0591, 0x05C8),  # Hebrew points
        *range(0x064B, 0x0660),  # Arabic vowels
        0x0640,
        0x0670,
        0x00AD,
        *range(0x200B, 0x200E),
        0x2060,
        0xFEFF,
    ]
)
_ASCII = re.compile(r"[A-Za-z0-9]+")
_PAIR = re.compile(f"[{PAIRED}]")


@dataclass(frozen=True, slots=True)
class Found:
    """A word, and where in the text it stands."""

    word: str
    start: int
    end: int

    @property
    def paired(self) -> bool:
        """One or two letters of a script that is found by pairs."""
        return _PAIR.match(self.word) is not None


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Runs of letters, digits and their marks in a text, and in such a run, folded, what is paired and what is not."""
    marks = "".join(chr(n) for n in range(0x300, 0x10000) if unicodedata.category(chr(n)).startswith("M"))
    letter = rf"(?:[^\W_]|[{marks}])"
    run = re.compile(rf"(?:[^\W_]|[{marks}{_JOINERS}])+")
    return run, re.compile(rf"[{PAIRED}]+|(?:(?![{PAIRED}]){letter})+")


def folded(text: str) -> str:
    """Without capitals, accents, width."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", text).translate(_DROPPED).casefold())


def words_of(text: str) -> Iterator[Found]:
    """The words in order. There is no underscore, blank or punctuation in any."""
    if text.isascii():
        for found in _ASCII.finditer(text):
            yield Found(found[0].lower()[:MOST_LETTERS], *found.span())
        return
    runs, pieces = _patterns()
    for run in runs.finditer(text):
        plain = folded(run[0])
        aligned = len(plain) == len(run[0])
        for piece in pieces.finditer(plain):
            start, end = run.span()
            if aligned:
                start, end = start + piece.start(), start + piece.end()
            if not _PAIR.match(piece[0]):
                yield Found(piece[0][:MOST_LETTERS], start, end)
                continue
            for n in range(len(piece[0])):
                place = (start + n, min(start + n + 2, end)) if aligned else (start, end)
                yield Found(piece[0][n : n + 2], *place)
