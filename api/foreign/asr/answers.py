"""A transcript as whisper-asr-webservice answers it: every output is sent as plain text, to be saved as a file."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from api.foreign.asr.wanted import Wanted
from api.http.downloads import content_disposition
from core.jobs.job import Job
from core.transcript.formats import FORMATS, FormatName
from core.transcript.languages import LANGUAGES
from core.transcript.values import Segment, Transcript, Word

OURS: dict[str, FormatName] = {"srt": "srt", "vtt": "vtt", "tsv": "tsv"}
"""Its outputs that are ours as they are."""

UNKNOWN = "und"
"""The language of what nobody speaks in (ISO 639-2); Bazarr knows it."""


def answer(transcript: Transcript, want: Wanted, job: Job) -> Response:
    if want.output in OURS:
        text = FORMATS[OURS[want.output]].render(transcript)
    elif want.output == "txt":
        text = "".join(f"{' '.join(segment.text.split())}\n" for segment in transcript.segments)
    else:
        text = json.dumps(_body(transcript, want), ensure_ascii=False)
    headers = {
        "Asr-Engine": "parascribe",
        "Content-Disposition": content_disposition(f"{job.source.filename}.{want.output}"),
    }
    return Response(text, headers=headers, media_type="text/plain; charset=utf-8")


def _body(transcript: Transcript, want: Wanted) -> dict[str, Any]:
    """As its engine `faster_whisper` has it."""
    temperature = transcript.provenance.get("temperature", 0.0)
    return {
        "language": transcript.language.code,
        "segments": [
            _segment(n, segment, want) | {"temperature": temperature}
            for n, segment in enumerate(transcript.segments, start=1)
        ],
        "text": transcript.text,
    }


def _segment(n: int, segment: Segment, want: Wanted) -> dict[str, Any]:
    return {
        "id": n,
        "seek": round(segment.start * 100),  # in frames of 10 ms
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],  # not kept
        "avg_logprob": segment.avg_logprob or 0.0,
        "compression_ratio": segment.compression_ratio or 0.0,
        "no_speech_prob": segment.no_speech_prob or 0.0,
        "words": [_word(word) for word in segment.words] if want.word_timestamps else None,
    } | ({"speaker": segment.speaker} if segment.speaker else {})


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.word, "start": word.start, "end": word.end, "probability": word.probability}


def language_of(job: Job) -> dict[str, Any]:
    """What was found out about a job's language."""
    code = job.language or UNKNOWN
    return {
        "detected_language": LANGUAGES.get(code, "unknown"),
        "language_code": code,
        "confidence": job.language_confidence or 0.0,
    }
