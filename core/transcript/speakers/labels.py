"""A transcript with speakers: words and segments say whose they are, and segments end where another one begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core.transcript.languages import joined
from core.transcript.seams.stitch import PlacedWord, keep_words, placed_words
from core.transcript.speakers.translations import shared_out
from core.transcript.speakers.turns import Turn, usable
from core.transcript.speakers.words import Label, Spoken, labels_of
from core.transcript.values import Segment, Speaker, SpeakerTurn, Transcript, Word

ENDERS = ".?!…。？！؟۔।॥՞։።"  # noqa: RUF001 (the point is that they are not ASCII)
"""What a sentence ends with, in the scripts that Whisper writes."""
_CLOSERS = "\"'”’»)]}」』）】"  # noqa: RUF001


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """Words of one segment that its text does not part: [first, last)."""

    segment: int
    first: int
    last: int
    start: float
    end: float
    ends: bool


def labelled(transcript: Transcript, turns: Iterable[Turn], names: dict[int, str] | None = None) -> Transcript:
    """With `speakers` and their `turns`, SPEAKER_00 being who says the first word; the text stays as it is, to the letter.

    names: of voices that are known. One voice alone gets no label, unless it is known.
    """
    names = names or {}
    placed = [placed_words(segment) for segment in transcript.segments]
    units = [
        unit
        for n, (segment, words) in enumerate(zip(transcript.segments, placed, strict=True))
        for unit in _units(n, segment, words, transcript.language.code)
    ]
    spoken = [Spoken(start=unit.start, end=unit.end, segment=unit.segment, ends=unit.ends) for unit in units]
    heard = usable(turns, transcript.duration)
    labels = _labels(transcript.segments, spoken, heard)
    voices = list(dict.fromkeys(label.voice for label in labels if label.voice is not None))
    spoke = voices  # SPEAKER_00 first: whose number is whose id, where nobody gets a label too
    if len(voices) == 1 and voices[0] not in names:
        voices = []
    ids = {voice: f"SPEAKER_{n:02d}" for n, voice in enumerate(voices)}
    segments = tuple(_translated(transcript, _segments(transcript.segments, placed, units, labels, ids)))
    speakers = tuple(
        Speaker(id=one, name=names.get(voice, one), seconds=_seconds(segments, one)) for voice, one in ids.items()
    )
    said = tuple(
        SpeakerTurn(
            start=round(turn.start, 3),
            end=round(min(turn.end, transcript.duration), 3),
            speaker=ids[turn.voice],
            channel=turn.channel,
        )
        for turn in heard
        if turn.voice in ids and turn.start < transcript.duration
    )
    provenance = {**transcript.provenance, "voices": spoke}
    return replace(transcript, segments=segments, speakers=speakers, turns=said, provenance=provenance)


def _labels(segments: Sequence[Segment], spoken: Sequence[Spoken], turns: Sequence[Turn]) -> list[Label]:
    """What is said in one channel is of the voices that are heard there."""
    found: dict[int, Label] = {}
    for channel in {segment.channel for segment in segments}:
        own = [n for n, word in enumerate(spoken) if segments[word.segment].channel == channel]
        heard = [turn for turn in turns if channel in (None, turn.channel)]
        found |= zip(own, labels_of([spoken[n] for n in own], heard), strict=True)
    return [found[n] for n in range(len(spoken))]


def _units(number: int, segment: Segment, words: Sequence[PlacedWord], language: str) -> Iterator[_Unit]:
    """A segment can be cut only where cutting and joining gives the same text."""
    first = 0
    for last in range(1, len(words) + 1):
        if last < len(words):
            at = words[last].at
            if at <= words[first].at or joined((segment.text[:at], segment.text[at:]), language) != segment.text:
                continue
        text = segment.text[words[first].at : words[last].at if last < len(words) else len(segment.text)]
        yield _Unit(
            segment=number,
            first=first,
            last=last,
            start=words[first].start,
            end=words[last - 1].end,
            ends=text.rstrip().rstrip(_CLOSERS)[-1:] in tuple(ENDERS),
        )
        first = last


def _segments(
    segments: Sequence[Segment],
    placed: Sequence[Sequence[PlacedWord]],
    units: Sequence[_Unit],
    labels: Sequence[Label],
    ids: dict[int, str],
) -> Iterator[list[Segment]]:
    """Of each segment the parts that one voice each has said."""
    at = 0
    for number, segment in enumerate(segments):
        end = at
        while end < len(units) and units[end].segment == number:
            end += 1
        if at == end:  # without a word nobody says it
            yield [segment]
            continue
        parts = []
        while at < end:
            behind = at + 1
            while behind < end and _id(labels[behind], ids) == _id(labels[at], ids):
                behind += 1
            parts.append(_part(segment, placed[number], units[at:behind], labels[at:behind], ids))
            at = behind
        yield parts


def _translated(transcript: Transcript, parted: Iterable[list[Segment]]) -> Iterator[Segment]:
    """A translation is that of the whole segment."""
    language = transcript.translation.language if transcript.translation else ""
    for segment, parts in zip(transcript.segments, parted, strict=True):
        if segment.translation is None or len(parts) == 1:
            yield from parts
        else:
            yield from shared_out(segment.translation, parts, language)


def _part(
    segment: Segment, placed: Sequence[PlacedWord], units: Sequence[_Unit], labels: Sequence[Label], ids: dict[int, str]
) -> Segment:
    first, last = units[0].first, units[-1].last
    part = keep_words(segment, list(placed), first, last)
    assert part is not None
    speaker = _id(labels[0], ids)
    if speaker is None:
        return part
    seconds = sum(unit.end - unit.start for unit in units)
    share = sum(label.share * (unit.end - unit.start) for unit, label in zip(units, labels, strict=True))
    words = [
        _word(segment.words[n], label, ids)
        for unit, label in zip(units, labels, strict=True)
        for n in range(unit.first, unit.last)
        if segment.words
    ]
    confidence = round(share / seconds, 3) if seconds else round(labels[0].share, 3)
    return replace(part, speaker=speaker, speaker_confidence=confidence, words=tuple(words))


def _word(word: Word, label: Label, ids: dict[int, str]) -> Word:
    also = sorted(ids[voice] for voice in label.also if voice in ids)
    speaker = _id(label, ids)
    return replace(word, speaker=speaker, speakers=(speaker, *also) if speaker and also else ())


def _id(label: Label, ids: dict[int, str]) -> str | None:
    return None if label.voice is None else ids.get(label.voice)


def _seconds(segments: Iterable[Segment], speaker: str) -> float:
    return round(sum(one.end - one.start for one in segments if one.speaker == speaker), 3)
