"""How good a transcript of real speech is: errors by word (or by character, where no blanks part words), times of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

SAME, DELETED, INSERTED = 0, 1, 2
BY_CHARACTER = ("zh", "ja", "yue", "th", "lo", "my")


@dataclass(frozen=True, kw_only=True)
class Errors:
    """words: how many were said"""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def count(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Word error rate (character error rate for BY_CHARACTER) in per cent; above 100 when more was heard than said."""
        return 100.0 * self.count / max(1, self.words)

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            words=self.words + other.words,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
        )


def words(text: str, language: str) -> list[str]:
    """What is compared: lower case, no punctuation, numbers as digits and British as American for English.

    By the normalisers of Whisper's paper (appendix C), as the package whisper-normalizer has them.
    """
    return str(_normaliser(language)(text)).split()


@cache
def _normaliser(language: str) -> Any:
    return EnglishTextNormalizer() if language == "en" else BasicTextNormalizer(split_letters=language in BY_CHARACTER)


def errors(said: str, heard: str, language: str) -> Errors:
    """What is wrong in `heard`."""
    mine, theirs = words(said, language), words(heard, language)
    pairs, deletions, insertions = align(mine, theirs)
    return Errors(
        words=len(mine),
        substitutions=sum(mine[i] != theirs[j] for i, j in pairs),
        deletions=deletions,
        insertions=insertions,
    )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds by which starts and ends of the words that were heard right are off; overlapping: how many touch the true word."""

    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    overlapping: int = 0

    def __add__(self, other: Timing) -> Timing:
        return Timing(
            starts=self.starts + other.starts,
            ends=self.ends + other.ends,
            overlapping=self.overlapping + other.overlapping,
        )

    def percentile(self, share: float) -> float:
        """Of the starts' errors, seconds. nan without any."""
        return float(np.percentile(self.starts, share)) if self.starts else float("nan")


def timing(said: Sequence[tuple[str, float, float]], heard: Iterable[tuple[str, float, float]]) -> Timing:
    """said, heard: (word, start, end) in seconds"""
    found = [(word, start, end) for word, start, end in heard if plain(word)]
    mine, theirs = [plain(word) for word, _, _ in said], [plain(word) for word, _, _ in found]
    pairs = [(said[i], found[j]) for i, j in align(mine, theirs)[0] if mine[i] == theirs[j]]
    return Timing(
        starts=tuple(abs(a[1] - b[1]) for a, b in pairs),
        ends=tuple(abs(a[2] - b[2]) for a, b in pairs),
        overlapping=sum(a[1] < b[2] and b[1] < a[2] for a, b in pairs),
    )


_WRITTEN = {"mr": "mister", "mrs": "missus", "dr": "doctor"}


def plain(word: str) -> str:
    """A word alone, without what a normaliser of whole texts may make two of."""
    bare = "".join(re.findall(r"[^\W_]+", word.lower()))
    return _WRITTEN.get(bare, bare)


def align(said: Sequence[str], heard: Sequence[str]) -> tuple[list[tuple[int, int]], int, int]:
    """Levenshtein alignment: (pairs of positions, equal or substituted; deletions; insertions).

    One numpy row per word said. Within a row, the chain of insertions cost[j] = cost[j-1] + 1 is a
    running minimum of cost[j] - j, so that no inner Python loop is left: an hour (10,000 words) takes
    about a second and a byte per cell.
    """
    numbers = {word: n for n, word in enumerate(dict.fromkeys([*said, *heard]))}
    ours = np.array([numbers[w] for w in said], np.int32)
    theirs = np.array([numbers[w] for w in heard], np.int32)
    column = np.arange(len(heard) + 1, dtype=np.int32)
    cost = column.copy()
    steps = np.full((len(said) + 1, len(heard) + 1), INSERTED, np.uint8)
    for i, word in enumerate(ours, start=1):
        both, deleted = cost[:-1] + (theirs != word), cost + 1
        best = deleted.copy()
        np.minimum(best[1:], both, out=best[1:])
        cost = np.minimum.accumulate(best - column) + column
        row: NDArray[np.uint8] = steps[i]
        row[cost == deleted] = DELETED
        row[1:][cost[1:] == both] = SAME
    i, j, deletions, insertions, pairs = len(said), len(heard), 0, 0, []
    while i or j:
        step = steps[i, j]
        i -= step != INSERTED
        j -= step != DELETED
        if step == SAME:
            pairs.append((i, j))
        deletions += step == DELETED
        insertions += step == INSERTED
    return pairs[::-1], int(deletions), int(insertions)
