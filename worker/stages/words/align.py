"""Where exactly each word lies: the engine's word times, moved onto the edges of speech (docs/explanation/alignment.md)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.audio.samples import SAMPLE_RATE, Pcm
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.speech.chunks import Chunk
from core.speech.speech_edges import speech_spans
from core.speech.word_edges import Span, placed
from core.transcript.values import Segment, Transcript, Word
from whisper.types import ChunkTranscript
from worker.context.stage import Grain, OnFailure, Output, Stage
from worker.context.work import Work
from worker.stages.words import english

ALIGN = "align"

_AROUND = 0.3
"""Seconds around a phrase in which the second opinion looks for its words."""
_SAME = 0.15
"""Seconds that a word's time may have been moved by where chunks meet."""

Opinion = tuple[str, float, float, float]
"""A word, where the engine has its start, and where it begins and ends by a second opinion."""


class AlignStage(Stage):
    """By chunk, where anybody speaks in what the engine has heard, and a second opinion on its words. They move when the transcript
    is put together: until then a neighbour may change which there are."""

    name = ALIGN
    needs = ("decode", TRANSCRIBE)
    grain = Grain.CHUNK
    on_failure = OnFailure.DEGRADE

    def wanted(self, work: Work) -> bool:
        return is_aligned(work.job.params)

    def options(self, work: Work) -> Mapping[str, Any]:
        return {"english": english.version()}

    def run(self, work: Work, task: Task) -> Output:
        (heard,) = work.tasks(TRANSCRIBE, [task.number])
        chunk = Chunk.from_dict(heard.plan or {})
        if not chunk.regions:  # nobody speaks
            return Output(data={"speech": [], "words": []})
        pcm = work.recording.read_regions(chunk.regions, chunk.channel)
        said = ChunkTranscript.from_dict(heard.output) if heard.output else None
        speech = _on_timeline(chunk, speech_spans(pcm, work.parts.vad().feed))
        words = _second_opinion(work, chunk, pcm, said.segments) if said and english.version() else ()
        return Output(
            data={
                "speech": [[round(a, 3), round(b, 3)] for a, b in speech],
                "words": [[word, *(round(time, 3) for time in times)] for word, *times in words],
            }
        )


def is_aligned(params: JobParams) -> bool:
    """Not a translation (`align` may be an installation's default): its words are not said one after another."""
    return params.align and params.task == "transcribe"


def aligned(transcript: Transcript, chunks: Sequence[Task], found: Sequence[Task]) -> Transcript:
    """With the words where they are heard, and segments from their first to their last; the text stays as it is, to the letter.

    chunks: of the plan; found: what came of AlignStage. Where nothing did, words stay where they are. What is said in one channel is
    moved by what is heard there.
    """
    channels = {segment.channel for segment in transcript.segments}
    if len(channels) < 2:
        return _aligned(transcript, chunks, found)
    segments: list[Segment] = []
    for channel in channels:
        own = [task for task in chunks if Chunk.from_dict(task.plan or {}).channel == channel]
        numbers = {task.number for task in own}
        alone = replace(transcript, segments=tuple(s for s in transcript.segments if s.channel == channel))
        segments += _aligned(alone, own, [task for task in found if task.number in numbers]).segments
    return replace(transcript, segments=tuple(sorted(segments, key=lambda s: (s.start, s.channel or 0))))


def _aligned(transcript: Transcript, chunks: Sequence[Task], found: Sequence[Task]) -> Transcript:
    done = {task.number: task.output or {} for task in found if task.state is TaskState.DONE}
    opinions = sorted(((word, *times) for output in done.values() for word, *times in output["words"]), key=_heard_at)
    times = [_heard_at(opinion) for opinion in opinions]
    timed = [w for s in transcript.segments for w in s.words if w.start is not None and w.end is not None]
    spans = [_best(word, opinions, times) for word in timed]
    speech = [(a, b) for output in done.values() for a, b in output["speech"]]
    for chunk in (Chunk.from_dict(task.plan or {}) for task in chunks if task.number not in done):
        start, end = chunk.start / SAMPLE_RATE, chunk.end / SAMPLE_RATE
        speech += [(a, b) for a, b in spans if a < end and b > start]
    moved = iter(placed(spans, speech))
    segments, last = [], 0.0
    for segment in transcript.segments:
        segments.append(_moved(segment, moved, last, transcript.duration))
        last = segments[-1].end
    return replace(transcript, segments=tuple(segments))


def _second_opinion(work: Work, chunk: Chunk, pcm: Pcm, segments: Sequence[Segment]) -> Iterator[Opinion]:
    """On the words of English phrases that it knows all of."""
    aligner = None
    for segment in segments:
        words = [(word.word, word.start) for word in segment.words if word.start is not None]
        if segment.language != "en" or not words or len(words) < len(segment.words):
            continue
        work.check()
        aligner = aligner or english.EnglishAligner()
        first = round(max(0.0, segment.start - _AROUND) * SAMPLE_RATE)
        found = aligner.spans(pcm[first : round((segment.end + _AROUND) * SAMPLE_RATE)], [word for word, _ in words])
        for (word, start), span in zip(words, found or (), strict=False):
            begin, end = (chunk.to_original(first / SAMPLE_RATE + time) for time in span)
            yield word, chunk.to_original(start), begin, end


def _best(word: Word, opinions: Sequence[Opinion], times: Sequence[float]) -> Span:
    """The second opinion on a word, or the first."""
    assert word.start is not None
    assert word.end is not None
    n = bisect_left(times, word.start - _SAME)
    near = []
    while n < len(opinions) and times[n] <= word.start + _SAME:
        if opinions[n][0] == word.word:
            near.append((abs(times[n] - word.start), opinions[n][2], opinions[n][3]))
        n += 1
    return min(near)[1:] if near else (word.start, word.end)


def _heard_at(opinion: Opinion) -> float:
    return opinion[1]


def _moved(segment: Segment, spans: Iterator[Span], least: float, most: float) -> Segment:
    words = [_at(word, next(spans), most) if None not in (word.start, word.end) else word for word in segment.words]
    times = [time for word in words for time in (word.start, word.end) if time is not None]
    start, end = (times[0], times[-1]) if times else (max(segment.start, least), max(segment.end, least))
    return replace(segment, start=start, end=end, words=tuple(words))


def _at(word: Word, span: Span, most: float) -> Word:
    return replace(word, start=round(min(span[0], most), 3), end=round(min(span[1], most), 3))


def _on_timeline(chunk: Chunk, spans: Sequence[Span]) -> Iterator[Span]:
    """Spans of the spliced audio; one that goes over a splice is two."""
    position = 0.0
    for region in chunk.regions:
        length, shift = region.samples / SAMPLE_RATE, region.start / SAMPLE_RATE - position
        for start, end in spans:
            a, b = max(start, position), min(end, position + length)
            if b > a:
                yield a + shift, b + shift
        position += length
