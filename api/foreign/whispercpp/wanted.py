"""What a client of whisper.cpp's server asks for, as options of a job: each field is honoured, refused or named in a warning.

Names and defaults as in its `get_req_parameters` and `whisper_params` (examples/server/server.cpp, v1.9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

from api.foreign.tables import unsupported, values_of
from api.upload.received import Fields, Repeated
from core.errors import refusal
from core.options import about
from core.transcript.formats import FormatName, shaping_for
from core.transcript.shaping import Shaping

_TUNING = about("A setting of the engine: named in the warning where it is not what is done here.")
_ALWAYS = about("Done here in any case: named in the warning where it is not wanted.")
_NEVER = about("Not done here: refused.")


@dataclass(frozen=True, kw_only=True)
class InferenceForm:
    """The fields beside the file."""

    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = field(
        default="json", metadata=about("What is answered.")
    )
    language: str = field(
        default="en", metadata=about("Code or English name of the language; `auto`: detected. Its default is English.")
    )
    detect_language: bool = field(default=False, metadata=about("As language=auto; `json` says it too."))
    translate: bool = field(default=False, metadata=about("Write in English."))
    prompt: str | None = field(default=None, metadata=about("Names and words to expect; given to every chunk."))
    temperature: float = field(default=0.0, metadata=about("First temperature of decoding.", ge=0, le=1))
    beam_size: int = field(default=-1, metadata=about("Beam search with so many beams; below 2: greedy.", le=8))
    max_len: int = field(
        default=0, metadata=about("Columns of a cue of one line, for srt and vtt; 0: of two lines of 42.", ge=0)
    )
    no_timestamps: bool = field(default=False, metadata=about("verbose_json without times."))
    token_timestamps: bool | None = field(default=None, metadata=about("verbose_json with the times of words, or not."))
    no_language_probabilities: bool = field(
        default=False, metadata=about("verbose_json without what was detected as the language.")
    )
    model: str | None = field(default=None, metadata=about("Name of a model of this service: not in the original."))
    temperature_inc: float | None = field(default=None, metadata=_TUNING)
    entropy_thold: float | None = field(default=None, metadata=_TUNING)
    logprob_thold: float | None = field(default=None, metadata=_TUNING)
    no_speech_thold: float | None = field(default=None, metadata=_TUNING)
    word_thold: float | None = field(default=None, metadata=_TUNING)
    best_of: int | None = field(default=None, metadata=_TUNING)
    max_context: int | None = field(default=None, metadata=_TUNING)
    audio_ctx: float | None = field(default=None, metadata=_TUNING)
    vad_threshold: float | None = field(default=None, metadata=_TUNING)
    vad_min_speech_duration_ms: float | None = field(default=None, metadata=_TUNING)
    vad_min_silence_duration_ms: float | None = field(default=None, metadata=_TUNING)
    vad_max_speech_duration_s: float | None = field(default=None, metadata=_TUNING)
    vad_speech_pad_ms: int | None = field(default=None, metadata=_TUNING)
    vad_samples_overlap: float | None = field(default=None, metadata=_TUNING)
    vad: bool = field(default=True, metadata=_ALWAYS)
    suppress_nst: bool = field(default=True, metadata=_ALWAYS)
    suppress_non_speech: bool = field(default=True, metadata=_ALWAYS)
    carry_initial_prompt: bool = field(default=True, metadata=_ALWAYS)
    split_on_word: bool = field(default=True, metadata=_ALWAYS)
    diarize: bool = field(default=False, metadata=_NEVER)
    tinydiarize: bool = field(default=False, metadata=_NEVER)
    debug_mode: bool = field(default=False, metadata=_NEVER)
    offset_t: int = field(default=0, metadata=_NEVER)
    offset_n: int = field(default=0, metadata=_NEVER)
    duration: int = field(default=0, metadata=_NEVER)


FORMATS: Mapping[str, FormatName] = MappingProxyType({"srt": "srt", "vtt": "vtt"})
"""Its formats that are ours as they are."""

AS_HERE: Mapping[str, Any] = MappingProxyType(
    {
        "temperature_inc": 0.4,
        "entropy_thold": 2.4,
        "logprob_thold": -1.0,
        "best_of": 2,
        "audio_ctx": 0,
        "max_context": -1,
    }
)
"""What the engine does (`whisper/library/inference.py`); of other settings there is none to compare with."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request."""

    form: InferenceForm
    shaping: Shaping
    #: names of what was asked for and is not done
    unused: tuple[str, ...]

    @property
    def words(self) -> bool:
        """Whether the times of words are in the answer."""
        times = self.form.token_timestamps
        return self.form.response_format == "verbose_json" and not self.form.no_timestamps and times is not False

    @property
    def options(self) -> dict[str, str]:
        """For the job."""
        form = self.form
        given = {
            "language": "auto" if form.detect_language else form.language,
            "task": "translate" if form.translate else "transcribe",
            "prompt": form.prompt,
            "temperature": str(form.temperature),
            "beam_size": str(form.beam_size) if form.beam_size > 1 else None,
            "model": form.model,
            "word_timestamps": "true" if self.words else None,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def warnings(self) -> list[str]:
        return [f"not done as asked: {', '.join(self.unused)}"] if self.unused else []


def wanted(sent: Fields, _: Repeated) -> Wanted:
    """Read a form. Raises ValidationFailed, Unsupported."""
    form = values_of(InferenceForm, sent)
    for one in fields(InferenceForm):
        if one.metadata == _NEVER and getattr(form, one.name):
            raise unsupported(one.name, "this service does not do that")
    cues = form.response_format in FORMATS
    if form.no_timestamps and cues:
        raise refusal({"field": "no_timestamps", "message": f"{form.response_format} has times"})
    return Wanted(form=form, shaping=_shaping(form) if cues else Shaping(), unused=_unused(form, cues))


def _shaping(form: InferenceForm) -> Shaping:
    """Its `max_len`, if any, as one line of so many columns."""
    if not form.max_len:
        return Shaping()
    width = min(max(form.max_len, 10), 200)
    return shaping_for((FORMATS[form.response_format],), {"max_line_width": width, "max_lines": 1})


def _unused(form: InferenceForm, cues: bool) -> tuple[str, ...]:
    found = []
    for one in fields(InferenceForm):
        value = getattr(form, one.name)
        tuned = one.metadata == _TUNING and value is not None and value != AS_HERE.get(one.name)
        if tuned or (one.metadata == _ALWAYS and not value):
            found.append(one.name)
    if form.max_len and (not cues or not 10 <= form.max_len <= 200):
        found.append("max_len")
    return tuple(found)
