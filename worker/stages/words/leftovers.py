"""Speech that a decode left without text is decoded again, as a window of its own.

Whisper may end a window early (the end token right after a timestamp), or jump from one timestamp over seconds of
speech to the next. It cannot know; the speech detector does. With base 2 % of all words went that way, with tiny.en 6 %
(`benchmarks accuracy`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm, Region
from core.speech.chunks import Chunk
from core.speech.planner import MARGIN
from core.transcript.coverage import untold
from core.transcript.languages import letters, pieces
from core.transcript.values import FAILED_COMPRESSION, FAILED_LOGPROB, Segment, Word
from whisper.types import ChunkTranscript

MOST = 6
"""Further decodes of one chunk, which can have six stretches of speech between seven texts, and more only if it is noise."""

BACK = round(0.3 * SAMPLE_RATE)
"""Where text ends or begins within speech, the time of its edge is not exact: a quiet place is looked for so far around it."""

QUIET = SAMPLE_RATE // 50
"""Samples over which loudness is taken for that."""

ALL_BUT = round(0.2 * SAMPLE_RATE)
"""A window that leaves no more than this out of its chunk is the chunk."""

AGAIN = 12
"""Words (or letters, where words have no blanks between them) at the seams that both decodes may have heard."""

Ask = Callable[[Pcm, bool], ChunkTranscript | None]
"""Decodes some samples as the chunk was, None if that failed; the flag says that greedy decoding brought nothing."""


def complete(chunk: Chunk, pcm: Pcm, said: ChunkTranscript, ask: Ask) -> tuple[ChunkTranscript, float]:
    """The chunk's transcript with what further decodes found, and the engine seconds these took.

    pcm: the chunk's samples as the engine heard them. Depends on these and on the engine alone, so a chunk that is
    worked on again gives the same text.
    """
    seconds, reached = 0.0, 0
    for _ in range(MOST):
        window = next((w for w in _windows(chunk, pcm, said) if w.start >= reached), None)
        if window is None:
            break
        reached = window.start + 1
        if len(pcm) - window.samples < ALL_BUT:
            again = ask(pcm, True)  # the same samples at the same temperature would say the same nothing
            window = Region(start=0, end=len(pcm))
        else:
            again = ask(pcm[window.start : window.end], False)
        if again is None:
            break  # what there is stays, and the rest is a gap
        seconds += again.engine_seconds
        found = [_moved(s, window.start / SAMPLE_RATE) for s in again.segments if _believable(s)]
        if found:
            said = replace(said, segments=_joined(said.segments, found))
    return said, seconds


def _windows(chunk: Chunk, pcm: Pcm, said: ChunkTranscript) -> list[Region]:
    """What is to be decoded again, in samples of the spliced audio."""
    texts = [s.span for s in said.segments if s.text.strip()]
    left = untold(chunk, [(chunk.to_original(a) * SAMPLE_RATE, chunk.to_original(b) * SAMPLE_RATE) for a, b in texts])
    edges = {round(t * SAMPLE_RATE) for span in texts for t in span}
    windows = []
    for stretch in left:
        start, end = chunk.to_heard(stretch.start), chunk.to_heard(stretch.end)
        before = max((e for e in edges if e <= start + QUIET), default=0)
        behind = min((e for e in edges if e >= end - QUIET), default=len(pcm))
        start = (
            max(before - BACK, start - MARGIN)
            if start - before > MARGIN
            else _quietest(pcm, before - BACK, before + BACK // 3)
        )
        end = (
            min(behind + BACK, end + MARGIN)
            if behind - end > MARGIN
            else _quietest(pcm, behind - BACK // 3, behind + BACK)
        )
        windows.append(Region(start=max(0, start), end=min(len(pcm), end)))
    return windows


def _quietest(pcm: Pcm, low: int, high: int) -> int:
    low, high = max(0, low), min(len(pcm), high)
    frames = (high - low) // QUIET
    if frames < 1:
        return low
    levels = np.abs(pcm[low : low + frames * QUIET].astype(np.int32)).reshape(frames, QUIET).sum(axis=1)
    return low + int(np.argmin(levels)) * QUIET + QUIET // 2


def _believable(segment: Segment) -> bool:
    """A decode that failed by Whisper's own rule is worse than a gap that is told."""
    doubtful = segment.avg_logprob is not None and segment.avg_logprob < FAILED_LOGPROB
    return not doubtful and not (
        segment.compression_ratio is not None and segment.compression_ratio > FAILED_COMPRESSION
    )


def _moved(segment: Segment, seconds: float) -> Segment:
    def later(time: float | None) -> float | None:
        return None if time is None else time + seconds

    words = tuple(replace(w, start=later(w.start), end=later(w.end)) for w in segment.words)
    start, end = segment.span
    return replace(
        segment,
        start=segment.start + seconds,
        end=segment.end + seconds,
        words=words,
        timestamps=segment.timestamps and (start + seconds, end + seconds),
    )


def _joined(old: tuple[Segment, ...], new: list[Segment]) -> tuple[Segment, ...]:
    """Old and new in order; words that both heard where they meet are the old ones'."""
    middle = (new[0].span[0] + new[-1].span[1]) / 2
    before = [s for s in old if sum(s.span) / 2 <= middle]
    behind = list(old[len(before) :])
    if before:
        new[0] = _cut(new[0], _shared(before[-1].text, new[0].text), 0)
    if behind:
        new[-1] = _cut(new[-1], 0, _shared(new[-1].text, behind[0].text))
    return (*before, *(_between(s, before, behind) for s in new if s.text.strip()), *behind)


def _between(segment: Segment, before: list[Segment], behind: list[Segment]) -> Segment:
    def inside(times: tuple[float, float], low: float, high: float) -> tuple[float, float]:
        return min(max(times[0], low), high), min(max(times[1], low), high)

    low, high = before[-1].end if before else 0.0, behind[0].start if behind else math.inf
    start, end = inside((segment.start, segment.end), low, high)
    low, high = before[-1].span[1] if before else 0.0, behind[0].span[0] if behind else math.inf
    return replace(
        segment, start=start, end=end, timestamps=segment.timestamps and inside(segment.timestamps, low, high)
    )


def _shared(left: str, right: str) -> int:
    """How many `pieces` end the left text and begin the right one. One letter without blanks around it may be chance."""
    a, b = ([_letters(piece) for piece in pieces(text)] for text in (left, right))
    same = [n for n in range(1, min(AGAIN, len(a), len(b)) + 1) if a[-n:] == b[:n] and any(a[-n:])]
    return max((n for n in same if n > 1 or not letters(right)), default=0)


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _cut(segment: Segment, first: int, last: int) -> Segment:
    """Without so many pieces at its beginning and end."""
    if not first and not last:
        return segment
    cut = pieces(segment.text)
    kept = cut[first : len(cut) - last]
    words = _without(segment.words, "".join(cut[:first]))
    words = _without(words[::-1], "".join(cut[len(cut) - last :]))[::-1]
    return replace(segment, text="".join(kept).strip(), words=words)


def _without(words: tuple[Word, ...], text: str) -> tuple[Word, ...]:
    """Those that come after as many letters as the text has."""
    left = len(_letters(text))
    while words and left > 0:
        left -= len(_letters(words[0].word))
        words = words[1:]
    return words
