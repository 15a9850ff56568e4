"""Where exactly each word lies: the engine's word times, moved onto the edges of speech (docs/explanation/alignment.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from core.audio.samples import SAMPLE_RATE
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.speech.chunks import Chunk
from core.speech.speech_edges import speech_spans
from core.speech.word_edges import Span, placed
from core.transcript.values import Segment, Transcript, Word
from worker.context.stage import Grain, OnFailure, Output, Stage
from worker.context.work import Work

ALIGN = "align"


class AlignStage(Stage):
    """By chunk, where anybody speaks in what the engine has heard. The words move when the transcript is put together: until then
    a neighbour may change which there are."""

    name = ALIGN
    needs = ("decode", TRANSCRIBE)
    grain = Grain.CHUNK
    on_failure = OnFailure.DEGRADE

    def wanted(self, work: Work) -> bool:
        return is_aligned(work.job.params)

    def run(self, work: Work, task: Task) -> Output:
        (heard,) = work.tasks(TRANSCRIBE, [task.number])
        chunk = Chunk.from_dict(heard.plan or {})
        speech = speech_spans(work.recording.read_regions(chunk.regions), work.parts.vad().feed)
        return Output(data={"speech": [[round(a, 3), round(b, 3)] for a, b in _on_timeline(chunk, speech)]})


def is_aligned(params: JobParams) -> bool:
    """Not a translation (`align` may be an installation's default): its words are not said one after another."""
    return params.align and params.task == "transcribe"


def aligned(transcript: Transcript, chunks: Sequence[Task], found: Sequence[Task]) -> Transcript:
    """With the words where they are heard, and segments from their first to their last; the text stays as it is, to the letter.

    chunks: of the plan; found: what came of AlignStage. Where nothing did, words stay where they are.
    """
    spans = [
        (w.start, w.end) for s in transcript.segments for w in s.words if w.start is not None and w.end is not None
    ]
    done = {task.number: task.output or {} for task in found if task.state is TaskState.DONE}
    speech = [(a, b) for output in done.values() for a, b in output["speech"]]
    for chunk in (Chunk.from_dict(task.plan or {}) for task in chunks if task.number not in done):
        owned = chunk.start / SAMPLE_RATE, chunk.end / SAMPLE_RATE
        speech += [(a, b) for a, b in spans if a < owned[1] and b > owned[0]]
    moved = iter(placed(spans, speech))
    segments, last = [], 0.0
    for segment in transcript.segments:
        segments.append(_moved(segment, moved, last, transcript.duration))
        last = segments[-1].end
    return replace(transcript, segments=tuple(segments))


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
