"""A transcript as whisper.cpp's server answers it (`format_*` in its examples/server)."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from api.foreign.whispercpp.wanted import FORMATS, Wanted
from core.transcript import formats
from core.transcript.languages import LANGUAGES
from core.transcript.values import Segment, Transcript

NO_DTW = -1
"""`t_dtw` of a word without a time of that kind."""


def answer(transcript: Transcript, want: Wanted) -> Response:
    """The answer. Where the model gave a word no time, it has none."""
    shape = want.form.response_format
    if shape in FORMATS:
        chosen = formats.FORMATS[FORMATS[shape]]
        return Response(chosen.render(transcript, want.shaping), media_type=chosen.media_type)
    if shape == "text":
        return Response(_text(transcript), media_type="text/plain; charset=utf-8")
    body: dict[str, Any] = {"text": _text(transcript)}
    if shape == "verbose_json":
        body = _verbose(transcript, want)
    elif want.form.detect_language:
        body["language"] = _name(transcript)
    return Response(json.dumps(body, ensure_ascii=False), media_type="application/json")


def _text(transcript: Transcript) -> str:
    """A line for each segment."""
    return "".join(f"{' '.join(segment.text.split())}\n" for segment in transcript.segments)


def _name(transcript: Transcript) -> str:
    return LANGUAGES.get(transcript.language.code, transcript.language.code)


def _verbose(transcript: Transcript, want: Wanted) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": transcript.task,
        "language": _name(transcript),
        "duration": transcript.duration,
        "text": _text(transcript),
        "segments": [_segment(n, segment, want) for n, segment in enumerate(transcript.segments)],
    }
    detected = want.form.detect_language or want.form.language.strip().lower() == "auto"
    if detected and not want.form.no_language_probabilities:
        language = transcript.language
        body["detected_language"] = _name(transcript)
        body["detected_language_probability"] = language.confidence
        body["language_probabilities"] = {language.code: language.confidence}  # of the others nothing is kept
    return body


def _segment(n: int, segment: Segment, want: Wanted) -> dict[str, Any]:
    times = {} if want.form.no_timestamps else {"start": segment.start, "end": segment.end}
    words = []
    for word in segment.words:
        timed = want.words and word.start is not None and word.end is not None
        said = {"start": word.start, "end": word.end, "t_dtw": NO_DTW} if timed else {}
        words.append({"word": word.word, **said, "probability": word.probability})
    return {
        "id": n,
        "text": segment.text,
        **times,
        "tokens": [],  # not kept
        "words": words,
        "temperature": want.form.temperature,
        "avg_logprob": segment.avg_logprob or 0.0,
        "no_speech_prob": segment.no_speech_prob or 0.0,
    }
