"""From samples to turns, while the recording is still being decoded (docs/explanation/speakers.md explains the steps)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.transcript.speakers.turns import Turn
from whisper.speakers.diarizer import DIMENSIONS, Audio, Diarization
from whisper.speakers.frames import FIELD, HOP, STEP, WINDOW, Classes, first_sample, window_starts
from whisper.speakers.labels import spans, speaking
from whisper.speakers.pieces import Piece, speech_of
from whisper.speakers.voices import SpeakerBounds, Vectors, voices_of

SHORTEST_TURN = 0.1
"""Seconds."""

EMBEDDING = "campplus zh-en 16k common advanced, 1"
"""What voices are vectors of. Raised when the same voice gives another vector than before: voices that were kept are worth nothing
then."""

T = TypeVar("T")
R = TypeVar("R")


class Networks(Protocol):
    """The two networks. Safe to call from many threads. Raise what engines do."""

    def classes(self, window: Pcm) -> Classes:
        """991 samples to 10 s -> the class of each frame (`whisper.speakers.frames.POWERSET`)."""
        ...

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        """0.3 to 4 s of one voice -> what it sounds like, shape (192,)."""
        ...


class Each(Protocol):
    """Maps a function over things, some of them at once, and gives the results in order."""

    def __call__(self, work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]: ...


def one_by_one(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    return map(work, things)


class TurnPipeline:
    """Segmentation of overlapping windows, one vector for each piece in which one person speaks, clustering, vote.

    each: how many windows and pieces are looked at at once is its business, and so is stopping
    """

    def __init__(self, networks: Networks, each: Each = one_by_one) -> None:
        self._networks, self._each = networks, each

    def diarize(
        self, audio: Audio, bounds: SpeakerBounds = SpeakerBounds(), tell: Callable[[float], object] = lambda _: None
    ) -> Diarization:
        """tell: told the share that is done, 0 to 1. Raises what the networks, the audio and `each` raise."""
        windows = list(self._windows(audio))
        samples = audio.length(0)
        nothing = Diarization(turns=(), voices=np.zeros((0, DIMENSIONS), np.float32), embedding=EMBEDDING)
        if not windows:
            return nothing
        starts = window_starts(samples)
        assert len(starts) == len(windows)
        tell(0.6)
        speech = speech_of(starts, windows)
        vectors, heard = self._vectors(audio, speech.pieces)
        if not heard.any():
            return nothing
        tell(0.95)
        seconds = np.array([piece.seconds for piece in speech.pieces])
        voices = voices_of(vectors[heard], seconds[heard], samples / SAMPLE_RATE, bounds)
        active = speaking(starts, windows, speech, vectors, heard, voices)
        turns = [
            Turn(
                start=(first_sample(a) if a else 0) / SAMPLE_RATE,
                end=min(first_sample(b), samples) / SAMPLE_RATE,
                voice=voice,
            )
            for a, b, voice in spans(active)
        ]
        turns = [turn for turn in turns if turn.end - turn.start >= SHORTEST_TURN]
        return Diarization(turns=tuple(turns), voices=voices, embedding=EMBEDDING)

    def _windows(self, audio: Audio) -> Iterator[Classes]:
        return self._each(lambda span: self._networks.classes(audio.read(*span)), _spans(audio))

    def _vectors(self, audio: Audio, pieces: tuple[Piece, ...]) -> tuple[Vectors, NDArray[np.bool_]]:
        """Of each piece, and whether it has one."""
        heard = np.array([piece.heard for piece in pieces], bool)
        vectors = np.zeros((len(pieces), DIMENSIONS), np.float32)
        found = self._each(
            lambda piece: self._networks.voice(audio.read(*piece.samples)), (p for p in pieces if p.heard)
        )
        for at, vector in zip(np.flatnonzero(heard), found, strict=True):
            vectors[at] = vector
            heard[at] = bool(np.isfinite(vector).all())
        return vectors, heard


def _spans(audio: Audio) -> Iterator[tuple[int, int]]:
    """Samples of each window, as soon as they are there."""
    start, length = 0, audio.length(WINDOW)
    if length < FIELD:
        return
    while length >= start + WINDOW:
        yield start, start + WINDOW
        last = start
        start += STEP * HOP
        length = audio.length(start + WINDOW)
    end = window_starts(length)[-1] * HOP
    if length < WINDOW:
        yield 0, length
    elif end != last:
        yield end, end + WINDOW
