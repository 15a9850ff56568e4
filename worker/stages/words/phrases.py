"""Phrases that were heard in another language, and the segments they stand beside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import takewhile

from core.transcript.languages import joined
from core.transcript.values import Segment

FAR = 30.0
"""Seconds: no phrase is longer than the model's window."""


def beside(segments: Sequence[Segment], heard: Sequence[Segment], language: str) -> list[str | None]:
    """For each segment what was heard of it in another language: each phrase stands at the one it overlaps most.

    heard: phrases of the translation, in order; in `language` (ISO 639-1)
    """
    found: list[list[str]] = [[] for _ in segments]
    first = 0
    for phrase in heard:
        while first < len(segments) and segments[first].start < phrase.start - FAR:
            first += 1
        near = takewhile(partial(_begins_before, segments, phrase.end + FAR), range(first, len(segments)))
        own = [n for n in near if segments[n].channel == phrase.channel]
        if own:
            # below nothing is how far apart they are: what lies in a pause is said with what is nearest
            found[max(own, key=partial(_overlap, segments, phrase))].append(phrase.text.strip())
    return [joined(texts, language) or None for texts in found]


def _begins_before(segments: Sequence[Segment], seconds: float, n: int) -> bool:
    return segments[n].start < seconds


def _overlap(segments: Sequence[Segment], phrase: Segment, n: int) -> float:
    return min(segments[n].end, phrase.end) - max(segments[n].start, phrase.start)
