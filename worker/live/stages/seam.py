"""Where an utterance was cut through speech: both sides heard the second around the cut, each word is said once.

The first side is told and stored before the second is heard, so all is decided on the second. It cannot go by the cut
alone, as two decodings time a word a little differently: what it has in common with the end of the first side is found
as at the seams of chunks (`core.transcript.seams.stitch`), and what lies behind that is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from core.transcript.seams.stitch import SAME_WORD, PlacedWord, anchor, keep_words, placed_words
from core.transcript.values import Segment, Word

REACH = 2.0
"""Seconds before a cut, and behind where the second side begins to hear, in which words can be the same."""

ALIKE = 0.5
"""Letters that two words have in common, of both (`difflib`'s ratio): one may be a piece of the other, or another spelling."""


def before_cut(segments: Sequence[Segment], cut: float) -> tuple[Segment, ...]:
    """What the first side says: its words whose middle lies before the cut. Seconds of what was heard."""
    found = []
    for segment in segments:
        words = placed_words(segment)
        kept = keep_words(segment, words, 0, sum(word.middle < cut for word in words))
        if kept is not None:
            found.append(kept)
    return tuple(found)


def behind_cut(segments: Sequence[Segment], said: Sequence[Word], *, offset: float, cut: float) -> tuple[Segment, ...]:
    """What the second side has to say beyond the first.

    segments: in seconds of what it heard, which began `offset` seconds after the timeline; said: the last words of the
    first side, and the cut, on the timeline
    """
    first = [word for word in _placed(said, -offset) if word.end >= cut - offset - REACH]
    placed = [(s, n, word) for s, segment in enumerate(segments) for n, word in enumerate(placed_words(segment))]
    gone = _gone(first, [word for *_, word in placed if word.start <= cut - offset + REACH])
    if not gone:
        return tuple(segments)
    last, number, _ = placed[gone - 1]
    words = placed_words(segments[last])
    kept = keep_words(segments[last], words, number + 1, len(words))
    return (*([kept] if kept else []), *segments[last + 1 :])


def _gone(first: list[PlacedWord], second: list[PlacedWord]) -> int:
    """How many of the second side's words the first has said."""
    if not first:
        return 0
    run = anchor(first, second)
    gone, follows = (0, True) if run is None else (run[1] + run[2], run[0] + run[2] < len(first))
    # what follows there was heard as other words here
    while follows and gone < len(second) and not _behind(second[gone], first[-1]):
        gone += 1
    return gone


def _behind(word: PlacedWord, last: PlacedWord) -> bool:
    """Whether it was said after the first side's last word, whose end may be put too late: nothing is heard behind it."""
    if word.middle > last.end:
        return True
    apart = word.middle - last.middle > SAME_WORD
    return apart and SequenceMatcher(None, word.key, last.key, autojunk=False).ratio() < ALIKE


def _placed(words: Sequence[Word], shift: float) -> list[PlacedWord]:
    """Words of the timeline with times, moved."""
    return [
        PlacedWord(word.word, word.start + shift, word.end + shift, 0, word)
        for word in words
        if word.start is not None and word.end is not None
    ]
