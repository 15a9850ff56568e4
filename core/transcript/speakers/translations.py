"""A translation over the parts of a segment in which several people speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from core.transcript.languages import joined
from core.transcript.values import Segment

ENDERS = ".?!…。？！"  # noqa: RUF001 (the point is that they are not ASCII)
"""What a sentence of a translation ends with; where none is known, it is one sentence."""


def shared_out(translation: str, parts: Sequence[Segment], language: str) -> list[Segment]:
    """A segment's translation over the parts that it has been cut into: whole sentences, by the lengths of the parts' texts.

    Where there are fewer sentences than parts, the longest part has all of it.
    """
    if len(parts) == 1:
        return [replace(parts[0], translation=translation)]
    said = _sentences(translation)
    if len(said) < len(parts):
        longest = max(range(len(parts)), key=lambda n: len(parts[n].text))
        return [replace(part, translation=translation if n == longest else None) for n, part in enumerate(parts)]
    lengths = [*accumulate(len(part.text) for part in parts)]
    reached = [*accumulate(len(sentence) for sentence in said)]
    found, start = [], 0
    for n, part in enumerate(parts):
        most = len(said) - (len(parts) - 1 - n)  # each part behind has one at least
        wanted = lengths[n] / lengths[-1] * reached[-1]
        end = (
            most if n == len(parts) - 1 else min(range(start + 1, most + 1), key=lambda k: abs(reached[k - 1] - wanted))
        )
        found.append(replace(part, translation=joined(said[start:end], language)))
        start = end
    return found


def _sentences(text: str) -> list[str]:
    found, start = [], 0
    for n, letter in enumerate(text, 1):
        if letter in ENDERS and n < len(text) and (text[n].isspace() or letter in "。？！"):  # noqa: RUF001
            found.append(text[start:n].strip())
            start = n
    return [*found, text[start:].strip()]
