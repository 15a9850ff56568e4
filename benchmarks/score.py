"""How good a transcript is: word error rate and how well segments start where the sentences do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.words import align


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
    said, said_starts = words_said(truth["utterances"])
    heard, heard_starts = words_said([{"start": None, "text": segments}] if isinstance(segments, str) else segments)
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


def words_said(parts: Iterable[Any]) -> tuple[list[str], dict[int, float]]:
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
