"""From segments to cues: what of a transcript is on the screen at once, in which lines, and for how long."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from core.transcript.languages import joined
from core.transcript.shaping import Shaping
from core.transcript.subtitles.cue_times import cue_times
from core.transcript.subtitles.lines import Ruler, partition, roughness, units, width, wrap
from core.transcript.values import Segment, Transcript, Word

JOIN_SECONDS = 1.0
"""Longest pause between two segments that may be one cue where each alone would be gone too soon."""
PAUSE_SECONDS = 0.3
"""A pause from here on is a good place to end a cue."""
STRAY_LETTERS = 32
"""So many of a segment's letters may belong to none of its words, between two of them."""


@dataclass(frozen=True, kw_only=True)
class Bit:
    """Text up to the next place where a line may end; said from `start` on (milliseconds), where a word begins here."""

    text: str
    start: int | None


@dataclass(frozen=True, kw_only=True)
class Cue:
    """What is on the screen from `start` to `end`, in milliseconds. speaker: who a format with a place for it is to name"""

    start: int
    end: int
    lines: tuple[tuple[Bit, ...], ...]
    speaker: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The lines."""
        return tuple("".join(bit.text for bit in line).rstrip() for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """As Bit; in seconds, and with the times that it has if no word says so."""

    text: str
    start: float
    end: float
    said: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Units that are one cue, and those of the translation below them."""

    units: tuple[_Unit, ...]
    below: tuple[_Unit, ...] = ()
    speaker: str | None

    @property
    def start(self) -> float:
        return self.units[0].start

    @property
    def end(self) -> float:
        return self.units[-1].end

    @property
    def width(self) -> int:
        return sum(width(unit.text) for unit in (*self.units, *self.below))


def cues(transcript: Transcript, shaping: Shaping, *, tick: int = 1, voices: bool = False) -> list[Cue]:
    """The cues of a transcript, in order.

    tick: milliseconds that times are multiples of
    voices: the format says itself who speaks, so that `auto` needs no name in the text

    No cue overlaps another, ends after the media, is empty, wider or of more lines than asked for, or stays longer. The
    letters are those of the segments. Only below `translation=both` a translation that is much longer than its original
    may take more lines.
    """
    named = shaping.speakers == "prefix" or (shaping.speakers == "auto" and not voices)
    cut = [part for texts in _texts(transcript, shaping, named=named) for part in _split(texts, shaping)]
    cut.sort(key=lambda part: part.start)  # voices that speak at once
    parts = _together(cut, transcript, shaping)
    spoken = []
    for part in parts:
        want = part.width / shaping.max_chars_per_second
        spoken.append((_ticks(part.start, tick), _ticks(part.end, tick), -int(-want * 1000 // tick)))
    times = cue_times(
        spoken,
        least=max(1, -int(-shaping.min_cue * 1000 // tick)),
        most=int(shaping.max_cue * 1000) // tick,
        end=int(round(transcript.duration * 1000, 3)) // tick,
    )
    return [
        Cue(
            start=start * tick,
            end=end * tick,
            lines=(*_lines(part.units, shaping), *_lines(part.below, shaping)),
            speaker=part.speaker if shaping.speakers == "auto" else None,
        )
        for part, (start, end) in zip(parts, times, strict=True)
    ]


def _ticks(seconds: float, tick: int) -> int:
    return round(seconds * 1000 / tick)


def _lines(some: Sequence[_Unit], shaping: Shaping) -> Iterator[tuple[Bit, ...]]:
    for i, j in wrap([unit.text for unit in some], shaping.max_line_width):
        yield tuple(
            Bit(text=unit.text, start=None if unit.said is None else round(unit.said * 1000)) for unit in some[i:j]
        )


def _texts(transcript: Transcript, shaping: Shaping, *, named: bool) -> Iterator[_Part]:
    """Each segment that has a text, whole."""
    before = None
    for segment in transcript.segments:
        text = _timed_units(segment, segment.text, shaping.max_line_width, words=True)
        below: tuple[_Unit, ...] = ()
        if shaping.translation != "none" and segment.translation:
            below = _timed_units(segment, segment.translation, shaping.max_line_width, words=False)
            if shaping.translation == "only" or not text:
                text, below = below, ()
        if not text:
            continue
        voice = transcript.voice_of(segment)
        if named and voice and (segment.speaker, voice) != before:
            name = units(f"{voice}: ", shaping.max_line_width)
            name[-1] += " "
            text = (*(_Unit(text=piece, start=segment.start, end=segment.start) for piece in name), *text)
        before = (segment.speaker, voice)
        yield _Part(units=text, below=below, speaker=voice)


def _timed_units(segment: Segment, text: str, limit: int, *, words: bool) -> tuple[_Unit, ...]:
    """A segment's text cut where lines may end, each with its time: as its words have it, else by its share of the letters.

    words: whether it is these words' text
    """
    found = units(text, limit)
    letters = "".join(unit.rstrip(" ") for unit in found)
    places, times, begins = _anchors(segment, letters, segment.words if words else ())

    def at(place: int, *, end: bool) -> float:
        left, right = bisect_left(places, place), bisect_right(places, place)
        if left < right:
            return times[left if end else right - 1]
        share = (place - places[left - 1]) / (places[left] - places[left - 1])
        return times[left - 1] + share * (times[left] - times[left - 1])

    made, place = [], 0
    for n, unit in enumerate(found):
        after = place + len(unit.rstrip(" "))
        made.append(
            _Unit(
                text=unit,
                start=segment.start if n == 0 else at(place, end=False),
                end=max(segment.start, segment.end) if n == len(found) - 1 else at(after, end=True),
                said=at(place, end=False) if place in begins else None,
            )
        )
        place = after
    return tuple(made)


def _anchors(segment: Segment, letters: str, words: Sequence[Word]) -> tuple[list[int], list[float], set[int]]:
    """Places among the letters whose time is known, these times, and which of them are beginnings of words."""
    last = max(segment.start, segment.end)
    places, times, begins = [0], [segment.start], set()
    place, reached = 0, segment.start
    for word in words:
        said = "".join(word.word.split())
        found = letters.find(said, place, place + len(said) + STRAY_LETTERS) if said else -1
        if found < 0:
            continue
        place = found + len(said)
        if word.start is None or word.end is None:
            continue
        start = min(max(word.start, reached), last)
        reached = min(max(word.end, start), last)
        places += (found, place)
        times += (start, reached)
        begins.add(found)
    return [*places, len(letters)], [*times, last], begins


def _split(part: _Part, shaping: Shaping) -> Iterator[_Part]:
    """One segment as one cue, if that can hold it, else as few, cut where a sentence, a phrase or a breath ends."""
    if _holds(part, shaping):
        yield part
        return
    some, below = part.units, part.below
    ruler, under = Ruler([unit.text for unit in some]), Ruler([unit.text for unit in below])
    reach, under_reach = (r.reaches(shaping.max_line_width, shaping.max_lines) for r in (ruler, under))
    capacity = shaping.max_line_width * shaping.max_lines
    middles = [(unit.start + unit.end) / 2 for unit in below]

    def beneath(i: int) -> int:
        return 0 if i == 0 else len(below) if i == len(some) else bisect_left(middles, some[i].start)

    def cost(i: int, j: int) -> float | None:
        seconds = some[j - 1].end - some[i].start
        if j > i + 1 and (j > reach[i] or seconds > shaping.max_cue):
            return None
        wide = ruler.width(i, j)
        price = 0.4 + 0.5 * (wide / capacity) ** 2
        if below and beneath(j) > under_reach[beneath(i)]:
            price += 100
        if j < len(some):
            breath = some[j].start - some[j - 1].end >= PAUSE_SECONDS
            price += roughness(some[j - 1].text) - 0.2 * breath
        too_short = seconds < max(shaping.min_cue, wide / shaping.max_chars_per_second)
        return price + 0.5 * too_short

    for i, j in partition(len(some), cost):
        yield replace(part, units=some[i:j], below=below[beneath(i) : beneath(j)])


def _together(parts: Sequence[_Part], transcript: Transcript, shaping: Shaping) -> list[_Part]:
    """The same, but short ones that follow each other closely, said by one voice, as one cue where it can hold them."""
    made: list[_Part] = []
    for n, part in enumerate(parts):
        until = parts[n + 1].start if n + 1 < len(parts) else transcript.duration
        if made and (_hurried(made[-1], part.start, shaping) or _hurried(part, until, shaping)):
            both = _joined(made[-1], part, transcript)
            if part.start - made[-1].end <= JOIN_SECONDS and made[-1].speaker == part.speaker and _holds(both, shaping):
                made[-1] = both
                continue
        made.append(part)
    return made


def _hurried(part: _Part, until: float, shaping: Shaping) -> bool:
    return until - part.start < max(shaping.min_cue, part.width / shaping.max_chars_per_second)


def _holds(part: _Part, shaping: Shaping) -> bool:
    if part.end - part.start > shaping.max_cue:
        return False
    return all(
        len(some) < 2
        or Ruler([unit.text for unit in some]).reaches(shaping.max_line_width, shaping.max_lines)[0] == len(some)
        for some in (part.units, part.below)
    )


def _joined(one: _Part, two: _Part, transcript: Transcript) -> _Part:
    language = transcript.language.code
    return replace(one, units=_chain(one.units, two.units, language), below=_chain(one.below, two.below, language))


def _chain(one: tuple[_Unit, ...], two: tuple[_Unit, ...], language: str) -> tuple[_Unit, ...]:
    if not (one and two):
        return one or two
    last = one[-1].text.rstrip()
    apart = joined((last, two[0].text), language)[len(last) :].startswith(" ")
    return (*one[:-1], replace(one[-1], text=last + " " * apart), *two)
