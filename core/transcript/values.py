"""What comes out: words, segments, gaps and the whole transcript. Plain values; seconds are floats."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from core.notices import Notice
from core.transcript.languages import joined

FAILED_LOGPROB, FAILED_COMPRESSION = -1.0, 2.4
"""openai-whisper's own thresholds (`transcribe.py`): a decode below the first or above the second has failed."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word as spoken. Times may be None where the model gave none to interpolate from.

    `speaker` as the segment has it; `speakers` are all of them, the first one too, where two talk at once.
    """

    word: str
    start: float | None
    end: float | None
    probability: float | None
    speaker: str | None = None
    speakers: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """By hand: `asdict` takes ten times as long, and a long transcript has 100,000 of them."""
        return {
            "word": self.word,
            "start": self.start,
            "end": self.end,
            "probability": self.probability,
            "speaker": self.speaker,
            "speakers": self.speakers,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Word:
        return Word(**{**data, "speakers": tuple(data.get("speakers", ()))})


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One phrase with its times in seconds and the raw figures behind it.

    `flags` are among `low_confidence, repetition, no_speech_likely, dropped_words_possible`. `language` is the code of
    what it was decoded in; None in results of versions up to 0.1.0. `speaker` is the id of one of the transcript's
    speakers (`speaker_confidence`: the share of its words during which that voice was heard), `translation` the same text in the transcript's `translation.language`; None where nobody has asked for them.
    `channel` is the one it was heard in, from 0, where each was heard by itself.
    `timestamps`: start and end by the model's own timestamps, where `start` and `end` are those of the words; never stored in a result.
    """

    start: float
    end: float
    text: str
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None
    flags: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    language: str | None = None
    speaker: str | None = None
    speaker_confidence: float | None = None
    translation: str | None = None
    channel: int | None = None
    timestamps: tuple[float, float] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """What decides about text and gaps: the same whether anybody asked for times of words or not."""
        return self.timestamps or (self.start, self.end)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Segment:
        words = tuple(map(Word.from_dict, data.get("words", ())))
        times, flags = data.get("timestamps"), tuple(data.get("flags", ()))
        return Segment(**{**data, "flags": flags, "words": words, "timestamps": times and tuple(times)})


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Speech without text: `reason` is `chunk_failed` or `no_text`; `channel` as of a segment."""

    start: float
    end: float
    reason: str
    channel: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Language:
    """ISO 639-1 code and how sure the detection was (1.0 when the user gave it)."""

    code: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One voice: an id such as `SPEAKER_00`, what it is called, and for how long it speaks."""

    id: str
    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SpeakerTurn:
    """A speaker, by id, is heard from `start` to `end`, whether or not there are words; others may be at the same time."""

    start: float
    end: float
    speaker: str
    channel: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Translation:
    """What the segments' translations are in (ISO 639-1), and who made them."""

    language: str
    provider: str


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The merged result of one job; what the formats of `core.transcript.formats` are made from."""

    segments: tuple[Segment, ...]
    language: Language
    duration: float
    model: str
    task: str = "transcribe"
    word_timestamps: bool = False
    gaps: tuple[Gap, ...] = ()
    warnings: tuple[Notice, ...] = ()
    performance: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    #: None: nobody listened for who speaks
    speakers: tuple[Speaker, ...] | None = None
    #: in order; empty in results of versions up to 0.3.0, and where people have said who says what
    turns: tuple[SpeakerTurn, ...] = ()
    translation: Translation | None = None

    def name_of(self, speaker: str) -> str:
        """What a speaker is called."""
        return next((known.name for known in self.speakers or () if known.id == speaker), speaker)

    def voice_of(self, segment: Segment) -> str | None:
        """Who is to be named before a segment: its speaker or, where several channels have a text, its channel."""
        if segment.speaker:
            return self.name_of(segment.speaker)
        return f"Channel {segment.channel}" if segment.channel is not None and self._several_channels else None

    @cached_property
    def _several_channels(self) -> bool:
        return len({segment.channel for segment in self.segments}) > 1

    @property
    def text(self) -> str:
        """All segment texts as one string, with blanks between where the language has them."""
        return joined((s.text for s in self.segments), self.language.code)
