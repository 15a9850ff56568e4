"""What a transcript can be written as: pure functions from Transcript and Shaping to text, by the name users ask for.

Results are stored as `to_result` makes them and rendered when asked for.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from core.errors import NotInResult, refusal
from core.notices import Notice
from core.transcript.documents import md, txt
from core.transcript.languages import LANGUAGES
from core.transcript.shaping import Shaping
from core.transcript.subtitles.cue_times import cue_times
from core.transcript.subtitles.writers import ass, lrc, srt, vtt
from core.transcript.values import Gap, Language, Segment, Speaker, SpeakerTurn, Transcript, Translation, Word

JsonFormat = Literal["json", "verbose_json", "diarized_json"]
TextFormat = Literal["txt", "md", "srt", "vtt", "ass", "lrc", "tsv", "csv", "rttm"]
FormatName = Literal[JsonFormat, TextFormat]
"""What `?format=` takes."""

FileFormat = Literal["json", TextFormat]
"""What a transcript file on disk can hold; the name is also its extension."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One thing that a transcript can be written as."""

    media_type: str
    #: for file names, without the dot
    extension: str
    write: Callable[[Transcript, Shaping], str]
    #: the options of Shaping that it can honour
    takes: frozenset[str] = frozenset()
    #: there is nothing to write where nobody listened for who speaks
    needs_speakers: bool = False

    def render(self, transcript: Transcript, shaping: Shaping | None = None) -> str:
        """The text. Raises NotInResult for what this transcript has not: speakers, a translation, times of words."""
        shaping = shaping or Shaping()
        named = transcript.speakers is not None or _channels(transcript)
        if (self.needs_speakers and transcript.speakers is None) or (shaping.speakers == "prefix" and not named):
            raise NotInResult(
                "Nobody listened for who speaks in this job (no diarize): there are no speakers to be named."
            )
        if transcript.translation is None and shaping.translation != "none":
            raise NotInResult("This job has no translation.")
        if shaping.word_cues and transcript.segments and not any(s.words for s in transcript.segments):
            raise NotInResult("This transcript has no times of words, which word_cues needs.")
        return self.write(transcript, shaping)


RESULT_VERSION = 2
"""Of what is stored. Up to 1 (which says nothing of itself) words are there only if they were asked for."""


def to_result(transcript: Transcript) -> dict[str, Any]:
    """The stored result: all that is known, words too where the engine gave them, whoever asked for what."""
    body = _body(transcript, words=True)
    asked = {"task": transcript.task, "word_timestamps": transcript.word_timestamps}
    return body | asked | {"turns": [turn.to_dict() for turn in transcript.turns], "version": RESULT_VERSION}


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
        speakers=_speakers(data.get("speakers")),
        turns=tuple(SpeakerTurn(**_known(SpeakerTurn, turn)) for turn in data.get("turns", ())),
        translation=Translation(**_known(Translation, data["translation"])) if data.get("translation") else None,
    )


def _speakers(found: list[dict[str, Any]] | None) -> tuple[Speaker, ...] | None:
    return None if found is None else tuple(Speaker(**_known(Speaker, speaker)) for speaker in found)


def _known(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _names(kind) if name in data}


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


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
        "speakers": None if transcript.speakers is None else [asdict(s) for s in transcript.speakers],
        "translation": transcript.translation and asdict(transcript.translation),
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
        "speaker": segment.speaker,
        "speaker_confidence": segment.speaker_confidence,
        "translation": segment.translation,
    }
    return body | _channel(segment) | ({"words": [w.to_dict() for w in segment.words]} if words else {})


def _channel(segment: Segment) -> dict[str, Any]:
    return {} if segment.channel is None else {"channel": segment.channel}


def _json(transcript: Transcript, _: Shaping) -> str:
    """All that is known; `words` where the job asked for `word_timestamps`."""
    return json.dumps(_body(transcript, words=transcript.word_timestamps), ensure_ascii=False) + "\n"


def _verbose_json(transcript: Transcript, _: Shaping) -> str:
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
            | _channel(s)
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


def _diarized_json(transcript: Transcript, _: Shaping) -> str:
    """OpenAI's shape (`TranscriptionDiarized`); `speaker` is null where nobody listened for who speaks (it is the channel where
    there are several), and has a name where one voice speaks alone, which the other formats do not label."""
    alone = "SPEAKER_00" if transcript.speakers == () else None
    body = {
        "task": transcript.task,
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": f"seg_{n:03d}",
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "speaker": transcript.voice_of(s) or alone,
            }
            for n, s in enumerate(transcript.segments)
        ],
        "usage": {"type": "duration", "seconds": math.ceil(transcript.duration)},
    }
    return json.dumps(body, ensure_ascii=False) + "\n"


def _rows(transcript: Transcript) -> list[tuple[int, int, str, Segment]]:
    """(start, end, text, segment) of each segment that has a text; milliseconds, and none without length."""
    spoken = [(s, text) for s in transcript.segments if (text := " ".join(s.text.split()))]
    rows: list[tuple[int, int, str, Segment]] = []
    for channel in {s.channel for s, _ in spoken}:  # within a channel, as within a mix, nothing overlaps
        own = [(s, text) for s, text in spoken if s.channel == channel]
        times = cue_times(
            [(_ms(s.start), _ms(s.end), 1) for s, _ in own], least=1, most=sys.maxsize, end=_ms(transcript.duration)
        )
        rows += [(start, end, text, s) for (start, end), (s, text) in zip(times, own, strict=True)]
    return sorted(rows, key=lambda row: (row[0], row[3].channel or 0))


def _channels(transcript: Transcript) -> bool:
    return any(s.channel is not None for s in transcript.segments)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _tsv(transcript: Transcript, _: Shaping) -> str:
    """As openai-whisper writes it: whole milliseconds, so that no locale reads them wrongly."""
    split = _channels(transcript)
    rows = [(start, end, text, *([s.channel] if split else [])) for start, end, text, s in _rows(transcript)]
    head = ("start", "end", "text", *(["channel"] if split else []))
    return "".join("\t".join(map(str, row)) + "\n" for row in (head, *rows))


def _csv(transcript: Transcript, shaping: Shaping) -> str:
    """Seconds; RFC 4180. Where there are speakers, a last column has their names."""
    out = io.StringIO()
    writer = csv.writer(out)
    split, named = _channels(transcript), bool(transcript.speakers) and shaping.speakers != "none"
    writer.writerow(["start", "end", "text", *["channel"] * split, *["speaker"] * named])
    for start, end, text, s in _rows(transcript):
        more = [s.channel] * split + [transcript.name_of(s.speaker) if s.speaker else ""] * named
        writer.writerow([f"{start / 1000:.3f}", f"{end / 1000:.3f}", text, *more])
    return out.getvalue()


def _rttm(transcript: Transcript, _: Shaping) -> str:
    """NIST's Rich Transcription Time Marked: who is heard when, two at once too; where that is not known, by the segments.

    The file is called `audio`, as nobody knows its name here.
    """
    heard = transcript.turns or [
        SpeakerTurn(start=s.start, end=s.end, speaker=s.speaker, channel=s.channel)
        for s in transcript.segments
        if s.speaker
    ]
    return "".join(
        f"SPEAKER audio {(turn.channel or 0) + 1} {turn.start:.3f} {turn.end - turn.start:.3f} "
        f"<NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in heard
    )


NAMES = frozenset({"speakers", "translation"})
CUES = NAMES | {"max_line_width", "max_lines", "max_chars_per_second", "min_cue", "max_cue"}
KARAOKE = CUES | {"word_cues"}
"""What of `core.transcript.shaping.Shaping` formats can honour."""

_JSON_TYPE, _TEXT_TYPE = "application/json", "text/plain; charset=utf-8"

FORMATS: Mapping[FormatName, Format] = MappingProxyType(
    {
        "json": Format(media_type=_JSON_TYPE, extension="json", write=_json),
        "verbose_json": Format(media_type=_JSON_TYPE, extension="json", write=_verbose_json),
        "diarized_json": Format(media_type=_JSON_TYPE, extension="json", write=_diarized_json),
        "txt": Format(media_type=_TEXT_TYPE, extension="txt", write=txt, takes=NAMES),
        "md": Format(media_type="text/markdown; charset=utf-8", extension="md", write=md, takes=NAMES),
        "srt": Format(media_type="application/x-subrip; charset=utf-8", extension="srt", write=srt, takes=CUES),
        "vtt": Format(media_type="text/vtt; charset=utf-8", extension="vtt", write=vtt, takes=KARAOKE),
        "ass": Format(media_type="text/x-ssa; charset=utf-8", extension="ass", write=ass, takes=KARAOKE),
        "lrc": Format(media_type=_TEXT_TYPE, extension="lrc", write=lrc),
        "tsv": Format(media_type="text/tab-separated-values; charset=utf-8", extension="tsv", write=_tsv),
        "csv": Format(media_type="text/csv; charset=utf-8", extension="csv", write=_csv, takes=frozenset({"speakers"})),
        "rttm": Format(media_type=_TEXT_TYPE, extension="rttm", write=_rttm, needs_speakers=True),
    }
)
"""How each of them is written."""


def shaping_for(names: Collection[FormatName], given: Mapping[str, Any]) -> Shaping:
    """What was asked of the look of these formats. Raises ValidationFailed for what one of them cannot honour, too."""
    shaping = Shaping.of(given)
    if errors := [
        {"field": option, "message": f"{name} takes no {option}: {_those_with(option)}"}
        for option in given
        for name in names
        if option not in FORMATS[name].takes
    ]:
        raise refusal(*errors)
    return shaping


def _those_with(option: str) -> str:
    return ", ".join(name for name, known in FORMATS.items() if option in known.takes) + " do"
