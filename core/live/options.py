"""What may be asked of a stream: its own table of options, and those that it shares with jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from core.errors import refusal
from core.options import about, options, read

Encoding = Literal["s16le", "f32le", "mulaw", "alaw", "container"]

OF_JOBS = frozenset(
    {"model", "language", "task", "prompt", "vocabulary", "translate_to", "metadata", "callback_url", "word_timestamps"}
)
"""Options of jobs (`core.jobs.params`) that a stream takes too; the job that it becomes has them."""


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a stream sounds and what is wanted of it."""

    encoding: Encoding = field(
        default="s16le",
        metadata=about(
            "How the audio comes: samples (s16le, f32le, mulaw, alaw), or container: as a browser records it."
        ),
    )
    sample_rate: int = field(default=16_000, metadata=about("Samples a second, of samples.", ge=8_000, le=48_000))
    channels: int = field(
        default=1, metadata=about("Of samples, interleaved; each of two is heard by itself.", ge=1, le=2)
    )
    partials: bool = field(default=True, metadata=about("Also tell what is heard before it is final."))
    save: bool = field(default=True, metadata=about("Keep audio and text: the stream becomes a job when it ends."))
    refine: bool = field(default=False, metadata=about("With save: hear the whole recording again, for a better text."))
    silence_ms: int = field(
        default=400,
        metadata=about(
            "Milliseconds of silence that end an utterance, twice as many one with less than 3 s of speech.",
            ge=200,
            le=2_000,
        ),
    )
    name: str | None = field(default=None, metadata=about("What the recording is called.", max_length=255))

    def to_dict(self) -> dict[str, Any]:
        return {option.name: getattr(self, option.name) for option in options(type(self))}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What is stored, whoever wrote it."""
        return cls(**{option.name: data[option.name] for option in options(cls) if option.name in data})


@dataclass(frozen=True, kw_only=True)
class Start:
    """A stream's first message.

    job: options of `OF_JOBS` as they were sent; who makes the job checks them
    session: of a stream that goes on; `position`: the first sample (at `stream.sample_rate`) or byte (of a container)
        that will be sent, as the last `ack` told it
    """

    stream: StreamOptions
    job: Mapping[str, Any] = field(default_factory=dict)
    session: str | None = None
    position: int = 0

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Raises ValidationFailed, which names each field that cannot be used."""
        given = {name: value for name, value in message.items() if name not in ("type", "session", "from")}
        values, errors = read(StreamOptions, {name: value for name, value in given.items() if name not in OF_JOBS})
        session, position = message.get("session"), message.get("from", 0)
        if session is not None and not isinstance(session, str):
            errors.append({"field": "session", "message": "Input should be a valid string"})
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 2**53:
            errors.append({"field": "from", "message": "Input should be a count of samples"})
        if errors:
            raise refusal(*errors)
        job = {name: value for name, value in given.items() if name in OF_JOBS}
        return cls(stream=StreamOptions(**values), job=job, session=session, position=position)
