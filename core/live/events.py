"""What is told of a stream, each as one JSON message. Times are seconds from the stream's first sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_type_hints

from core.errors import ServiceError
from core.transcript.values import Word


@dataclass(frozen=True, kw_only=True)
class Event:
    """`type` is the message's; what is None is left out of it."""

    type: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"type": self.type} | {name: _plain(value) for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Ready(Event):
    """The stream can begin, or go on: `position` is the first sample (or byte of a container) that is wanted."""

    type = "ready"
    session: str
    position: int = 0
    resumed: bool = False
    model: str = ""
    #: parameters that are not honoured in full
    warnings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Ack(Event):
    """What lies before need not be sent again, whatever dies.

    position: in samples at the stream's own rate, or bytes of a container: `from` of a stream that goes on
    """

    type = "ack"
    samples: int
    position: int


@dataclass(frozen=True, kw_only=True)
class SpeechStart(Event):
    type = "speech_start"
    t: float
    utterance: int
    channel: int | None = None


@dataclass(frozen=True, kw_only=True)
class SpeechEnd(Event):
    type = "speech_end"
    t: float
    utterance: int
    channel: int | None = None


@dataclass(frozen=True, kw_only=True)
class Partial(Event):
    """What is heard of an utterance so far: `committed + tail`, whose blank is the tail's. Within one utterance `committed`
    only grows, and `revision` too."""

    type = "partial"
    utterance: int
    revision: int
    committed: str
    tail: str
    start: float
    #: up to where it was heard
    end: float
    channel: int | None = None


@dataclass(frozen=True, kw_only=True)
class Final(Event):
    """An utterance, once. In order of `utterance`; those of one channel do not overlap. `text` is "" where only noise was heard."""

    type = "final"
    utterance: int
    start: float
    end: float
    text: str
    words: list[Word]
    language: str
    #: mean probability of its words
    confidence: float | None = None
    speaker: str | None = None
    channel: int | None = None
    #: code of why there is no text although somebody spoke; what a job made of the stream hears again
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Translation(Event):
    """Of a final that was told before; `error` (a code) instead of a text where there is none."""

    type = "translation"
    utterance: int
    language: str
    text: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stats(Event):
    """How the stream gets on, every few seconds.

    behind: seconds between what has come and what is final or silence
    queues: what waits in each stage
    """

    type = "stats"
    received: float
    behind: float
    queues: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Failure(Event):
    """Why the stream is closed; `code` as in docs/reference/errors.md."""

    type = "error"
    code: str
    message: str
    #: whether `session` may be used to go on
    resumable: bool = False
    errors: list[dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class End(Event):
    """All is told. job: id of the job that the stream has become; None without `save`"""

    type = "end"
    duration: float
    job: str | None = None


_KINDS: dict[str, type[Event]] = {
    kind.type: kind for kind in (Ready, Ack, SpeechStart, SpeechEnd, Partial, Final, Translation, Stats, Failure, End)
}


def event_of(message: Mapping[str, Any]) -> Event | None:
    """The event of a message; None for one that this version does not know. What it knows no name for is left out."""
    kind = _KINDS.get(str(message.get("type")))
    if kind is None:
        return None
    known = {name: message[name] for name in get_type_hints(kind) if name in message and name != "type"}
    if kind is Final:
        known["words"] = [Word.from_dict(word) for word in known.get("words", ())]
    return kind(**known)


def event_in(message: str | bytes) -> Event | None:
    """The event of a message as it came over a connection. Raises ServiceError for what nobody can understand."""
    try:
        return event_of(json.loads(message))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ServiceError(f"What a stream was told is no event: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Word):
        return {"word": value.word, "start": value.start, "end": value.end, "probability": value.probability}
    return value
