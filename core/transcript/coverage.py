"""The coverage audit: how much speech there was, how much of it became text, and where it did not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk, common
from core.speech.planner import MARGIN, SPLICE
from core.transcript.values import Gap, Segment

LEAST_SPEECH = SAMPLE_RATE
"""Samples of detected speech from which a stretch without text is worth another decode, and at last a gap."""

UNCOVERED = 5 * SAMPLE_RATE
"""The same where nobody looked for speech (`Chunk.speech` is None): pauses cannot be told from words there."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Seconds. Speech is what the plan lets the engine hear: regions with their margins and short pauses.

    transcribed_seconds: speech_seconds without the speech inside the gaps
    """

    audio_seconds: float
    speech_seconds: float
    transcribed_seconds: float
    gaps: tuple[Gap, ...]


def untold(chunk: Chunk, texts: Iterable[tuple[float, float]]) -> list[Region]:
    """Stretches of the chunk's speech that no text touches, in samples of the timeline.

    texts: (start, end) of each segment with text, in order, in samples of the timeline

    A stretch ends where a text begins, or at a pause of more than a second; it has at least LEAST_SPEECH of speech.
    """
    speech, least = (chunk.regions, UNCOVERED) if chunk.speech is None else (chunk.speech, LEAST_SPEECH)
    spans = list(texts)
    if chunk.speech is None and not spans:
        speech, least = (
            tuple(Region(start=r.start + MARGIN, end=r.end - MARGIN) for r in speech if r.samples > 2 * MARGIN),
            LEAST_SPEECH,
        )
    stretches: list[list[Region]] = []
    for piece in (p for region in speech for p in _without(region, spans)):
        last = stretches[-1][-1] if stretches else None
        if (
            last is not None
            and piece.start - last.end <= SPLICE
            and not any(a < piece.start and last.end < b for a, b in spans)
        ):
            stretches[-1].append(piece)
        else:
            stretches.append([piece])
    return [Region(start=s[0].start, end=s[-1].end) for s in stretches if sum(p.samples for p in s) >= least]


def audit(
    chunks: Sequence[Chunk],
    segments: Iterable[Segment],
    *,
    failed: Collection[int],
    duration: float,
    channel: int | None = None,
) -> Coverage:
    """chunks: the whole plan; segments: the merged transcript; failed: indexes of the chunks given up; duration: seconds.

    channel: of whose plan and segments this is to speak
    """
    chunks = [chunk for chunk in chunks if chunk.channel == channel]
    texts = [
        (s.span[0] * SAMPLE_RATE, s.span[1] * SAMPLE_RATE) for s in segments if s.text.strip() and s.channel == channel
    ]
    gaps: list[Gap] = []
    heard = missing = first = 0
    for chunk in chunks:
        own = [Region(start=chunk.start, end=chunk.end)]
        owned = common(chunk.regions, own)
        heard += sum(r.samples for r in owned)
        while first < len(texts) and texts[first][1] < chunk.start:
            first += 1
        inside = []
        for span in texts[first:]:
            if span[0] >= chunk.end:
                break
            inside.append(span)
        if not owned:
            continue
        if chunk.index in failed:
            lost: Sequence[Region] = [Region(start=owned[0].start, end=owned[-1].end)]
            reason = "chunk_failed"
        else:
            speech = None if chunk.speech is None else common(chunk.speech, own)
            lost, reason = untold(replace(chunk, regions=owned, speech=speech), inside), "no_text"
        for span_ in lost:
            missing += sum(r.samples for r in common(owned, [span_]))
            start, end = round(span_.start / SAMPLE_RATE, 3), round(span_.end / SAMPLE_RATE, 3)
            gaps.append(Gap(start=start, end=end, reason=reason, channel=channel))
    return Coverage(
        audio_seconds=duration,
        speech_seconds=round(heard / SAMPLE_RATE, 3),
        transcribed_seconds=round((heard - missing) / SAMPLE_RATE, 3),
        gaps=tuple(gaps),
    )


def _without(region: Region, spans: Sequence[tuple[float, float]]) -> list[Region]:
    """What is left of a region outside of the spans."""
    edges = [
        (region.start, region.start),
        *((round(a), round(b)) for a, b in spans if b > region.start and a < region.end),
        (region.end, region.end),
    ]
    reached, found = region.start, []
    for (_, _), (start, end) in pairwise(edges):
        if start > reached:
            found.append(Region(start=reached, end=start))
        reached = max(reached, end)
    return found
