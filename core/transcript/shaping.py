"""How a transcript is to look: the table of the options that go with its formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from core.errors import refusal
from core.options import about, read

Speakers = Literal["auto", "none", "prefix"]
Translated = Literal["none", "only", "both"]


@dataclass(frozen=True, kw_only=True)
class Shaping:
    """What one may ask of the look; each format takes some of it (`core.transcript.formats.Format.takes`).

    The defaults of cues are broadcasters': 42 columns in two lines and at most 7 s as in Netflix's Timed Text Style Guide,
    and no more characters a second than its 20 for adults' programmes in English.
    """

    max_line_width: int = field(
        default=42, metadata=about("Columns of a line; a Chinese letter takes two.", ge=10, le=200)
    )
    max_lines: int = field(default=2, metadata=about("Lines of a cue.", ge=1, le=5))
    max_chars_per_second: float = field(
        default=20.0,
        metadata=about("Columns to read in a second: a cue stays as long as that takes, until the next.", ge=1, le=100),
    )
    min_cue: float = field(
        default=0.8, metadata=about("Seconds that a cue stays, wherever there is room.", ge=0, le=10)
    )
    max_cue: float = field(default=7.0, metadata=about("Seconds that a cue stays at most.", ge=1, le=60))
    word_cues: bool = field(default=False, metadata=about("Also when each word is said (karaoke)."))
    speakers: Speakers = field(
        default="auto",
        metadata=about(
            "Names: auto (in the format's own way, else as prefix), prefix (where another speaks), or none."
        ),
    )
    translation: Translated = field(
        default="none", metadata=about("The translation: none (the original alone), only, or both.")
    )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From values as text or as in JSON. Raises ValidationFailed."""
        values, errors = read(cls, given)
        if not errors:
            shaping = cls(**values)
            if shaping.min_cue <= shaping.max_cue:
                return shaping
            errors = [{"field": "min_cue", "message": f"Input should be at most max_cue ({shaping.max_cue:g})"}]
        raise refusal(*errors)
