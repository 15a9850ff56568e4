"""What goes into an engine and what comes out: values only, one chunk at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from core.audio.samples import SAMPLE_RATE, Pcm
from core.system.cancel import Cancel
from core.transcript.languages import joined
from core.transcript.values import Segment

SHORTEST, LONGEST = SAMPLE_RATE // 10, 30 * SAMPLE_RATE
"""Samples of a chunk: libwhisper returns nothing below (and for none the previous caller's text); the model's window ends above."""


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions:
    """How one chunk is decoded.

    language: ISO 639-1 code, or None to let the model detect it in this chunk
    task: `transcribe`, or `translate` (to English; multilingual models only)
    prompt: text the model is told came before; given to every chunk
    temperature: first rung of the ladder (then +0.4 until 1.0 when a decode looks bad)
    beam_size: None = greedy; 2-8 = beam search
    word_timestamps: also return words with times; segments then last from their first word to their last one
    fit_context: encode a short chunk in a window of its own length instead of 30 s (whisper.library.inference.fitted_context)
    ladder: False: one decode, however bad it looks; for a text that is soon replaced by a better one
    """

    language: str | None = None
    task: str = "transcribe"
    prompt: str | None = None
    temperature: float = 0.0
    beam_size: int | None = None
    word_timestamps: bool = False
    fit_context: bool = False
    ladder: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ChunkTranscript:
    """What the engine made of one chunk.

    segments: seconds from the start of the audio that the engine heard, clamped to it and monotonic; their language and
        no_speech_prob are the chunk's, but for what was decoded apart from the rest of it
    language: that it was decoded in
    languages: what the model heard, probabilities above 0.01; empty if the engine does not tell (`Engine.hears_languages`)
    no_speech_prob: the model's own, computed correctly after decoding (None if the engine has none)
    engine_seconds: CPU seconds the worker spent on this chunk; wall_seconds: from its start on it
    engine: identity, e.g. {"library": "wheel", "version": "1.8.5"}
    cleaned: whether it is what cleaned sound gave; None where it was not recognised from both
    """

    segments: tuple[Segment, ...]
    language: str
    no_speech_prob: float | None
    engine_seconds: float
    wall_seconds: float
    engine: dict[str, str]
    languages: dict[str, float] = field(default_factory=dict)
    cleaned: bool | None = None

    @property
    def text(self) -> str:
        return joined((s.text for s in self.segments), self.language)

    def by_words(self) -> ChunkTranscript:
        """Without the model's own timestamps: the times of words, where there are any, are all there is."""
        return replace(self, segments=tuple(replace(s, timestamps=None) for s in self.segments))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ChunkTranscript:
        """The reverse of `to_dict`. Stored by versions up to 0.1.0, segments have no language and no_speech_prob."""
        own = {name: data[name] for name in ("language", "no_speech_prob")}
        segments = tuple(
            Segment.from_dict(s | {k: v for k, v in own.items() if s.get(k) is None}) for s in data["segments"]
        )
        return ChunkTranscript(**{**data, "segments": segments})


def mean_logprob(said: ChunkTranscript) -> float:
    """Of its segments, by the length of their texts; -inf where there is no text, or the engine does not tell."""
    told = [(s.avg_logprob, len(s.text.strip())) for s in said.segments if s.avg_logprob is not None]
    letters = sum(length for _, length in told)
    return sum(mean * length for mean, length in told) / letters if letters else float("-inf")


@dataclass(frozen=True, kw_only=True)
class LanguageGuess:
    """Result of language detection on one window: the best code and all probabilities above 0.01."""

    language: str
    probability: float
    probabilities: dict[str, float]
    engine_seconds: float


class Urgency(StrEnum):
    """Who is served first, the most urgent at the top; within a class owners take turns, and their jobs."""

    LIVE = "live"
    INTERACTIVE = "interactive"
    JOB = "job"


@dataclass(frozen=True, kw_only=True)
class Call:
    """For whom an engine is called, and how it is ended; none of it changes what comes out.

    job, owner: fairness keys; the owners share the workers round robin, and so do the jobs of each
    label: what is worked on, for messages and the process title, e.g. "chunk 3/60"
    timeout: seconds from the worker's start on it, never from queueing; None = from what the engine has measured
    urgency: before others or in turn with them, where the engine has a queue for all
    cancel: once it is set, waiting or running, the call raises Cancelled and its worker is stopped within a second
    """

    job: str = ""
    owner: str = ""
    label: str = ""
    timeout: float | None = None
    urgency: Urgency = Urgency.JOB
    cancel: Cancel | None = None


class Engine(Protocol):
    """Turns PCM into text. Safe to call from many threads and from forked job processes.

    Raises: ChunkFailed, ChunkTimeout, ModelInvalid, EngineUnavailable, Cancelled (`Call.cancel`).

    hears_languages: each transcript says which languages it may be (`ChunkTranscript.languages`); else
        `detect_language` must be asked, which costs another pass
    """

    hears_languages: bool

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        """Transcribe one chunk of 0.1 to 30 s.

        model: absolute path of a verified ggml file
        """
        ...

    def detect_language(self, model: str, pcm: Pcm, call: Call = Call()) -> LanguageGuess:
        """Guess the language of 0.1 to 30 s of speech."""
        ...

    def close(self) -> None:
        """Stop what this object started. It may be used again after close, and then starts anew."""
        ...
