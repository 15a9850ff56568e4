"""What a client wants of a transcription session, in the words of `session.update`: each is honoured, refused or a warning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from api.foreign.openai.wanted import OURS
from api.foreign.tables import unsupported
from core.errors import refusal
from core.live.options import Encoding
from core.options import about, read

LOGPROBS = "item.input_audio_transcription.logprobs"

FORMATS: Mapping[str, tuple[Encoding, int]] = MappingProxyType(
    {"audio/pcm": ("s16le", 2), "audio/pcmu": ("mulaw", 1), "audio/pcma": ("alaw", 1)}
)
"""Encoding and bytes of one sample."""

OLDER_FORMATS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pcm16": {"type": "audio/pcm", "rate": 24_000},
        "g711_ulaw": {"type": "audio/pcmu"},
        "g711_alaw": {"type": "audio/pcma"},
    }
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Format:
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = field(
        default="audio/pcm", metadata=about("16-bit samples, or G.711.")
    )
    rate: int | None = field(
        default=None, metadata=about("Of audio/pcm; nothing: 24000. OpenAI takes no other.", ge=8_000, le=48_000)
    )


@dataclass(frozen=True, kw_only=True)
class Transcription:
    model: str | None = field(default=None, metadata=about("A model of this service, or one of OpenAI's names."))
    language: str | None = field(default=None, metadata=about("Nothing: detected."))
    languages: list[str] | None = field(default=None, metadata=about("One is taken as `language`."))
    prompt: str | None = field(default=None, metadata=about("Names and words to expect."))
    keywords: list[str] | None = field(default=None, metadata=about("Likewise: the option `vocabulary`."))
    delay: str | None = field(default=None, metadata=about("Not done: named in warnings."))


@dataclass(frozen=True, kw_only=True)
class ServerVad:
    type: Literal["server_vad"] = field(default="server_vad", metadata=about("The only one there is."))
    silence_duration_ms: int = field(default=500, metadata=about("Silence that ends an item.", ge=200, le=2_000))
    threshold: float = field(default=0.5, metadata=about("Not done: named in warnings.", ge=0, le=1))
    prefix_padding_ms: int = field(default=300, metadata=about("Not done: named in warnings.", ge=0))
    create_response: bool = field(default=False, metadata=about("There are no responses: named in warnings."))
    interrupt_response: bool = field(default=False, metadata=about("Likewise."))
    idle_timeout_ms: int | None = field(default=None, metadata=about("Likewise."))


@dataclass(frozen=True, kw_only=True)
class NoiseReduction:
    type: Literal["near_field", "far_field"] | None = field(default=None, metadata=about("Named in warnings."))
    strength: float | None = field(default=None, metadata=about("Named in warnings."))


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """A session as it is set. vad: None where the client says itself when an item ends"""

    format: Format = field(default_factory=Format)
    transcription: Transcription = field(default_factory=Transcription)
    vad: ServerVad | None = field(default_factory=ServerVad)
    noise: NoiseReduction | None = None
    logprobs: bool = False

    @property
    def rate(self) -> int:
        return (self.format.rate or 24_000) if self.format.type == "audio/pcm" else 8_000

    @property
    def sample_bytes(self) -> int:
        return FORMATS[self.format.type][1]

    @property
    def job(self) -> dict[str, Any]:
        """Options of a job."""
        asked = self.transcription
        languages = asked.languages or []
        given = {
            "model": asked.model if asked.model and not OURS.fullmatch(asked.model) else None,
            "language": asked.language or (languages[0] if len(languages) == 1 else None),
            "prompt": asked.prompt,
            "vocabulary": asked.keywords,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def start(self) -> dict[str, Any]:
        """The first message of a stream."""
        return {
            **self.job,
            "encoding": FORMATS[self.format.type][0],
            "sample_rate": self.rate,
            "partials": self.vad is not None,
            "silence_ms": 500 if self.vad is None else self.vad.silence_duration_ms,
            "save": False,
        }

    @property
    def warnings(self) -> list[str]:
        """What was asked for and is not done, in words."""
        asked, vad, usual = self.transcription, self.vad or ServerVad(), ServerVad()
        found = []
        if asked.model and OURS.fullmatch(asked.model):
            found.append(f"{asked.model} is not here; the service's own model is used")
        unused = {
            "transcription.languages": not asked.language and len(asked.languages or ()) > 1,
            "transcription.delay": asked.delay is not None,
            "noise_reduction": self.noise is not None,
            **{
                f"turn_detection.{name}": getattr(vad, name) != getattr(usual, name)
                for name in (
                    "threshold",
                    "prefix_padding_ms",
                    "create_response",
                    "interrupt_response",
                    "idle_timeout_ms",
                )
            },
        }
        if names := [name for name, is_asked in unused.items() if is_asked]:
            found.append(f"not done as asked: {', '.join(names)}")
        return found

    def shown(self, session: str) -> dict[str, Any]:
        """As `session.created` and `session.updated` tell it; `warnings` is ours."""
        format_ = {"type": self.format.type} | ({"rate": self.rate} if self.format.type == "audio/pcm" else {})
        shown: dict[str, Any] = {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": session,
            "audio": {
                "input": {
                    "format": format_,
                    "transcription": _given(self.transcription) | {"model": self.transcription.model or "whisper-1"},
                    "noise_reduction": self.noise and _given(self.noise),
                    "turn_detection": self.vad and _given(self.vad),
                }
            },
            "include": [LOGPROBS] if self.logprobs else None,
        }
        return shown | ({"warnings": self.warnings} if self.warnings else {})

    def shown_older(self, session: str) -> dict[str, Any]:
        """As `transcription_session.updated` tells it."""
        inner = self.shown(session)["audio"]["input"]
        older = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
        shown = {
            "id": session,
            "object": "realtime.transcription_session",
            "modalities": ["text"],
            "input_audio_format": older[self.format.type],
            "input_audio_transcription": inner["transcription"],
            "turn_detection": inner["turn_detection"],
        }
        return shown | ({"warnings": self.warnings} if self.warnings else {})


def asked_of(session: Any) -> dict[str, Any]:
    """The `session` of a `session.update`, looked at from outside. Raises ValidationFailed, Unsupported."""
    given = _object(session, "session")
    if given.get("type") == "realtime":
        raise unsupported("session.type", "there are transcription sessions only here: nothing here answers")
    if given.get("type") != "transcription":
        raise refusal({"field": "session.type", "message": "Input should be 'transcription'"})
    _only(given, {"type", "audio", "include"}, "session")
    audio = _object(given.get("audio", {}), "session.audio")
    _only(audio, {"input"}, "session.audio")
    inner = _object(audio.get("input", {}), "session.audio.input")
    _only(inner, {"format", "transcription", "turn_detection", "noise_reduction"}, "session.audio.input")
    return inner | ({"include": given["include"]} if "include" in given else {})


def asked_of_older(session: Any) -> dict[str, Any]:
    """The same of a `transcription_session.update`, from before the interface was settled."""
    given = _object(session, "session")
    if given.get("client_secret") is not None:
        raise unsupported("session.client_secret", "there are no keys for a while here; use one of `parascribe keys`")
    names = {"input_audio_transcription": "transcription", "input_audio_noise_reduction": "noise_reduction"}
    own = {"include", "turn_detection", "modalities", "client_secret", "input_audio_format"}
    _only(given, own | names.keys(), "session")
    asked: dict[str, Any] = {name: given[name] for name in ("include", "turn_detection") if name in given}
    asked |= {now: given[name] for name, now in names.items() if name in given}
    if (older := given.get("input_audio_format")) is not None:
        if older not in OLDER_FORMATS:
            message = f"Input should be {' or '.join(map(repr, OLDER_FORMATS))}"
            raise refusal({"field": "session.input_audio_format", "message": message})
        asked["format"] = OLDER_FORMATS[older]
    return asked


def changed(asked: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for once an update has come: what it does not name stays. A format is replaced as a whole."""
    merged = dict(asked)
    for name, value in update.items():
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping) and name != "format"
        merged[name] = {**before, **value} if both and before is not None else value
    return merged


def settings_of(asked: Mapping[str, Any]) -> SessionSettings:
    """Raises ValidationFailed, Unsupported."""
    place = "session.audio.input"
    if "transcription" in asked and asked["transcription"] is None:
        raise refusal({"field": f"{place}.transcription", "message": "a transcription session cannot do without"})
    transcription = _values(Transcription, asked.get("transcription", {}), f"{place}.transcription")
    theirs = OURS.fullmatch(transcription.model or "")
    if theirs and theirs["diarize"]:
        raise unsupported(f"{place}.transcription.model", "speakers are not told apart while they speak")
    format_ = _values(Format, asked.get("format") or {}, f"{place}.format")
    if format_.type != "audio/pcm" and format_.rate not in (None, 8_000):
        raise refusal({"field": f"{place}.format.rate", "message": "G.711 has 8000"})
    include = asked.get("include") or []
    if not isinstance(include, list) or any(one != LOGPROBS for one in include):
        raise refusal({"field": "session.include", "message": f"must be among {LOGPROBS}"})
    vad, noise = asked.get("turn_detection", {}), asked.get("noise_reduction")
    return SessionSettings(
        format=format_,
        transcription=transcription,
        vad=None if vad is None else _values(ServerVad, vad, f"{place}.turn_detection"),
        noise=None if noise is None else _values(NoiseReduction, noise, f"{place}.noise_reduction"),
        logprobs=bool(include),
    )


def _values(table: type[T], given: Any, place: str) -> T:
    values, errors = read(table, _object(given, place))
    if errors:
        raise refusal(*({**error, "field": f"{place}.{error['field']}"} for error in errors))
    return table(**values)


def _object(given: Any, place: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise refusal({"field": place, "message": "Input should be a JSON object"})
    return dict(given)


def _only(given: Mapping[str, Any], known: set[str], place: str) -> None:
    if unknown := sorted(given.keys() - known):
        raise refusal(*({"field": f"{place}.{name}", "message": "Extra inputs are not permitted"} for name in unknown))


def _given(value: Any) -> dict[str, Any]:
    return {name: one for name, one in vars(value).items() if one is not None}
