"""A second opinion on when English words are said: PocketSphinx' forced alignment, where that package is installed.

Attention now and then passes over words without a context, such as digits; an acoustic model does not. It is the
extra `align-english` (BSD; a model of 6.6 MB and a dictionary of 134,000 words come with it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata

from core.audio.samples import SAMPLE_RATE, Pcm
from core.speech.word_edges import Span

FRAME_SECONDS = 0.01
LEAST = SAMPLE_RATE // 10
"""Samples: with less there is nothing to align, with none it fails."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@cache
def version() -> str | None:
    """Of the package; None where it is not installed. Read once: that takes 5 ms, and each run asks for it."""
    try:
        return metadata.version("pocketsphinx")
    except metadata.PackageNotFoundError:
        return None


class EnglishAligner:
    """Holds 40 MB. One thread at a time."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(lm=None, loglevel="FATAL")

    def spans(self, pcm: Pcm, words: Sequence[str]) -> list[Span] | None:
        """Of each word, in seconds from the first sample; None where one is in no dictionary, or they cannot be laid."""
        spoken = [_spoken(word) for word in words]
        if (
            len(pcm) < LEAST
            or not all(spoken)
            or any(self._decoder.lookup_word(one) is None for parts in spoken for one in parts)
        ):
            return None
        try:
            self._decoder.set_align_text(" ".join(one for parts in spoken for one in parts))
            self._decoder.start_utt()
            self._decoder.process_raw(pcm.astype("<i2").tobytes(), full_utt=True)
            self._decoder.end_utt()
            found = [one for one in self._decoder.seg() or () if not one.word.startswith(("<", "["))]
        except RuntimeError:  # its own word for a search that came to no end
            return None
        if len(found) != sum(map(len, spoken)):
            return None
        spans, at = [], 0
        for parts in spoken:
            first, last = found[at], found[at + len(parts) - 1]
            spans.append((first.start_frame * FRAME_SECONDS, (last.end_frame + 1) * FRAME_SECONDS))
            at += len(parts)
        return spans


def _spoken(word: str) -> list[str]:
    """What a dictionary has: a hyphen parts two words, a digit is written out, larger numbers are nobody's guess."""
    parts = re.findall(r"[a-z]+(?:'[a-z]+)*|\d+", word.lower().replace("\u2019", "'"))
    if any(part.isdigit() and len(part) > 1 for part in parts):
        return []
    return [_DIGITS[int(part)] if part.isdigit() else part for part in parts]
