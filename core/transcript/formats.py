"""What a transcript can be written as: pure functions from Transcript to text, by the name users ask for.

Results are stored as `to_result` makes them and rendered when asked for.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from core.notices import Notice
from core.transcript.languages import LANGUAGES
from core.transcript.values import Gap, Language, Segment, Transcript, Word

JsonFormat = Literal["json", "verbose_json"]
TextFormat = Literal["txt", "srt", "vtt", "tsv", "csv", "lrc"]
FormatName = Literal[JsonFormat, TextFormat]
"""What `?format=` takes."""

FileFormat = Literal["json", TextFormat]
"""What a transcript file on disk can hold; the name is also its extension."""

_ARROW = re.compile("--+>")
"""What separates times in subtitles and must not stand in their text."""

READABLE = 833
"""Milliseconds that a subtitle stays at least: 5/6 s, as Netflix's Timed Text Style Guide has it (1.3, "Duration")."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """media_type: for Content-Type; extension: for file names, without the dot."""

    media_type: str
    extension: str
    render: Callable[[Transcript], str]


RESULT_VERSION = 2
"""Of what is stored. Up to 1 (which says nothing of itself) words are there only if they were asked for."""


def to_result(transcript: Transcript) -> dict[str, Any]:
    """The stored result: all that is known, words too where the engine gave them, whoever asked for what."""
    body = _body(transcript, words=True)
    asked = {"task": transcript.task, "word_timestamps": transcript.word_timestamps}
    return body | asked | {"version": RESULT_VERSION}


def from_result(data: dict[str, Any]) -> Transcript:
    """The reverse of `to_result`, read as far as this version knows it. Raises KeyError or TypeError for anything else."""
    return Transcript(
        segments=tuple(
            Segment.from_dict(_known(Segment, s) | {"words": [_known(Word, w) for w in s.get("words", ())]})
            for s in data["segments"]
        ),
        language=Language(**_known(Language, data["language"])),
        duration=data["duration"],
        model=data["model"],
        task=data["task"],
        word_timestamps=data["word_timestamps"],
        gaps=tuple(Gap(**_known(Gap, g)) for g in data["gaps"]),
        warnings=tuple(Notice(**_known(Notice, w)) for w in data["warnings"]),
        performance=data["performance"],
        provenance=data["provenance"],
    )


def _known(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    return {field.name: data[field.name] for field in fields(kind) if field.name in data}


def _body(transcript: Transcript, *, words: bool) -> dict[str, Any]:
    return {
        "text": transcript.text,
        "language": asdict(transcript.language),
        "duration": transcript.duration,
        "model": transcript.model,
        "segments": [segment_body(n, s, words=words) for n, s in enumerate(transcript.segments)],
        "gaps": [g.to_dict() for g in transcript.gaps],
        "warnings": [w.to_dict() for w in transcript.warnings],
        "performance": transcript.performance,
        "provenance": transcript.provenance,
    }


def segment_body(n: int, segment: Segment, *, words: bool) -> dict[str, Any]:
    """One segment as the JSON of a result has it. n: its place in the transcript, from 0"""
    body = {
        "id": n,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "avg_logprob": segment.avg_logprob,
        "no_speech_prob": segment.no_speech_prob,
        "compression_ratio": segment.compression_ratio,
        "flags": list(segment.flags),
        "language": segment.language,
    }
    return body | ({"words": [asdict(w) for w in segment.words]} if words else {})


def _json(transcript: Transcript) -> str:
    return json.dumps(_body(transcript, words=transcript.word_timestamps), ensure_ascii=False) + "\n"


def _verbose_json(transcript: Transcript) -> str:
    """OpenAI's shape (`TranscriptionVerbose`). Its clients want every number: unknown ones are 0, times of a word
    without any are those between its neighbours, and `tokens`, which are not kept, is empty."""
    body: dict[str, Any] = {
        "task": transcript.task,
        "language": LANGUAGES.get(transcript.language.code, transcript.language.code),
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": [
            {
                "id": n,
                "seek": round(s.start * 100),  # in frames of 10 ms
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "tokens": [],
                "temperature": transcript.provenance.get("temperature", 0.0),
                "avg_logprob": s.avg_logprob or 0.0,
                "compression_ratio": s.compression_ratio or 0.0,
                "no_speech_prob": s.no_speech_prob or 0.0,
            }
            for n, s in enumerate(transcript.segments)
        ],
    }
    if transcript.word_timestamps:
        body["words"] = [word for s in transcript.segments for word in _timed_words(s)]
    body["usage"] = {"type": "duration", "seconds": math.ceil(transcript.duration)}
    return json.dumps(body, ensure_ascii=False) + "\n"


def _timed_words(segment: Segment) -> Iterator[dict[str, Any]]:
    reached = segment.start
    for n, word in enumerate(segment.words):
        start = reached if word.start is None else word.start
        later = (w.start for w in segment.words[n + 1 :] if w.start is not None)
        end = next(later, segment.end) if word.end is None else word.end
        reached = max(start, end)
        yield {"word": word.word, "start": start, "end": reached}


def _cues(transcript: Transcript, least: int = 1) -> list[tuple[int, int, str]]:
    """(start, end, text) in milliseconds; one line of text each, and no cue without text or without length.

    least: length that a cue gets where there is room for it: until the next one or the end of the media, else before
        it; one between two that touch takes it from them
    """
    spoken = [(s, text) for s in transcript.segments if (text := " ".join(s.text.split()))]
    starts = [_ms(s.start) for s, _ in spoken]
    ends = [max(_ms(s.start), _ms(s.end)) for s, _ in spoken]
    n = 0
    while n < len(spoken):
        start, end = starts[n], ends[n]
        behind = n + 1  # several without length at one moment share what there is
        while start == end and behind < len(spoken) and starts[behind] == ends[behind] == start:
            behind += 1
        count = behind - n
        limit = starts[behind] if behind < len(spoken) else _ms(transcript.duration)
        end = max(end, min(start + count * least, limit))
        start = min(start, max(end - count * least, ends[n - 1] if n else 0))
        if end - start < count:
            if n and (given := min(count * least, (ends[n - 1] - starts[n - 1]) // 2)) >= count:
                ends[n - 1] = start = start - given
            elif behind < len(spoken) and (given := min(count * least, (ends[behind] - starts[behind]) // 2)) >= count:
                starts[behind] = end = end + given
            else:
                end = start + count
        for i in range(count):
            starts[n + i], ends[n + i] = (start + (end - start) * j // count for j in (i, i + 1))
        n = behind
    return [(start, end, text) for start, end, (_, text) in zip(starts, ends, spoken, strict=True)]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def _txt(transcript: Transcript) -> str:
    return "".join(f"{text}\n" for _, _, text in _cues(transcript))


def _srt(transcript: Transcript) -> str:
    """SubRip has no escapes: an arrow inside the text would end the cue for some players."""
    return "".join(
        f"{n}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_ARROW.sub('->', text)}\n\n"
        for n, (start, end, text) in enumerate(_cues(transcript, READABLE), 1)
    )


def _vtt(transcript: Transcript) -> str:
    """W3C WebVTT: `&` and `<` are markup, `-->` is not allowed in a cue's text."""
    cues = (
        f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n"
        f"{_ARROW.sub('->', text).replace('&', '&amp;').replace('<', '&lt;')}\n"
        for start, end, text in _cues(transcript, READABLE)
    )
    return "WEBVTT\n" + "".join(cues)


def _tsv(transcript: Transcript) -> str:
    """As openai-whisper writes it: whole milliseconds, so that no locale reads them wrongly."""
    return "start\tend\ttext\n" + "".join(f"{start}\t{end}\t{text}\n" for start, end, text in _cues(transcript))


def _csv(transcript: Transcript) -> str:
    """Seconds; RFC 4180."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["start", "end", "text"])
    writer.writerows([f"{start / 1000:.3f}", f"{end / 1000:.3f}", text] for start, end, text in _cues(transcript))
    return out.getvalue()


def _lrc(transcript: Transcript) -> str:
    """LRC lyrics: minutes (they do not turn into hours), seconds, hundredths."""
    return "".join(
        f"[{start // 60_000:02d}:{start // 1000 % 60:02d}.{start % 1000 // 10:02d}]{text}\n"
        for start, _, text in _cues(transcript)
    )


FORMATS: Mapping[FormatName, Format] = MappingProxyType(
    {
        "json": Format(media_type="application/json", extension="json", render=_json),
        "verbose_json": Format(media_type="application/json", extension="json", render=_verbose_json),
        "txt": Format(media_type="text/plain; charset=utf-8", extension="txt", render=_txt),
        "srt": Format(media_type="application/x-subrip; charset=utf-8", extension="srt", render=_srt),
        "vtt": Format(media_type="text/vtt; charset=utf-8", extension="vtt", render=_vtt),
        "tsv": Format(media_type="text/tab-separated-values; charset=utf-8", extension="tsv", render=_tsv),
        "csv": Format(media_type="text/csv; charset=utf-8", extension="csv", render=_csv),
        "lrc": Format(media_type="text/plain; charset=utf-8", extension="lrc", render=_lrc),
    }
)
"""How each of them is written."""
