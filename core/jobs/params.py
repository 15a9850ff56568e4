"""The options of a job: the one table from which form, JSON, command line, client and the API's description are made.

A new option is one field here, and the code that honours it. It changes no identity of jobs that do not use it. A release
that adds one raises `core.store.tables.ROW_VERSION`, so that consumers of older ones leave its jobs alone.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from core.audio.tracks import TRACKS
from core.jobs import known_speakers as known
from core.jobs.turns import Priority
from core.options import about, options, unset
from core.transcript.language_tags import language_code
from core.transcript.languages import LANGUAGES

Task = Literal["transcribe", "translate"]
Enhance = Literal["none", "denoise", "vocals"]
EnhanceFor = Literal["all", "speakers", "both"]
Channels = Literal["mix", "split"]

FIRST_PARAMS = frozenset({"model", "task", "language", "prompt", "temperature", "beam_size", "word_timestamps"})
"""Options of version 0.1.0: always stored and hashed, at their defaults too."""

SPEAKERS = 20
"""More are not told apart."""

VOCABULARY_WORDS, VOCABULARY_CHARACTERS = 100, 100
"""So many of `vocabulary` at most, each of so many characters."""

METADATA_BYTES, METADATA_DEPTH = 4096, 16
"""Of `metadata`, as compact JSON in UTF-8."""


def _language(value: str) -> str | None:
    if value.strip().lower() == "auto":
        return None
    code = language_code(value)
    if code is None:
        raise ValueError(
            f"not a language Whisper knows; a code such as {', '.join(list(LANGUAGES)[:6])}, a tag such as en-US or an English name"
        )
    return code


def _translate_to(value: str) -> str:
    code = language_code(value)
    if code is None:
        raise ValueError("not a language that is known here; a code such as en, de or fr, a tag or an English name")
    return code


def _audio_track(value: int | str) -> int | str:
    text = str(value).strip()
    if text.isascii() and text.isdigit() and int(text) < TRACKS:
        return int(text)
    if code := language_code(text) or (text.lower() if re.fullmatch("[A-Za-z]{2,3}", text) else None):
        return code  # a file may have tracks in languages that Whisper does not know
    raise ValueError(f"must be an index from 0 to {TRACKS - 1}, or a language")


def _prompt(value: str) -> str:
    if any(ord(c) < 32 and c not in "\n\t\r" for c in value):
        raise ValueError("must not hold control characters")
    return value


def _vocabulary(value: list[str]) -> list[str] | None:
    for word in value:
        if len(word) > VOCABULARY_CHARACTERS:
            raise ValueError(f"each word or phrase must have at most {VOCABULARY_CHARACTERS} characters")
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in word):
            raise ValueError("must not hold control characters")
    return [*dict.fromkeys(value)] or None


def _callback_url(value: str) -> str:
    # the full check is that of whoever sends something there (`core.outbound`)
    if not re.fullmatch(r"https?://[^\s/?#@]+([/?#][!-~]*)?", value.strip()):
        raise ValueError("must begin with http:// or https:// and a host, without a name or a password")
    return value.strip()


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    if _deeper(value, METADATA_DEPTH):
        raise ValueError(f"must be nested at most {METADATA_DEPTH} deep")
    if len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()) > METADATA_BYTES:
        raise ValueError(f"must have at most {METADATA_BYTES} bytes")
    return value


def _deeper(value: Any, most: int) -> bool:
    """Looks no deeper than that itself: what nests a thousand times is bad input too."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (most == 0 or any(_deeper(one, most - 1) for one in inner))


@dataclass(frozen=True, kw_only=True)
class JobParams:
    """What the user asked for, frozen at submit. Retry uses exactly these."""

    model: str = field(
        metadata=about(
            "Name of a model; nothing: the service's own (WHISPER_MODEL).", max_length=110, example="base", short="-m"
        )
    )
    task: Task = field(
        default="transcribe", metadata=about("What to write: transcribe (as spoken), or translate (to English).")
    )
    language: str | None = field(
        default=None,
        metadata=about(
            "Code, tag or English name (de, deu, de-CH, German), taken as its code; auto or nothing: detected.",
            short="-l",
            convert=_language,
        ),
    )
    prompt: str | None = field(
        default=None,
        metadata=about("Names and words to expect; given to every chunk.", max_length=2000, convert=_prompt),
    )
    vocabulary: list[str] | None = field(
        default=None,
        metadata=about(
            "Words, names and phrases to expect, the most important first: a JSON array, or with commas in between. "
            "Given to every chunk behind the prompt; what does not fit is named in warnings.",
            max_length=VOCABULARY_WORDS,
            metavar="WORD,...",
            convert=_vocabulary,
        ),
    )
    temperature: float = field(
        default=0.0, metadata=about("First temperature of decoding; 0 is most certain.", ge=0, le=1)
    )
    beam_size: int | None = field(
        default=None,
        metadata=about(
            "Beam search with so many beams; 1 or nothing: greedy.", ge=1, le=8, convert=lambda n: None if n == 1 else n
        ),
    )
    word_timestamps: bool = field(default=False, metadata=about("Also times of words, in the JSON formats."))
    audio_track: int | str | None = field(
        default=None,
        metadata=about(
            "Which sound track of a file that has several: its index from 0, or its language (1, de); "
            "nothing: the default one, or the next that holds speech.",
            metavar="INDEX|LANGUAGE",
            convert=_audio_track,
        ),
    )
    diarize: bool = field(
        default=False,
        metadata=about("Also find out who speaks when: words and segments say whose they are.", words=False),
    )
    num_speakers: int | None = field(
        default=None,
        metadata=about(
            "How many people speak, if that is known (with diarize); fewer are found where not so many are heard.",
            ge=1,
            le=SPEAKERS,
            words=False,
        ),
    )
    min_speakers: int | None = field(
        default=None, metadata=about("At least so many people speak (with diarize).", ge=1, le=SPEAKERS, words=False)
    )
    max_speakers: int | None = field(
        default=None, metadata=about("At most so many people speak (with diarize).", ge=1, le=SPEAKERS, words=False)
    )
    known_speakers: list[dict[str, str]] | None = field(
        default=None,
        metadata=about(
            "People whose voices are known (with diarize), so that they are called by their names: each a name with a sample, "
            "2 to 10 s of that voice (in JSON: a data URL), or the name of a voice that you have kept.",
            max_length=known.MOST,
            form_bytes=known.FIELD_BYTES,
            flag="known-speaker",
            metavar="NAME[=FILE]",
            words=False,
            convert=known.known_speakers,
        ),
    )
    enhance: Enhance = field(
        default="none",
        metadata=about(
            "Clean the sound before it is listened to: denoise takes noise out (it often costs words: try it first); "
            "vocals is not available."
        ),
    )
    enhance_for: EnhanceFor = field(
        default="all",
        metadata=about(
            "Who listens to cleaned sound: all; speakers (what finds speech and tells voices apart, not the words); "
            "both (words from either sound, of each chunk the surer ones)."
        ),
    )
    translate_to: str | None = field(
        default=None,
        metadata=about(
            "Also a translation of each segment into that language (a code, tag or English name), beside its text. "
            "task=translate writes English instead.",
            metavar="LANGUAGE",
            words=False,
            convert=_translate_to,
        ),
    )
    align: bool = field(
        default=False,
        metadata=about(
            "Also times of words, as exact as the sound shows: their edges lie where speech begins and ends.",
            words=False,
        ),
    )
    channels: Channels = field(
        default="mix",
        metadata=about(
            "mix: heard as one; split: each channel is transcribed by itself and gives its number, from 0, to its segments."
        ),
    )
    priority: Priority = field(
        default="normal",
        metadata=about(
            "Whose turn comes first: interactive (somebody waits for it), normal or bulk; who waits moves up.",
            heard=False,
        ),
    )
    workers: int | None = field(
        default=None,
        metadata=about("At most so many chunks of this job at once; nothing: all there is.", ge=1, le=512, heard=False),
    )
    chunk_duration: float | None = field(
        default=None,
        metadata=about("Longest chunk in seconds; nothing: the service's own (CHUNK_DURATION).", ge=5, le=30),
    )
    callback_url: str | None = field(
        default=None,
        metadata=about(
            "Address that is told when the job has ended, by a POST (docs/how-to/webhooks.md).",
            max_length=2048,
            metavar="URL",
            heard=False,
            convert=_callback_url,
        ),
    )
    metadata: dict[str, Any] | None = field(
        default=None,
        metadata=about(
            "A JSON object of up to 4 KiB of your own, which comes back unchanged in the job and in webhooks.",
            metavar="JSON",
            heard=False,
            convert=_metadata,
        ),
    )
    #: what a newer version wrote beside these: kept and shown, never run
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As stored and hashed: what came after FIRST_PARAMS only where it is not at its default.

        So the identity of a job that does not use it stays what it was before, and older versions can read its row.
        """
        return {
            option.name: value
            for option in options(type(self))
            if (value := getattr(self, option.name)) != unset(option) or option.name in FIRST_PARAMS
        } | dict(self.unknown)

    @property
    def shows_words(self) -> bool:
        """Whether the result has words with their times."""
        return self.word_timestamps or self.align

    @property
    def needs_words(self) -> bool:
        """Whether the engine has to say when each word is spoken."""
        return self.shows_words or self.diarize

    @property
    def is_cleaned(self) -> bool:
        """Whether anybody is to listen to cleaned sound. With `channels=split` only an installation's defaults ask for it."""
        return self.enhance != "none" and self.channels == "mix"

    def heard(self) -> dict[str, Any]:
        """Of `to_dict`, what the words of a transcript depend on."""
        silent = {option.name for option in options(type(self)) if not (option.about.heard and option.about.words)}
        return {name: value for name, value in self.to_dict().items() if name not in silent}

    def shown(self) -> dict[str, Any]:
        """All of them, with the defaults filled in."""
        return {option.name: getattr(self, option.name) for option in options(type(self))} | dict(self.unknown)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What is stored, whoever wrote it."""
        known = {option.name for option in options(cls)} & data.keys()
        unknown = {name: value for name, value in data.items() if name not in known}
        return cls(**{name: data[name] for name in known}, unknown=unknown)
