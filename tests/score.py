"""How good a transcript is: word error rate and how well segments start where the sentences do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME, DELETED, INSERTED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Score:
    """wer = (substitutions + deletions + insertions) / words.

    start errors: seconds between the start of a sentence and of the segment that begins with the
    same word in the alignment; None where no pair was found (as with untimed text).
    """

    wer: float
    substitutions: int
    deletions: int
    insertions: int
    words: int
    start_error_median: float | None
    start_error_p95: float | None


def score(truth: Mapping[str, Any], segments: Iterable[Any] | str) -> Score:
    """Compare with the truth of `audio_bank.speech`.

    segments: objects or mappings with start, end (seconds) and text; or just a text
    """
    said, said_starts = _words(truth["utterances"])
    heard, heard_starts = _words([{"start": None, "text": segments}] if isinstance(segments, str) else segments)
    pairs, deletions, insertions = align(said, heard)
    substitutions = sum(said[i] != heard[j] for i, j in pairs)
    errors = [
        abs(said_starts[i] - heard_starts[j])
        for i, j in pairs
        if i in said_starts and j in heard_starts and said[i] == heard[j]
    ]
    return Score(
        wer=(substitutions + deletions + insertions) / max(1, len(said)),
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        words=len(said),
        start_error_median=float(np.median(errors)) if errors else None,
        start_error_p95=float(np.percentile(errors, 95)) if errors else None,
    )


def align(said: list[str], heard: list[str]) -> tuple[list[tuple[int, int]], int, int]:
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


def _words(parts: Iterable[Any]) -> tuple[list[str], dict[int, float]]:
    """All words in lower case without punctuation; and the start time of each part by its first word's position."""
    words: list[str] = []
    starts: dict[int, float] = {}
    for part in parts:
        start, text = (part["start"], part["text"]) if isinstance(part, Mapping) else (part.start, part.text)
        found = re.findall(r"[^\W_]+", text.lower())
        if found and start is not None:
            starts[len(words)] = start
        words += found
    return words, starts
