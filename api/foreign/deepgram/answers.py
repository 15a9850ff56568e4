"""A transcript as Deepgram's clients read it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from starlette.responses import Response

from api.foreign.deepgram.wanted import Wanted
from core.jobs.job import Job
from core.transcript.languages import joined
from core.transcript.values import Segment, Transcript, Word

PARAGRAPH_SENTENCES = 5
"""In one paragraph at most, of one who speaks without a pause."""

PARAGRAPH_PAUSE = 2.0
"""Seconds of silence that begin a paragraph."""

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_ENDS = re.compile("[.!?\u2026\u3002\uff01\uff1f][\"')\u00bb\u2019\u201d]*$")


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """One word, or a segment of which there are none."""

    text: str
    start: float
    end: float
    confidence: float
    speaker: int | None = None
    speaker_confidence: float | None = None

    def to_dict(self) -> dict[str, Any]:
        found = {
            "word": plain(self.text),
            "start": self.start,
            "end": self.end,
            "confidence": self.confidence,
            "punctuated_word": self.text,
            "speaker": self.speaker,
            "speaker_confidence": self.speaker_confidence,
        }
        return {name: value for name, value in found.items() if value is not None}


def plain(word: str) -> str:
    """As Deepgram writes it without punctuation."""
    return _EDGES.sub("", word).lower() or word


def model_of(name: str) -> tuple[str, dict[str, str]]:
    """A model's id, always the same, and what is said of it."""
    found = str(uuid.uuid5(uuid.NAMESPACE_URL, f"parascribe:model:{name}"))
    return found, {"name": name, "version": "1", "arch": "whisper"}


def answer(transcript: Transcript, want: Wanted, job: Job) -> Response:
    """The whole of it."""
    language = transcript.language
    numbers = sorted({segment.channel or 0 for segment in transcript.segments} | {0})
    count = numbers[-1] + 1
    voices = {speaker.id: n for n, speaker in enumerate(transcript.speakers or ())}
    channels, utterances = [], []
    for number in range(count):
        segments = [segment for segment in transcript.segments if (segment.channel or 0) == number]
        words = [word for segment in segments for word in _words(segment, voices)]
        text = joined((segment.text.strip() for segment in segments), language.code)
        alternative: dict[str, Any] = {
            "transcript": text,
            "confidence": mean(words),
            "words": [word.to_dict() for word in words],
        }
        if want.paragraphs:
            alternative["paragraphs"] = _paragraphs(words, language.code, named=want.diarize)
        channel: dict[str, Any] = {"alternatives": [alternative]}
        if want.detect:
            channel |= {"detected_language": language.code, "language_confidence": language.confidence}
        channels.append(channel)
        utterances += [_utterance(part, number, language.code) for part in _parts(words, pause=want.query.utt_split)]
    model, info = model_of(transcript.model)
    body: dict[str, Any] = {
        "metadata": {
            "transaction_key": "deprecated",
            "request_id": job.id,
            "sha256": job.source.sha256,
            "created": job.created_at.isoformat().replace("+00:00", "Z"),
            "duration": transcript.duration,
            "channels": count,
            "models": [model],
            "model_info": {model: info},
            **want.common.metadata,
        },
        "results": {"channels": channels},
    }
    if want.query.utterances:
        body["results"]["utterances"] = sorted(utterances, key=lambda one: one["start"])
    return Response(json.dumps(body, ensure_ascii=False), media_type="application/json")


def mean(words: Sequence[Spoken]) -> float:
    return round(sum(word.confidence for word in words) / len(words), 4) if words else 0.0


def _words(segment: Segment, voices: dict[str, int]) -> Iterator[Spoken]:
    known = segment.words or (
        Word(word=segment.text, start=segment.start, end=segment.end, probability=None, speaker=segment.speaker),
    )
    for word in known:
        if text := word.word.strip():
            voice = voices.get(word.speaker or segment.speaker or "")
            yield Spoken(
                text=text,
                start=segment.start if word.start is None else word.start,
                end=segment.end if word.end is None else word.end,
                confidence=word.probability or 0.0,
                speaker=voice,
                speaker_confidence=None if voice is None else segment.speaker_confidence,
            )


def _parts(words: Sequence[Spoken], *, pause: float) -> list[list[Spoken]]:
    """Cut where nobody speaks for so many seconds, or somebody else does."""
    parts = [[words[0]]] if words else []
    for before, word in pairwise(words):
        if word.start - before.end >= pause or word.speaker != before.speaker:
            parts.append([])
        parts[-1].append(word)
    return parts


def _utterance(words: Sequence[Spoken], channel: int, language: str) -> dict[str, Any]:
    speaker = words[0].speaker
    return {
        "start": words[0].start,
        "end": words[-1].end,
        "confidence": mean(words),
        "channel": channel,
        "transcript": joined((word.text for word in words), language),
        "words": [word.to_dict() for word in words],
        **({} if speaker is None else {"speaker": speaker}),
        "id": str(uuid.uuid4()),
    }


def _paragraphs(words: Sequence[Spoken], language: str, *, named: bool) -> dict[str, Any]:
    found, lines = [], []
    for part in _parts(words, pause=PARAGRAPH_PAUSE):
        sentences: list[list[Spoken]] = [[]]
        for word in part:
            if sentences[-1] and _ENDS.search(sentences[-1][-1].text):
                sentences.append([])
            sentences[-1].append(word)
        for first in range(0, len(sentences), PARAGRAPH_SENTENCES):
            some = sentences[first : first + PARAGRAPH_SENTENCES]
            texts = [joined((word.text for word in sentence), language) for sentence in some]
            speaker = some[0][0].speaker
            found.append(
                {
                    "sentences": [
                        {"text": text, "start": sentence[0].start, "end": sentence[-1].end}
                        for text, sentence in zip(texts, some, strict=True)
                    ],
                    **({} if speaker is None else {"speaker": speaker}),
                    "num_words": sum(map(len, some)),
                    "start": some[0][0].start,
                    "end": some[-1][-1].end,
                }
            )
            who = f"Speaker {speaker}: " if named and speaker is not None else ""
            lines.append(f"\n{who}{joined(texts, language)}")
    return {"transcript": "\n".join(lines), "paragraphs": found}
