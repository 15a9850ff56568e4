"""When each word of a chunk is said: from the alignment and the pauses in the sound, or else by length alone."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from core.audio.samples import SAMPLE_RATE
from whisper.library.phrases import Phrase, Token, text_of

_SLOWEST = 0.25
"""Seconds per character (with the space before it) beyond which a phrase must contain a pause."""

_FRAME = SAMPLE_RATE // 100
_STEP = _FRAME / SAMPLE_RATE
"""Seconds of a frame whose level is looked at: 10 ms."""

_SHORTEST_PAUSE = 0.2
"""Seconds of quiet that are a pause between words; closures of p, t and k are shorter."""

_QUIET, _FLOOR_SHARE, _PEAK_SHARE = 0.4, 0.1, 0.95
"""A frame is quiet in the lower two fifths (in dB) of what lies between the 10th and the 95th percentile of levels."""

_HEARD = 0.05
"""Seconds that a word must last behind a pause for the pause to be the one before it."""

_SHORTEST_WORD = 0.02

_SQUEEZED, _SAYABLE, _MOST_SHARING = 0.02, 0.05, 4
"""Seconds of sound per character (with the space before it) of a word that the alignment passed over, of words that can have
been said in the time, and how many words at most share theirs with such a one. These and the values above: best of a grid, or
among the best, for the errors of base and tiny.en on 650 words of real recordings that PocketSphinx had aligned."""

_LEAST_RANGE, _MOST_RANGE = 12.0, 50.0
"""dB between these percentiles: less, and speech cannot be told from what is behind it; more is digital silence."""


def pauses(samples: memoryview[float]) -> list[tuple[float, float]]:
    """(start, end) in seconds of each quiet stretch in f32 samples at 16 kHz; also short ones at their very beginning and end."""
    levels = [
        20 * math.log10(max(math.hypot(*samples[n : n + _FRAME].tolist()), 1e-6))
        for n in range(0, len(samples) - _FRAME + 1, _FRAME)
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
        n = bisect_left(limits, end + _HEARD, 1) - 1  # the word that must come behind this pause
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


def relieved(ends: Sequence[float], lengths: Sequence[int], quiet: Sequence[tuple[float, float]]) -> list[float]:
    """The same moments with time for words that an alignment passed over.

    lengths: characters of each word and the space before it

    Now and then an alignment dwells on one word and rushes through the next: such a word shares its time by length with
    the slower of its neighbours, and these with theirs until what they have is enough to say them in. Only time with
    sound in it counts.
    """

    def sounded(moment: float) -> float:
        return moment - sum(min(end, moment) - begin for begin, end in quiet if begin < moment)

    limits = list(accumulate([0.0, *ends], max))
    sound, moved = [sounded(limit) for limit in limits], set[int]()
    for n, length in enumerate(lengths):
        if sound[n + 1] - sound[n] >= _SQUEEZED * length:
            continue
        first, last = n, n + 1
        while last - first < _MOST_SHARING and sound[last] - sound[first] < _SAYABLE * sum(lengths[first:last]):
            before = (sound[first] - sound[first - 1]) / lengths[first - 1] if first > 0 else 0.0
            behind = (sound[last + 1] - sound[last]) / lengths[last] if last < len(lengths) else 0.0
            if not (before or behind):
                break
            first, last = (first - 1, last) if before >= behind else (first, last + 1)
        share = (sound[last] - sound[first]) / sum(lengths[first:last])
        for word in range(first, last - 1):
            sound[word + 1] = sound[word] + share * lengths[word]
            moved.add(word + 1)
    for n in moved:
        limits[n] = sound[n]
        for begin, end in quiet:
            if begin < limits[n]:
                limits[n] += end - begin
    return limits[1:]


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
    every = [group for words in groups for group in words]
    ends = relieved([_end(group) for group in every], [len(text_of(group)) + 1 for group in every], quiet)
    times = iter(spans(ends, quiet, seconds))
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
