"""A chunk: the unit of work, of checkpointing and of parallelism.

The *owned spans* of a job's chunks partition [0, duration]. Inside its span a chunk names the
*source regions* that hold speech; the engine hears those spliced together and its times are
mapped back. Positions are samples at 16 kHz throughout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.audio.samples import SAMPLE_RATE, Region


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One planned chunk.

    index: position in the plan, from 0
    start, end: the owned span; chunk n+1 starts where chunk n ends
    regions: what the engine hears, in order, disjoint; may reach past the owned span by the
        overlap where the cut went through speech; empty for a chunk of silence
    overlap_before, overlap_after: samples of audio shared with the neighbour (0 = cut in silence)
    speech: where in `regions` the detector heard speech, without the margins and pauses kept around it, in order;
        None = nobody looked (CHUNK_STRATEGY=fixed, and plans stored by versions up to 0.1.0)
    channel: the one it is of, where each is heard by itself: then there is a plan for each, and `index` counts over all
    watermark: no chunk behind this one, of any channel, hears anything before; where there are channels
    """

    index: int
    start: int
    end: int
    regions: tuple[Region, ...]
    overlap_before: int = 0
    overlap_after: int = 0
    speech: tuple[Region, ...] | None = None
    channel: int | None = None
    watermark: int = 0

    @property
    def samples(self) -> int:
        """How much audio the engine hears."""
        return sum(r.samples for r in self.regions)

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    @property
    def speech_samples(self) -> int:
        """Samples of the regions inside the owned span: summed over a plan, all speech once."""
        return sum(max(0, min(r.end, self.end) - max(r.start, self.start)) for r in self.regions)

    def to_original(self, position: float) -> float:
        """Map seconds in the spliced audio to seconds on the original timeline."""
        left = position * SAMPLE_RATE
        for region in self.regions:
            if left <= region.samples:
                return (region.start + max(0.0, left)) / SAMPLE_RATE
            left -= region.samples
        return (self.regions[-1].end if self.regions else self.end) / SAMPLE_RATE

    def to_heard(self, sample: int) -> int:
        """Where a sample of the timeline lies in the spliced audio; one that was spliced out lies at its join."""
        before = 0
        for region in self.regions:
            if sample < region.end:
                return before + max(0, sample - region.start)
            before += region.samples
        return before

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "start": self.start,
            "end": self.end,
            "regions": [[r.start, r.end] for r in self.regions],
            "overlap_before": self.overlap_before,
            "overlap_after": self.overlap_after,
            "speech": None if self.speech is None else [[r.start, r.end] for r in self.speech],
        } | ({} if self.channel is None else {"channel": self.channel, "watermark": self.watermark})

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Chunk:
        speech = data.get("speech")
        return Chunk(
            **{**data, "regions": _regions(data["regions"]), "speech": None if speech is None else _regions(speech)}
        )


def _regions(pairs: Iterable[Sequence[int]]) -> tuple[Region, ...]:
    return tuple(Region(start=a, end=b) for a, b in pairs)


def in_one_row(planned: Iterable[Sequence[Chunk]], *, first: int, hears_from: int) -> list[Chunk]:
    """The chunks of all channels in the order of their starts, numbered from `first` on, with their watermarks.

    planned: by channel, in order; hears_from: no chunk that is planned later hears anything before
    """
    chunks = sorted((chunk for one in planned for chunk in one), key=lambda chunk: chunk.start)
    row = []
    for index in range(first + len(chunks) - 1, first - 1, -1):
        chunk = chunks[index - first]
        row.append(replace(chunk, index=index, watermark=0 if chunk.channel is None else hears_from))
        if chunk.regions:
            hears_from = min(hears_from, chunk.regions[0].start)
    return row[::-1]


def common(a: Sequence[Region], b: Sequence[Region]) -> tuple[Region, ...]:
    """What two lists of disjoint regions, each in order, share."""
    shared = (Region(start=max(x.start, y.start), end=min(x.end, y.end)) for x in a for y in b)
    return tuple(r for r in shared if r.end > r.start)


def plan_hash(*, audio_sha256: str, decoder: str, planner: str, model_sha256: str, options: dict[str, Any]) -> str:
    """Identity of a plan: two runs with the same hash may share finished chunks."""
    parts = [audio_sha256, decoder, planner, model_sha256, json.dumps(options, sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
