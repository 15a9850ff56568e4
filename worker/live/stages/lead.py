"""What was said just before an utterance, heard with it: a piece of a sentence is understood better with the piece before.

Measured on LibriSpeech's test-other (docs/explanation/live.md): of three seconds by themselves a model makes 20.3 % errors,
with what was said in the twelve seconds before 16.3 %. The text of before as a prompt, without its sound, does not help.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from core.audio.samples import SAMPLE_RATE, Region
from core.transcript.seams.stitch import keep_words, placed_words
from core.transcript.values import Segment
from whisper.types import ChunkTranscript

LEAD = 12 * SAMPLE_RATE
"""So far back an utterance may have begun that is heard again before another one."""

WINDOW = 28 * SAMPLE_RATE
"""Together they must fit into what a model hears at once, as chunks do."""

SHARE, FAIR = 0.25, 0.25
"""Of a stream's time that hearing its finals may take with a lead, at most, and of what it may have of a worker: who is slower,
or one of many, hears them by themselves."""

GUESSED = 0.8
"""Likewise for finals that are asked for in a pause which may be none: who takes more waits until the pause is long enough."""

LOOKED = 4
"""Finals that are looked at for that."""

LEAST_WORDS = 0.8
"""A second, but for the first 0.6: of what has fewer, the model has taken some for said already. It happens once in thirty."""


class Lead:
    """One channel's: where its utterances began, and what hearing them takes.

    begin: position of the first sample; fair_share: of a worker, that the stream may have now
    """

    def __init__(self, begin: int = 0, *, fair_share: Callable[[], float] = lambda: 1.0) -> None:
        self._fair_share = fair_share
        self._begun: deque[int] = deque()
        self._heard: deque[tuple[Region, float]] = deque([(Region(start=begin, end=begin), 0.0)], maxlen=LOOKED)

    def begin(self, start: int) -> None:
        """An utterance is heard from that sample on."""
        self._begun.append(start)

    def took(self, region: Region, seconds: float) -> None:
        """How long the engine has been waited for with a final, or with what might have become one."""
        last = self._heard[-1][0]
        if last.start >= region.start:  # the same one, or one that was asked for too early and is there too late
            seconds += self._heard.pop()[1]
            region = last if last.start > region.start else region
        self._heard.append((region, seconds))
        while self._begun and self._begun[0] < region.start - LEAD:  # others may have begun, and wait to be heard
            self._begun.popleft()

    def of(self, region: Region, *, first: int) -> Region | None:
        """What to hear instead of an utterance; None: itself. first: sample that can still be read"""
        least = max(first, region.start - LEAD, region.end - WINDOW)
        start = next((start for start in self._begun if least <= start < region.start), None)
        affords = self._affords(min(SHARE, FAIR * self._fair_share()), until=region.end)
        return Region(start=start, end=region.end) if start is not None and affords else None

    def may_guess(self, region: Region) -> bool:
        """Whether there is time to hear an utterance before it is known to have ended."""
        return self._affords(GUESSED * self._fair_share(), until=region.end)

    def _affords(self, share: float, *, until: int) -> bool:
        """Whether finals have taken no more than that share of the stream's time."""
        spent = sum(seconds for _, seconds in self._heard)
        return spent <= share * (until - self._heard[0][0].end) / SAMPLE_RATE


def behind_lead(said: ChunkTranscript, *, lead: float, silence: float, seconds: float) -> ChunkTranscript | None:
    """What the utterance itself says, in seconds of its own; None where too little came to be all.

    said: of both; lead: seconds before the utterance; silence: how many of them nobody spoke; seconds: of the utterance
    """
    border = lead - silence / 2
    own: list[Segment] = []
    words = 0
    for segment in said.segments:
        placed = placed_words(segment)
        first = next((n for n, word in enumerate(placed) if word.middle >= border), len(placed))
        kept = keep_words(segment, placed, first, len(placed))
        if kept is not None:
            own.append(_moved(kept, lead))
            words += len(placed) - first
    return replace(said, segments=tuple(own)) if words and words >= LEAST_WORDS * (seconds - 0.6) else None


def _moved(segment: Segment, lead: float) -> Segment:
    def move(moment: float) -> float:
        return max(0.0, moment - lead)

    words = tuple(
        word if word.start is None or word.end is None else replace(word, start=move(word.start), end=move(word.end))
        for word in segment.words
    )
    return replace(segment, start=move(segment.start), end=move(segment.end), words=words, timestamps=None)
