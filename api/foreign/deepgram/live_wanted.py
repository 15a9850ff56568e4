"""What a client of Deepgram's wants of a stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from api.foreign.deepgram.asked import UNUSED, Common, ListenQuery, common_of, query_of
from api.foreign.tables import unsupported
from core.errors import refusal
from core.live.options import Encoding
from core.options import about

SAMPLES: Mapping[str, tuple[Encoding, int]] = MappingProxyType(
    {"linear16": ("s16le", 2), "linear32": ("f32le", 4), "mulaw": ("mulaw", 1), "alaw": ("alaw", 1)}
)
"""Encoding and bytes of one sample. linear32 is floating point, as Deepgram has it."""

CONTAINERS = frozenset({"flac", "opus", "ogg-opus", "speex"})
"""What is read as a browser's recording is: by what it begins with."""

SILENCE = (200, 2_000)
"""Milliseconds of silence that can end an utterance."""

USUAL_SILENCE = 400


def _endpointing(given: int | str) -> int:
    """Milliseconds; 0: not asked for."""
    text = str(given).strip().lower()
    if text in ("true", "false"):
        return USUAL_SILENCE if text == "true" else 0
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise ValueError("Input should be milliseconds, or false")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class StreamQuery(ListenQuery):
    """The parameters of `WS /v1/listen`."""

    encoding: str | None = field(default=None, metadata=about("Of samples; nothing: a container, as browsers record."))
    sample_rate: int | None = field(default=None, metadata=about("Of samples; needed.", ge=8_000, le=48_000))
    channels: int = field(default=1, metadata=about("Of samples; each of two is heard by itself.", ge=1, le=2))
    multichannel: bool | None = field(default=None, metadata=about("With two channels it is so in any case."))
    interim_results: bool = field(default=False, metadata=about("Also what is not final."))
    endpointing: int | str = field(
        default=USUAL_SILENCE,
        metadata=about("Milliseconds of silence that end an utterance; false: not told.", convert=_endpointing),
    )
    utterance_end_ms: int | None = field(
        default=None, metadata=about("UtteranceEnd after so long without words.", ge=100, le=60_000)
    )
    vad_events: bool = field(default=False, metadata=about("Also SpeechStarted."))
    diarize: bool = field(default=False, metadata=UNUSED)
    diarize_model: str | None = field(default=None, metadata=UNUSED)
    no_delay: bool = field(default=True, metadata=about("Nothing waits for formatting in any case."))


@dataclass(frozen=True, kw_only=True)
class LiveWanted:
    """One stream. frame: bytes of a sample of every channel; None of a container"""

    query: StreamQuery
    common: Common
    start: Mapping[str, Any]
    frame: int | None


def live_wanted(items: Sequence[tuple[str, str]], *, here: Collection[str]) -> LiveWanted:
    """Read the query. Raises ValidationFailed, Unsupported. here: names of this service's models"""
    query = query_of(StreamQuery, items)
    common = common_of(query, here=here)
    warnings = list(common.warnings)
    sound: dict[str, Any] = {"encoding": "container"}
    frame = None
    if query.encoding is not None and query.encoding in SAMPLES:
        if query.sample_rate is None:
            raise refusal({"field": "sample_rate", "message": f"needed with encoding={query.encoding}"})
        encoding, width = SAMPLES[query.encoding]
        sound = {"encoding": encoding, "sample_rate": query.sample_rate, "channels": query.channels}
        frame = width * query.channels
    elif query.encoding is not None and query.encoding not in CONTAINERS:
        raise unsupported("encoding", f"must be one of {', '.join((*SAMPLES, *sorted(CONTAINERS)))}")
    elif query.channels > 1 or query.multichannel:
        warnings.append(("multichannel", "the channels of a container are heard as one"))
    if frame is not None and query.channels > 1 and not query.multichannel:
        warnings.append(("multichannel", "each channel is heard by itself"))
    asked = int(query.endpointing)
    silence = min(max(asked or USUAL_SILENCE, SILENCE[0]), SILENCE[1])
    if asked and asked != silence:
        warnings.append(("endpointing", f"{silence} ms are used"))
    start = {**common.job, **sound, "partials": query.interim_results, "silence_ms": silence, "save": False}
    return LiveWanted(query=query, common=replace(common, warnings=warnings), start=start, frame=frame)
