"""What people type to find something: words, "phrases", beginnings*. All of it has to be there; nothing is a syntax error."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import refusal
from core.transcript.search.words import words_of

MOST_LETTERS = 200
"""Of a query."""

_PARTS = re.compile(r'"([^"]*)(?:"(\*?)|$)|([^\s"]+)')
_QUOTES = str.maketrans(dict.fromkeys("“”„«»‟\uff02", '"'))


@dataclass(frozen=True, kw_only=True)
class Needle:
    """Words that stand side by side."""

    words: tuple[str, ...]
    #: of the last one this is the beginning
    prefix: bool = False

    @property
    def spelled(self) -> str:
        """As it is found in words between blanks (`core.transcript.search.document`)."""
        return f" {' '.join(self.words)}{'' if self.prefix else ' '}"


@dataclass(frozen=True, kw_only=True)
class Query:
    """All of its needles have to be there, in any order."""

    needles: tuple[Needle, ...]

    @staticmethod
    def of(text: str) -> Query:
        """Read what somebody has typed. Raises ValidationFailed when there is no letter and no digit in it."""
        found: list[Needle] = []
        for quoted, star, plain in _PARTS.findall(text[:MOST_LETTERS].translate(_QUOTES)):
            needle = _needle(quoted or plain, prefix=bool(star) or plain.endswith("*"))
            if needle is not None and needle not in found:
                found.append(needle)
        if not found:
            raise refusal({"field": "q", "message": "there is no word in it"})
        return Query(needles=tuple(found))

    @property
    def terms(self) -> tuple[tuple[str, bool], ...]:
        """Each word once, and whether it is only a beginning."""
        parts = [(needle, n, word) for needle in self.needles for n, word in enumerate(needle.words)]
        return tuple(dict.fromkeys((word, needle.prefix and n == len(needle.words) - 1) for needle, n, word in parts))

    @property
    def phrases(self) -> tuple[Needle, ...]:
        """Those that are more than their words."""
        return tuple(needle for needle in self.needles if len(needle.words) > 1)


def _needle(text: str, *, prefix: bool) -> Needle | None:
    words = list(words_of(text))
    if not words:
        return None
    last = words[-1]
    if last.paired:
        # a letter alone begins a pair; of more letters the pairs say it all, for what is behind them may be anything
        prefix = len(last.word) == 1
        if prefix and len(words) > 1 and words[-2].paired and words[-2].end == last.end:
            words, prefix = words[:-1], False
    return Needle(words=tuple(found.word for found in words), prefix=prefix)
