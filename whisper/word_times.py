"""When each word of a chunk is said: from the alignment and the pauses in the sound, or else by length alone."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from whisper.phrases import Phrase, Token, text_of

_SLOWEST = 0.25
"""Seconds per character (with the space before it) beyond which a phrase must contain a pause."""

_RATE, _FRAME = 16_000, 160
_STEP = _FRAME / _RATE
"""Seconds of a frame whose level is looked at: 10 ms."""

_SHORTEST_PAUSE = 0.16
"""Seconds of quiet that are a pause between words; closures of p, t and k are shorter."""

_REACH = 0.05
"""Seconds by which the alignment may be off at a pause."""

_SHORTEST_WORD = 0.02

_QUIET, _FLOOR_SHARE, _PEAK_SHARE = 0.25, 0.1, 0.95
"""A frame is quiet in the lowest quarter (in dB) of what lies between the 10th and the 95th percentile of levels. Of the
values tried on 750 words (0.2 to 0.5, pauses of 0.06 to 0.2 s) this is among the best for both models."""

_LEAST_RANGE, _MOST_RANGE = 12.0, 50.0
"""dB between these percentiles: less, and speech cannot be told from what is behind it; more is digital silence."""


def pauses(samples: memoryview[float]) -> list[tuple[float, float]]:
    """(start, end) in seconds of each quiet stretch in f32 samples at 16 kHz; also short ones at their very beginning and end."""
    levels = [
        20 * math.log10(max(math.hypot(*samples[n : n + _FRAME].tolist()), 1e-6)) for n in range(0, len(samples) - _FRAME + 1, _FRAME)
    ]
    ranked = sorted(levels)
    if not ranked:
        return []
    floor, peak = ranked[int(_FLOOR_SHARE * (len(ranked) - 1))], ranked[int(_PEAK_SHARE * (len(ranked) - 1))]
    if peak - floor < _LEAST_RANGE:
        return []
    floor = max(floor, peak - _MOST_RANGE)
    limit = floor + _QUIET * (peak - floor)
    found, begin = [], None
    for n, level in enumerate([*levels, math.inf]):
        if level < limit:
            begin = n if begin is None else begin
        elif begin is not None:
            if n - begin >= _SHORTEST_PAUSE / _STEP or begin == 0 or n == len(levels):
                found.append((begin * _STEP, n * _STEP))
            begin = None
    return found


def spans(ends: Sequence[float], quiet: Sequence[tuple[float, float]], seconds: float) -> list[tuple[float, float]]:
    """(start, end) of words in order, from the moments at which an alignment hears them end.

    quiet: what `pauses` found

    An alignment knows one boundary between two words, wherever in the pause between them it falls. So a word starts
    where the one before it ends, unless there is a pause between that moment and its own end: then it starts where the
    longest one ends, and the word before ends where that begins. Times are monotonic and within [0, seconds].
    """
    limits, last = [0.0], 0.0
    for end in ends:
        last = min(max(end, last), seconds)
        limits.append(last)
    starts, stops = limits[:-1], limits[1:]
    longest = [0.0] * len(limits)
    for begin, end in quiet:
        n = bisect_left(limits, end - _REACH, 1) - 1  # the word that must come behind this pause
        if end - begin > longest[n]:
            longest[n] = end - begin
            if n > 0:
                stops[n - 1] = begin
            if n < len(starts):
                starts[n] = end
    found, last = [], 0.0
    for start, stop in zip(starts, stops, strict=True):
        begin = min(max(start, last), seconds)
        last = min(max(stop, begin + _SHORTEST_WORD), seconds)
        found.append((begin, last))
    return found


def timed(
    phrases: Sequence[Phrase], *, spaced: bool, quiet: Sequence[tuple[float, float]], seconds: float
) -> list[tuple[Phrase, list[dict[str, Any]]]]:
    """Each phrase of a chunk with its words.

    Where all tokens are aligned the phrases last from their first word's start to their last one's end: the
    timestamps among the tokens are up to a second off. Else phrases keep their times and `words_of` shares them out.
    """
    if any(t.end is None for p in phrases for t in p.tokens):
        return [(p, words_of(p, spaced=spaced)) for p in phrases]
    groups = [_words(p, spaced=spaced) for p in phrases]
    times = iter(spans([_end(group) for words in groups for group in words], quiet, seconds))
    found = []
    for phrase, words in zip(phrases, groups, strict=True):
        said = [_word(group, *next(times)) for group in words]
        lasting = replace(phrase, start=said[0]["start"], end=said[-1]["end"]) if said else phrase
        found.append((lasting, said))
    return found


def words_of(phrase: Phrase, *, spaced: bool) -> list[dict[str, Any]]:
    """Words with times shared out by length.

    The phrase's time is divided in proportion to characters, one added per word for the gap before it; a phrase slower
    than 0.25 s per character is taken to end in a pause, so its words keep that pace from the start. A phrase
    without duration gives words without times.
    """
    groups = _words(phrase, spaced=spaced)
    lengths = [len(text_of(group)) + 1 for group in groups]
    duration = phrase.end - phrase.start
    pace = min(duration / sum(lengths), _SLOWEST) if groups else 0.0
    words, position = [], 0
    for group, length in zip(groups, lengths, strict=True):
        first, position = position, position + length
        if duration > 0:
            words.append(_word(group, phrase.start + first * pace, min(phrase.end, phrase.start + position * pace)))
        else:
            words.append(_word(group, None, None))
    return words


def _words(phrase: Phrase, *, spaced: bool) -> list[list[Token]]:
    """A word starts with a token that starts with a space; where a language is written without spaces, with every
    token that completes a character."""
    groups: list[list[Token]] = []
    for token in phrase.tokens:
        fresh = token.data.startswith(b" ") if spaced else bool(groups) and _complete(groups[-1])
        if fresh or not groups:
            groups.append([])
        groups[-1].append(token)
    return [group for group in groups if text_of(group)]


def _end(group: list[Token]) -> float:
    """When a word ends: its punctuation is heard for as long as the pause behind it lasts."""
    spoken = [t.end for t in group if any(c.isalnum() or c == "\ufffd" for c in text_of([t]))]
    return (spoken or [group[-1].end])[-1] or 0.0


def _word(group: list[Token], start: float | None, end: float | None) -> dict[str, Any]:
    """Probability: mean over the word's tokens."""
    return {
        "word": text_of(group),
        "start": None if start is None else round(start, 3),
        "end": None if end is None else round(end, 3),
        "probability": sum(t.p for t in group) / len(group),
    }


def _complete(tokens: list[Token]) -> bool:
    try:
        b"".join(t.data for t in tokens).decode()
    except UnicodeDecodeError:
        return False
    return True
