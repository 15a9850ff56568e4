"""From tokens to phrases: the text between two timestamps, and characters that tokens cut in two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_TIMESTAMP_STEP = 0.02


@dataclass(frozen=True)
class Token:
    """One text or timestamp token: its bytes need not be valid UTF-8 alone.

    end: seconds into the chunk at which the alignment hears it end; None = not aligned
    """

    id: int
    data: bytes
    p: float
    plog: float
    end: float | None = None


@dataclass(frozen=True)
class Phrase:
    """The text tokens between two timestamps; seconds, already clamped."""

    start: float
    end: float
    tokens: tuple[Token, ...]


def split_phrases(tokens: list[Token], beg: int, seconds: float) -> list[Phrase]:
    """Cut at timestamp tokens (id - beg, in steps of 20 ms); times are monotonic and within [0, seconds].

    A phrase without an end (the decoder stopped) lasts until the end of the audio.
    """
    phrases: list[Phrase] = []
    text: list[Token] = []
    start = 0.0

    def close(end: float) -> None:
        nonlocal text
        if any(t.data.strip() for t in text):
            floor = phrases[-1].end if phrases else 0.0
            begin = min(max(start, floor), seconds)
            phrases.append(Phrase(begin, min(max(end, begin), seconds), tuple(text)))
        text = []

    for token in tokens:
        if token.id < beg:
            text.append(token)
            continue
        moment = round((token.id - beg) * _TIMESTAMP_STEP, 2)
        close(moment)
        start = moment
    close(seconds)
    return phrases


def text_of(tokens: Iterable[Token]) -> str:
    """Tokens end in the middle of characters, so only their joined bytes may be decoded."""
    return b"".join(t.data for t in tokens).decode("utf-8", "replace").strip()
