"""The coverage audit: how much speech there was, how much of it became text, and where it did not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from core.chunks import SAMPLE_RATE, Chunk, Region
from core.planner import MARGIN
from core.transcript import Gap, Segment

SPEECH_WITHOUT_TEXT = 1.0
"""Seconds of speech from which a chunk without any text is a gap."""

UNCOVERED = 5.0
"""Seconds of unbroken speech (pauses up to 1 s count) between two segments from which that is a gap. Whisper's own
times leave no such holes on normal speech."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Seconds. Speech is what the plan lets the engine hear: regions with their margins and short pauses.

    transcribed_seconds: speech_seconds without the speech inside the gaps
    """

    audio_seconds: float
    speech_seconds: float
    transcribed_seconds: float
    gaps: tuple[Gap, ...]


def speech_without_text(chunk: Chunk, text: str) -> bool:
    """Whether a chunk's empty answer is worth another try."""
    speech = sum(max(0, r.samples - 2 * MARGIN) for r in chunk.regions)
    return not text.strip() and speech >= SPEECH_WITHOUT_TEXT * SAMPLE_RATE


def audit(chunks: Sequence[Chunk], segments: Iterable[Segment], *, failed: Collection[int], duration: float) -> Coverage:
    """chunks: the whole plan; segments: the merged transcript; failed: indexes of the chunks given up; duration: seconds."""
    texts = [(s.start * SAMPLE_RATE, s.end * SAMPLE_RATE) for s in segments if s.text.strip()]
    gaps: list[Gap] = []
    heard = missing = first = 0
    for chunk in chunks:
        owned = _owned(chunk)
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
            lost, reason = [Region(start=owned[0].start, end=owned[-1].end)], "chunk_failed"
        elif speech_without_text(chunk, "text" if inside else ""):
            lost, reason = [Region(start=owned[0].start, end=owned[-1].end)], "no_text"
        else:
            lost, reason = [u for r in owned for u in _uncovered(r, inside)], "no_text"
        for span_ in lost:
            missing += sum(max(0, min(r.end, span_.end) - max(r.start, span_.start)) for r in owned)
            gaps.append(Gap(start=round(span_.start / SAMPLE_RATE, 3), end=round(span_.end / SAMPLE_RATE, 3), reason=reason))
    return Coverage(
        audio_seconds=duration,
        speech_seconds=round(heard / SAMPLE_RATE, 3),
        transcribed_seconds=round((heard - missing) / SAMPLE_RATE, 3),
        gaps=tuple(gaps),
    )


def _owned(chunk: Chunk) -> list[Region]:
    clipped = (Region(start=max(r.start, chunk.start), end=min(r.end, chunk.end)) for r in chunk.regions)
    return [r for r in clipped if r.end > r.start]


def _uncovered(region: Region, texts: Sequence[tuple[float, float]]) -> list[Region]:
    """Long stretches of a region that no segment touches."""
    found, reached = [], float(region.start)
    for start, end in [*texts, (float(region.end), float(region.end))]:
        until = min(start, region.end)
        if until - reached >= UNCOVERED * SAMPLE_RATE:
            found.append(Region(start=round(reached), end=round(until)))
        reached = max(reached, end)
    return found
