"""From the chunks' texts to one transcript: times on the original timeline, seams stitched, doubts flagged."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

from core.audio.samples import SAMPLE_RATE
from core.notices import Notice
from core.speech.chunks import Chunk
from core.speech.planner import MARGIN
from core.transcript.languages import letters
from core.transcript.seams.punctuation import PAUSE, mended
from core.transcript.seams.stitch import in_order, keep_words, placed_words, stitch
from core.transcript.values import FAILED_COMPRESSION, FAILED_LOGPROB, Segment

LOW_LOGPROB = -0.5
"""Below, a segment gets the flag `low_confidence`. Of real speech heard by base it marks 11 % of the segments, of whose words
36 % are wrong (12 % of all words are); of tiny.en 18 % and 41 % (the curve is in docs/explanation/parallel.md)."""

NO_SPEECH = 0.6
"""openai-whisper's own threshold (`transcribe.py`) above which there is no speech, where the decode failed too."""

ALMOST_NO_SPEECH = 0.5
"""Seconds of detected speech up to which the detector counts as saying `none here`."""

HALF_A_MILLISECOND = 0.0005
"""Times that differ by less may be the same once they are rounded."""

SPLIT_HOLE = 2.0
"""Seconds: a phrase that goes on behind a longer spliced-out hole becomes two segments."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What the engine made of one chunk: segments with times in seconds of the audio it heard (spliced).

    `no_speech_prob` of each segment is the chunk's. Their flags are made here.
    """

    chunk: Chunk
    segments: tuple[Segment, ...]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The transcript's segments, and a warning `dropped_hallucination` for each text left out."""

    segments: tuple[Segment, ...]
    warnings: tuple[Notice, ...]


def needs_words(chunk: Chunk) -> bool:
    """Whether the engine should give word times for this chunk even if nobody asked: it has seams to resolve."""
    spliced = any(b.start - a.end > SPLIT_HOLE * SAMPLE_RATE for a, b in pairwise(chunk.regions))
    return spliced or bool(chunk.overlap_before or chunk.overlap_after)


def merge(pieces: Iterable[Piece]) -> Merged:
    """Merge finished chunks, in whatever order they come; missing ones leave a hole.

    The segments are in order and do not overlap, but for those of different channels; nothing is capped, and no text is
    dropped but what detector and model both call no speech.
    """
    merger = Merger()
    found = [s for piece in sorted(pieces, key=lambda p: p.chunk.index) for s in merger.add(piece)]
    return Merged(segments=(*found, *merger.finish()), warnings=tuple(merger.warnings))


class Merger:
    """`merge` for chunks that come one after the other: gives each segment as soon as nothing behind it can change it, and
    none of another channel can come before it."""

    def __init__(self) -> None:
        self.warnings: list[Notice] = []
        self._channels: dict[int | None, _Channel] = {}
        self._waiting: list[Segment] = []
        """Final but for what other channels may have before it."""

    def add(self, piece: Piece) -> list[Segment]:
        """The next chunk in order -> the segments that are final now."""
        return self._in_order(piece.chunk, self._of(piece.chunk).add(piece))

    def skip(self, chunk: Chunk) -> list[Segment]:
        """The next chunk brings nothing -> the segments that are final now."""
        return self._in_order(chunk, self._of(chunk).skip())

    def finish(self) -> list[Segment]:
        """No chunk comes any more -> what is left."""
        left = [segment for channel in self._channels.values() for segment in channel.finish()]
        return sorted([*self._waiting, *left], key=_place)

    def _of(self, chunk: Chunk) -> _Channel:
        return self._channels.setdefault(chunk.channel, _Channel(chunk.channel, self.warnings))

    def _in_order(self, chunk: Chunk, segments: list[Segment]) -> list[Segment]:
        if chunk.channel is None:
            return segments
        until = chunk.watermark / SAMPLE_RATE
        for channel in self._channels.values():
            segments += channel.settle(until)
        self._waiting = sorted([*self._waiting, *segments], key=_place)
        until = min(until, *(channel.holds_from for channel in self._channels.values()))
        sure = bisect_left(self._waiting, until - HALF_A_MILLISECOND, key=lambda segment: segment.start)
        final, self._waiting = self._waiting[:sure], self._waiting[sure:]
        return final


def _place(segment: Segment) -> tuple[float, int]:
    return segment.start, segment.channel or 0


class _Channel:
    """One channel's chunks, or those of the mixed sound (None)."""

    def __init__(self, number: int | None, warnings: list[Notice]) -> None:
        self._number, self._warnings = number, warnings
        self._chunk: Chunk | None = None
        self._placed: list[Segment] = []
        """Of the last chunk: the next may change them."""
        self._last: Segment | None = None
        """The next segment may begin before it ends: they then meet halfway."""

    @property
    def holds_from(self) -> float:
        """No segment that is held back begins before."""
        held = self._placed if self._last is None else [self._last, *self._placed]
        return min((segment.start for segment in held), default=math.inf)

    def add(self, piece: Piece) -> list[Segment]:
        """The next chunk in order -> the segments that are final now."""
        left, right, placed = self._chunk, piece.chunk, _placed(piece, self._warnings)
        if left is not None and left.end == right.start:
            if left.overlap_after or right.overlap_before:
                self._placed, placed = stitch(
                    self._placed,
                    placed,
                    cut=right.start / SAMPLE_RATE,
                    heard_from=(right.start - right.overlap_before) / SAMPLE_RATE,
                    heard_to=(left.end + left.overlap_after) / SAMPLE_RATE,
                )
            self._placed = mended(self._placed, placed)
        final = self._in_order(self._placed)
        # behind a cut in silence the next chunk can take no word; only the last dot may go
        sure = 0 if right.overlap_after else len(placed) - 1
        final += self._in_order(placed[: max(0, sure)])
        self._chunk, self._placed = right, placed[max(0, sure) :]
        return final

    def settle(self, until: float) -> list[Segment]:
        """Nothing comes before that second -> the segments that are final now, if those that are held back lie well before."""
        last = self._placed[-1] if self._placed else self._last
        cut = self._chunk is not None and self._chunk.overlap_after
        return [] if cut or last is None or last.end + PAUSE >= until else self.finish()

    def skip(self) -> list[Segment]:
        """The next chunk brings nothing -> the segments that are final now."""
        final = self._in_order(self._placed)
        self._chunk, self._placed = None, []
        return final

    def finish(self) -> list[Segment]:
        """No chunk comes any more -> what is left."""
        final = self.skip()
        last, self._last = self._last, None
        return final if last is None else [*final, _in_milliseconds(last)]

    def _in_order(self, segments: Sequence[Segment]) -> list[Segment]:
        """Clean text and times in milliseconds; where two segments overlap they meet halfway."""
        final = []
        for segment in segments:
            now = replace(segment, text=" ".join(segment.text.split()), channel=self._number)
            if (last := self._last) is not None:
                (a, b), (start, end) = _met((last.start, last.end), (now.start, now.end))
                own, after = _met(last.span, now.span)
                final.append(_in_milliseconds(replace(last, start=a, end=b, timestamps=last.timestamps and own)))
                now = replace(now, start=start, end=end, timestamps=now.timestamps and after)
            self._last = replace(now, end=max(now.start, now.end))
        return final


def _placed(piece: Piece, warnings: list[Notice]) -> list[Segment]:
    """The segments of one chunk on the original timeline."""
    spliced = _Spliced(piece.chunk)
    found: list[Segment] = []
    for segment in piece.segments:
        if not segment.text.strip():
            continue
        for spoken in spliced.split(_judged(segment)):
            moved = spliced.to_timeline(spoken)
            if _hallucinated(moved, piece.chunk):
                warnings.append(_dropped(moved, piece.chunk.channel))
            else:
                found.append(moved)
    return found


class _Spliced:
    """Times in the audio that a chunk's engine heard, and the joins in it."""

    def __init__(self, chunk: Chunk) -> None:
        self._regions = chunk.regions
        self._joins = [samples / SAMPLE_RATE for samples in accumulate(r.samples for r in chunk.regions)]
        holes = (b.start - a.end for a, b in pairwise(chunk.regions))
        #: joins over long holes, between the two ends of the audio
        self._long = [j for j, hole in zip(self._joins, holes, strict=False) if hole > SPLIT_HOLE * SAMPLE_RATE]
        self._long = [0.0, *self._long, *self._joins[-1:]]

    def split(self, segment: Segment) -> list[Segment]:
        """Trim a segment that merely reaches into the silence beyond a join; cut one that has words on both sides of a
        long hole. Without words nobody knows where to cut: it stays whole."""
        start, end = self._trimmed(segment.start, segment.end)
        segment = _within(segment, start, end)
        if segment.timestamps:
            segment = replace(segment, timestamps=self._trimmed(*segment.timestamps))
        spoken = placed_words(segment)
        if not segment.words or not any(start < join < end for join in self._long):
            return [segment]
        found = []
        for stretch, group in groupby(range(len(spoken)), key=lambda n: self._stretch(spoken[n].middle)):
            members = list(group)
            kept = keep_words(segment, spoken, members[0], members[-1] + 1)
            if kept is not None:
                found.append(_within(kept, self._long[stretch - 1], self._long[stretch]))
        return found

    def _trimmed(self, start: float, end: float) -> tuple[float, float]:
        for join in self._joins[:-1]:
            if start < join < end and join - start <= MARGIN / SAMPLE_RATE:
                start = join
            elif start < join < end and end - join <= MARGIN / SAMPLE_RATE:
                end = join
        return start, end

    def to_timeline(self, segment: Segment) -> Segment:
        words = tuple(
            replace(
                w,
                start=None if w.start is None else self._original(w.start, starts=True),
                end=None if w.end is None else self._original(w.end, starts=False),
            )
            for w in segment.words
        )
        start, end = self._moved(segment.start, segment.end)
        timestamps = segment.timestamps and self._moved(*segment.timestamps)
        return replace(segment, start=start, end=end, words=words, timestamps=timestamps)

    def _moved(self, start: float, end: float) -> tuple[float, float]:
        begin = self._original(start, starts=True)
        return begin, max(begin, self._original(end, starts=False))

    def _stretch(self, position: float) -> int:
        return min(max(1, bisect_right(self._long, position)), len(self._long) - 1)

    def _original(self, position: float, *, starts: bool) -> float:
        """What starts at a join starts behind the hole; what ends there ends before it."""
        find = bisect_right if starts else bisect_left
        n = min(find(self._joins, position), len(self._joins) - 1)
        offset = max(0.0, position - (self._joins[n - 1] if n else 0.0))
        return min(self._regions[n].start / SAMPLE_RATE + offset, self._regions[n].end / SAMPLE_RATE)


def _met(last: tuple[float, float], now: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The same two spans; where they overlap they meet halfway."""
    start, end = now[0], max(now)
    if start < last[1]:
        start = min(max((start + last[1]) / 2, last[0]), last[1])
        last = last[0], start
    return last, (start, max(start, end))


def _within(segment: Segment, low: float, high: float) -> Segment:
    start = min(max(segment.start, low), high)
    end = min(max(segment.end, start), high)
    return replace(segment, start=start, end=end, words=in_order(segment.words, start, end))


def _judged(segment: Segment) -> Segment:
    """With its flags, and its figures without the digits that depend on the number of threads, which sum in another order."""
    segment = replace(
        segment,
        avg_logprob=_rounded(segment.avg_logprob, 4),
        compression_ratio=_rounded(segment.compression_ratio, 4),
        no_speech_prob=_rounded(segment.no_speech_prob, 4),
        words=tuple(replace(w, probability=_rounded(w.probability, 4)) for w in segment.words),
    )
    return replace(segment, flags=_flags(segment))


def _flags(segment: Segment) -> tuple[str, ...]:
    flags = []
    if segment.avg_logprob is not None and segment.avg_logprob < LOW_LOGPROB:
        flags.append("low_confidence")
    if (segment.compression_ratio is not None and segment.compression_ratio > FAILED_COMPRESSION) or is_loop(
        segment.text
    ):
        flags.append("repetition")
    if segment.no_speech_prob is not None and segment.no_speech_prob > NO_SPEECH:
        flags.append("no_speech_likely")
    return tuple(flags)


def is_loop(text: str) -> bool:
    """A phrase of up to 8 words said 4 times running (a single word: 6 times, people do say `no no no no`).

    Without blanks between words: of up to 32 letters 4 times, of up to 4 (most words) 6 times; of one 10 times, since
    laughter and assent are written so (`哈哈哈哈`, `对对对对`).
    """
    folded = text.casefold()
    return _repeats(folded.split(), 8, {1: 6}) or _repeats(letters(folded), 32, {1: 10, 2: 6, 3: 6, 4: 6})


def _repeats(units: Sequence[str], longest: int, times: Mapping[int, int]) -> bool:
    """Whether up to `longest` units come again: as often as `times` says for so many, else 4 times."""
    for n in range(1, longest + 1):
        needed = n * (times.get(n, 4) - 1)
        run = 0
        for a, b in zip(units, units[n:], strict=False):
            run = run + 1 if a == b else 0
            if run >= needed:
                return True
    return False


def _hallucinated(segment: Segment, chunk: Chunk) -> bool:
    """Both must agree: the model by Whisper's rule for silence, the detector by almost no speech where the text is."""
    if "no_speech_likely" not in segment.flags or segment.avg_logprob is None or segment.avg_logprob >= FAILED_LOGPROB:
        return False
    start, end = (moment * SAMPLE_RATE for moment in segment.span)
    islands = [r for r in chunk.regions if r.start <= end and start <= r.end]
    return sum(max(0, r.samples - 2 * MARGIN) for r in islands) < ALMOST_NO_SPEECH * SAMPLE_RATE


def _dropped(segment: Segment, channel: int | None) -> Notice:
    where = "" if channel is None else f" of channel {channel}"
    return Notice(
        code="dropped_hallucination",
        message=f"Text from {segment.start:.2f} to {segment.end:.2f} s{where} was left out: "
        "neither the speech detector nor the model hears speech there.",
    )


def _in_milliseconds(segment: Segment) -> Segment:
    words = in_order(segment.words, segment.start, segment.end)
    return replace(
        segment,
        start=round(segment.start, 3),
        end=round(segment.end, 3),
        timestamps=segment.timestamps and (round(segment.timestamps[0], 3), round(segment.timestamps[1], 3)),
        words=tuple(replace(w, word=w.word.strip(), start=_rounded(w.start, 3), end=_rounded(w.end, 3)) for w in words),
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
