"""A transcript to read: paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.transcript.languages import joined
from core.transcript.shaping import Shaping
from core.transcript.values import Segment, Transcript

PAUSE_SECONDS = 2.0
"""Silence behind which a new paragraph begins."""

_MARKS = re.compile(r"([\\`*_\[\]<>&~$|])")
"""Punctuation that is markup wherever it stands in a line of Markdown (CommonMark 0.31, and its common extensions)."""
_FIRST = re.compile(r"^(\d*)([-+=#.)])")
"""And what is only at its beginning: headings, lists, rules."""


@dataclass(frozen=True, kw_only=True)
class _Paragraph:
    start: float
    speaker: str | None
    #: the original, the translation, or both
    texts: tuple[str, ...]


def _paragraphs(transcript: Transcript, shaping: Shaping) -> Iterator[_Paragraph]:
    """What is said without a long pause, by one voice."""
    some: list[Segment] = []
    before = None
    for segment in transcript.segments:
        if not (segment.text.strip() or segment.translation):
            continue
        who = segment.speaker, transcript.voice_of(segment)
        if some and (segment.start - some[-1].end > PAUSE_SECONDS or who != before):
            yield _paragraph(some, transcript, shaping)
            some = []
        before = who
        some.append(segment)
    if some:
        yield _paragraph(some, transcript, shaping)


def _paragraph(some: list[Segment], transcript: Transcript, shaping: Shaping) -> _Paragraph:
    texts = []
    if shaping.translation != "only":
        texts.append(_running([s.text for s in some], transcript.language.code))
    if transcript.translation and shaping.translation != "none":
        # what has no translation is not left out
        translated = [s.translation or (s.text if shaping.translation == "only" else "") for s in some]
        texts.append(_running(translated, transcript.translation.language))
    speaker = transcript.voice_of(some[0]) if shaping.speakers != "none" else None
    return _Paragraph(start=some[0].start, speaker=speaker, texts=tuple(filter(None, texts)))


def _running(texts: list[str], language: str) -> str:
    return joined((" ".join(text.split()) for text in texts), language)


def txt(transcript: Transcript, shaping: Shaping) -> str:
    """Plain paragraphs, one a line, with an empty line between two; the speaker's name where another one begins."""
    found, before = [], None
    for paragraph in _paragraphs(transcript, shaping):
        name = f"{paragraph.speaker}: " if paragraph.speaker and paragraph.speaker != before else ""
        before = paragraph.speaker
        found.append(name + "\n".join(paragraph.texts) + "\n")
    return "\n".join(found)


def md(transcript: Transcript, shaping: Shaping) -> str:
    """Markdown: each paragraph with its time, and its speaker's name."""
    return "\n".join(
        f"**[{_clock(paragraph.start)}]{_named(paragraph.speaker)}** "
        + "  \n".join(_escaped(text) for text in paragraph.texts)
        + "\n"
        for paragraph in _paragraphs(transcript, shaping)
    )


def _named(speaker: str | None) -> str:
    return f" {_escaped(speaker)}:" if speaker else ""


def _escaped(text: str) -> str:
    return _FIRST.sub(r"\1\\\2", _MARKS.sub(r"\\\1", text))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
