"""Where utterances begin and end: speech probabilities in, edges out, while the audio is still coming.

The hysteresis is that of `core.speech.regions` (Silero's own). A pause of `silence` ends an utterance; half of it says
that it may have ended. Little speech is most often a piece of a sentence, and needs twice the pause to end. Speech without such a pause is cut: from 12 s on in the middle of a short pause, at 15 s where
speech is least likely, and there both sides hear a second of the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.planner import CUT_SILENCE, MARGIN
from core.speech.regions import FRAME

ON, OFF, LEAST_SPEECH = 0.5, 0.35, round(0.25 * SAMPLE_RATE)
"""As `core.speech.regions.SpeechRegions` has them for files."""

SHORT, SHORT_PAUSE = 3 * SAMPLE_RATE, 2
"""Of an utterance with less speech the pause must be so many times as long: pieces of sentences are understood badly."""

CUT_FROM, CUT_AT = 12 * SAMPLE_RATE, 15 * SAMPLE_RATE
"""Samples of an utterance from which a short pause cuts it, and at which it is cut wherever it is."""

CUT_WITHIN = 4 * SAMPLE_RATE
"""How far back from its end the place of a cut through speech is looked for."""

BEYOND = SAMPLE_RATE
"""What each side of a cut through speech hears of the other."""

WARM_UP = SAMPLE_RATE
"""Silence that a fresh detector is given again, if it takes over: what it makes of a frame depends on those before."""


class Edge(Enum):
    BEGUN = auto()  #: speech that is long enough to be some
    PAUSED = auto()  #: it may have ended: `heard` is what it would be
    RESUMED = auto()  #: it had not
    ENDED = auto()  #: by silence, or by a cut


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something about the one utterance that is open. Positions are samples of the stream.

    heard: what is to be heard of it: up to now, or all of it where it has ended
    start, end: the span that it answers for; `end` may lie before what is heard, where a cut goes through speech
    speech: first and last sample of its speech
    next_heard: where the next one will be heard from, at the earliest
    """

    edge: Edge
    heard: Region
    start: int
    end: int
    speech: Region
    next_heard: int = 0


class Endpoints:
    """Finds utterances in one channel. Depends on the frames alone, never on how they come together.

    silence: samples that end an utterance (a short one: SHORT_PAUSE times as many)
    begin: position of the first frame; start: where the span of the first utterance begins; hears_from: the first sample
        that may be heard, what lies before counts as silence
    """

    def __init__(self, *, silence: int, begin: int = 0, start: int = 0, hears_from: int = 0) -> None:
        self._silence, self._tail = silence, min(silence // 2, MARGIN)
        self._begin, self._start = begin, start
        self._least = max(begin, hears_from)
        self._scores: list[float] = []
        self._first = begin  # position of the first of the scores that are kept
        self._speech: int | None = None  # where the open utterance's speech begins
        self._heard = 0
        self._quiet: int | None = None  # where the score fell below `off`
        self._told = self._paused = False
        self._last_pause: Region | None = None

    @property
    def position(self) -> int:
        """Up to where frames have come."""
        return self._first + len(self._scores) * FRAME

    @property
    def settled(self) -> int:
        """No utterance to come, nor the open one, is heard from before this sample."""
        return self._heard if self._speech is not None else max(self._least, self.position - WARM_UP)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody speaks at this very moment."""
        return self._speech is None or self._quiet is not None

    def feed(self, probabilities: Sequence[float] | NDArray[np.float32]) -> list[Found]:
        """The next frames' probabilities of speech -> what has become of it, in order."""
        found: list[Found] = []
        for probability in np.asarray(probabilities, np.float32).tolist():
            found += self._frame(probability)
        self._forget()
        return found

    def finish(self, until: int) -> list[Found]:
        """End what is open, as if silence had come. until: all samples that there are"""
        if self._speech is None:
            return []
        if not self._told and min(until, self._quiet or until) - self._speech < LEAST_SPEECH:
            self._drop()
            return []
        end = max(until if self._quiet is None else min(until, self._quiet + self._tail), self._heard + 1)
        told = [] if self._told else [self._found(Edge.BEGUN, end)]
        return [*told, self._end(heard_to=end, end=end, next_start=None)]

    def _frame(self, probability: float) -> list[Found]:
        at = self.position
        self._scores.append(probability)
        now = at + FRAME
        if self._speech is None:
            if probability >= ON and now > self._least:
                self._open(max(at, self._least))
            return []
        found: list[Found] = []
        if probability >= ON:
            if self._quiet is not None:
                self._last_pause = Region(start=self._quiet, end=at)
                if self._paused:
                    found.append(self._found(Edge.RESUMED, now))
            self._quiet, self._paused = None, False
        elif probability < OFF and self._quiet is None:
            self._quiet = at
        quiet = self._quiet
        if not self._told:
            if quiet is None and now - self._speech >= LEAST_SPEECH:
                self._told = True
                found.append(self._found(Edge.BEGUN, now))
            elif quiet is not None and now - quiet >= self._silence:
                self._drop()
            return found
        if quiet is not None and now - quiet >= self._enough:
            return [*found, self._end(heard_to=quiet + self._tail, end=quiet + self._tail, next_start=None)]
        if quiet is not None and not self._paused and now - quiet >= self._tail:
            self._paused = True
            found.append(self._found(Edge.PAUSED, quiet + self._tail))
        return found + self._cut(now)

    @property
    def _enough(self) -> int:
        """Samples of silence that would end the open utterance now."""
        assert self._speech is not None
        until = self.position if self._quiet is None else self._quiet
        return self._silence if until - self._speech >= SHORT else SHORT_PAUSE * self._silence

    def _cut(self, now: int) -> list[Found]:
        length = now - self._heard
        pause = self._last_pause
        if pause is not None and self._quiet is None and length >= CUT_FROM:
            self._last_pause = None
            if pause.samples >= CUT_SILENCE and pause.start - self._heard >= CUT_FROM:
                middle = (pause.start + pause.end) // 2
                ended = self._end(heard_to=middle, end=middle, next_start=pause.end, speech_end=pause.start)
                return [ended, self._again(now)]
        if length >= CUT_AT and self._quiet is None:
            middle = self._quietest(now - CUT_WITHIN, now - BEYOND - FRAME)
            ended = self._end(heard_to=middle + BEYOND, end=middle, next_start=middle - BEYOND, speech_end=middle)
            self._heard = middle - BEYOND
            return [ended, self._again(now)]
        return []

    def _open(self, at: int) -> None:
        self._speech, self._heard = at, max(self._least, at - MARGIN)
        self._quiet, self._told, self._paused, self._last_pause = None, False, False, None

    def _again(self, now: int) -> Found:
        self._told = True
        return self._found(Edge.BEGUN, now)

    def _drop(self) -> None:
        self._speech = self._quiet = None
        self._paused = False

    def _found(self, edge: Edge, to: int) -> Found:
        assert self._speech is not None
        end = max(self._speech + 1, self._quiet if self._quiet is not None else to)
        heard = Region(start=self._heard, end=max(to, self._heard + 1))
        return Found(
            edge=edge, heard=heard, start=self._start, end=heard.end, speech=Region(start=self._speech, end=end)
        )

    def _end(self, *, heard_to: int, end: int, next_start: int | None, speech_end: int | None = None) -> Found:
        """next_start: where speech goes on behind a cut; None: silence"""
        assert self._speech is not None
        last = speech_end if speech_end is not None else self._quiet if self._quiet is not None else heard_to
        found = Found(
            edge=Edge.ENDED,
            heard=Region(start=self._heard, end=heard_to),
            start=self._start,
            end=end,
            speech=Region(start=self._speech, end=max(self._speech + 1, last)),
            next_heard=end if next_start is None or heard_to == end else next_start,
        )
        self._start = self._least = end
        self._drop()
        if next_start is not None:
            self._open(max(end, next_start))
        return found

    def _quietest(self, start: int, end: int) -> int:
        """Middle of the five frames (160 ms) with the least mean probability; the latest of equals. As `SpeechRegions`."""
        first, last = (start - self._first) // FRAME, (end - self._first) // FRAME
        scores = np.pad(np.array(self._scores[first : last + 1]), 2, mode="edge")
        means = np.convolve(scores, np.ones(5), "valid").round(3)
        best = len(means) - 1 - int(np.argmin(means[::-1]))
        return self._first + (first + best) * FRAME + FRAME // 2

    def _forget(self) -> None:
        spare = len(self._scores) - 2 * CUT_WITHIN // FRAME
        if spare > CUT_WITHIN // FRAME:
            del self._scores[:spare]
            self._first += spare * FRAME
