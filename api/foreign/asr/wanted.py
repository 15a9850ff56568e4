"""What a client of whisper-asr-webservice asks for in its query: each parameter is honoured, refused or named in a warning.

Names and defaults as in its `app/webservice.py` (v1.9.1); `video_file` and `detect_lang_*` are Subgen's, and Bazarr sends the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from api.foreign.tables import values_of
from core.jobs.params import Task
from core.options import about

_RAW = about("false: raw samples are sent, 16 kHz mono 16-bit little-endian PCM.")
_NAME = about("Path of the film where its client has it: the job is named after it.")
_SPEAKERS = about("With `diarize` alone: at least, at most so many people speak.")
_HEARD = about("Named in the warning: the language is heard where there is speech first.")


@dataclass(frozen=True, kw_only=True)
class AsrQuery:
    """The parameters of `/asr`."""

    output: Literal["txt", "vtt", "srt", "tsv", "json"] = field(default="txt", metadata=about("What is answered."))
    task: Task = field(default="transcribe", metadata=about("transcribe (as spoken), or translate (to English)."))
    language: str | None = field(default=None, metadata=about("Code or English name; nothing: detected."))
    initial_prompt: str | None = field(default=None, metadata=about("Names and words to expect."))
    word_timestamps: bool = field(default=False, metadata=about("`json` with the times of words."))
    vad_filter: bool = field(
        default=True, metadata=about("Speech is looked for in any case: named in the warning where it is not wanted.")
    )
    encode: bool = field(default=True, metadata=_RAW)
    video_file: str | None = field(default=None, metadata=_NAME)
    diarize: bool = field(
        default=False, metadata=about("Say who speaks: in `json`, and before the cues of srt and vtt.")
    )
    min_speakers: int | None = field(default=None, metadata=_SPEAKERS)
    max_speakers: int | None = field(default=None, metadata=_SPEAKERS)


@dataclass(frozen=True, kw_only=True)
class DetectQuery:
    """The parameters of `/detect-language`."""

    encode: bool = field(default=True, metadata=_RAW)
    video_file: str | None = field(default=None, metadata=_NAME)
    detect_lang_length: int | None = field(default=None, metadata=_HEARD)
    detect_lang_offset: int | None = field(default=None, metadata=_HEARD)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One request."""

    options: Mapping[str, str]
    #: one of AsrQuery.output
    output: str
    word_timestamps: bool = False
    encode: bool
    video_file: str | None
    #: names of what was asked for and is not done
    unused: tuple[str, ...]

    @property
    def warnings(self) -> list[str]:
        return [f"not done as asked: {', '.join(self.unused)}"] if self.unused else []


def wanted(query: Mapping[str, str]) -> Wanted:
    """Read the query of `/asr`. Raises ValidationFailed."""
    asked = values_of(AsrQuery, query)
    options = {
        "task": asked.task,
        "language": asked.language,
        "prompt": asked.initial_prompt,
        "word_timestamps": "true" if asked.word_timestamps else None,
        "diarize": "true" if asked.diarize else None,
        "min_speakers": None if asked.min_speakers is None else str(asked.min_speakers),
        "max_speakers": None if asked.max_speakers is None else str(asked.max_speakers),
    }
    return Wanted(
        options={name: value for name, value in options.items() if value is not None},
        output=asked.output,
        word_timestamps=asked.word_timestamps,
        encode=asked.encode,
        video_file=asked.video_file,
        unused=() if asked.vad_filter else ("vad_filter",),
    )


def wanted_language(query: Mapping[str, str]) -> Wanted:
    """Read the query of `/detect-language`. Raises ValidationFailed."""
    asked = values_of(DetectQuery, query)
    unused = tuple(name for name in ("detect_lang_length", "detect_lang_offset") if getattr(asked, name) is not None)
    return Wanted(options={}, output="json", encode=asked.encode, video_file=asked.video_file, unused=unused)
