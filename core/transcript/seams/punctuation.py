"""Punctuation where two chunks meet: each was written without knowing the other, so a dot may stand inside a sentence.

    ... through the little town. | and all the folk came out.

The window ended, so the model ended the sentence; the next one goes on in lower case. Only that dot goes: no word is
changed, and what might have a right to it (abbreviations, numbers, quotes, `...`) keeps it. A capital behind a chunk
without a dot stays, for it may be a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from core.transcript.values import Segment

PAUSE = 2.0
"""Seconds: longer than this nobody pauses inside a sentence; cuts in silence look for pauses from 0.3 s on."""

ABBREVIATIONS = frozenset(
    "adm al alt apr approx apt aug av ave ca capt cf co col corp dec dept ed est esq etc evtl feb fig figs gen gov hon inc incl"
    " inkl jan jul jun lic lieut maj mag med messrs mio mlle mme mon nov oct oz op pag par prof rep rev sept sen sig sra srta"
    " str tab tel ud uds usf usw vol".split()
)
"""Those with a vowel that stand before lower case in Latin scripts; without one (Mr, vs, bzw, Nr) a word is always taken for one."""

_LAST = re.compile(r"(?:^|\s)[(\[\"'«„“‘¿¡]*(?P<word>[^\W\d_](?:[^\W\d_]|['’-])+)\.$")  # noqa: RUF001
"""A word of two letters and more, and one dot behind it that ends the text."""

_FIRST = re.compile(r"(?P<word>[^\W\d_](?:[^\W\d_]|['’-])*)(?=$|[\s,;:.!?…])")  # noqa: RUF001

_VOWELS = frozenset("aeiouyæøœıаеёиоуыэюяіїєαεηιουω")  # noqa: RUF001
_INNER = re.compile(r"[.!?…][^\w\s]*\s+(\w)")
_PUNCTUATED = re.compile(r"[.!?…]")


def mended(left: list[Segment], right: Sequence[Segment]) -> list[Segment]:
    """The segments of a chunk, its last dot dropped if the next chunk goes on in the middle of the sentence.

    left, right: of two neighbours, on one timeline, in order. Text and words of a segment stay equal.
    """
    if not left or not right or right[0].span[0] - left[-1].span[1] > PAUSE:
        return left
    last, text = left[-1], left[-1].text.rstrip()
    if not _ends_a_sentence(text) or not _goes_on(right):
        return left
    words = last.words
    if words:
        if not words[-1].word.rstrip().endswith("."):
            return left
        words = (*words[:-1], replace(words[-1], word=words[-1].word.rstrip()[:-1]))
    return [*left[:-1], replace(last, text=text[:-1], words=words)]


def _ends_a_sentence(text: str) -> bool:
    found = _LAST.search(text)
    if found is None:
        return False
    word = found["word"].casefold()
    letters = unicodedata.normalize("NFD", word)  # `é` is an e
    return word not in ABBREVIATIONS and not _VOWELS.isdisjoint(letters)


def _goes_on(right: Sequence[Segment]) -> bool:
    """Whether it begins in lower case, as text that has capitals where sentences begin."""
    found = _FIRST.match(right[0].text.lstrip())
    if found is None or not found["word"].islower():
        return False
    whole = " ".join(segment.text.strip() for segment in right)
    if any(letter.islower() for letter in _INNER.findall(whole)):
        return False
    return whole != whole.lower() or _PUNCTUATED.search(whole) is not None
