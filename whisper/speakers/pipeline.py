"""From samples to turns, while the recording is still being decoded (docs/explanation/speakers.md explains the steps)."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.transcript.speakers.turns import Turn
from whisper.speakers.diarizer import DIMENSIONS, NO_CHECKPOINTS, Audio, Checkpoints, Diarization
from whisper.speakers.frames import FIELD, HOP, STEP, WINDOW, Classes, first_sample, window_starts
from whisper.speakers.labels import spans, speaking
from whisper.speakers.pieces import Piece, Speech, speech_of
from whisper.speakers.splitting import split
from whisper.speakers.voices import SpeakerBounds, Vectors, voices_of

SHORTEST_TURN = 0.1
"""Seconds."""
BLOCK = 120
"""Windows, or pieces, that are one checkpoint together: five minutes of a recording, some 5 s of work. What is shorter has none."""
_WINDOWS, _VECTORS = 0.6, 0.35
"""Shares of the work."""

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
        self,
        audio: Audio,
        bounds: SpeakerBounds = SpeakerBounds(),
        tell: Callable[[float], object] = lambda _: None,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> Diarization:
        """tell, checkpoints: as `Diarizer` has them. Raises what the networks, the audio and `each` raise."""
        windows: list[Classes] = []
        for classes in self._windows(audio, checkpoints):
            windows.append(classes)
            behind = WINDOW + (len(windows) - 1) * STEP * HOP
            tell(_WINDOWS * min(1.0, behind / max(1, audio.length(0))))
        samples = audio.length(0)
        nothing = Diarization(turns=(), voices=np.zeros((0, DIMENSIONS), np.float32), embedding=EMBEDDING)
        if not windows:
            return nothing
        starts = window_starts(samples)
        assert len(starts) == len(windows)
        speech = speech_of(starts, windows)
        vectors, heard = self._vectors(audio, speech.pieces, tell, checkpoints)
        if not heard.any():
            return nothing
        voices = _voices(speech, vectors, heard, samples, bounds)
        whole = speech
        speech, vectors, heard = split(speech, vectors, heard, voices, partial(self._listened, audio))
        if speech is not whole:
            voices = _voices(speech, vectors, heard, samples, bounds)
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

    def _windows(self, audio: Audio, checkpoints: Checkpoints) -> Iterator[Classes]:
        things = _spans(audio)
        for number in count():
            block = islice(things, BLOCK)
            name = f"windows.{number}"
            done = _unpacked(checkpoints.load(name))
            if done is not None:
                yield from (classes for classes, _ in zip(done, block, strict=False))  # as they are decoded
                continue
            found = []
            for classes in self._each(lambda span: self._networks.classes(audio.read(*span)), block):
                found.append(classes)
                yield classes
            if len(found) < BLOCK:
                return
            checkpoints.save(name, _packed(found))

    def _vectors(
        self, audio: Audio, pieces: tuple[Piece, ...], tell: Callable[[float], object], checkpoints: Checkpoints
    ) -> tuple[Vectors, NDArray[np.bool_]]:
        """Of each piece, and whether it has one."""
        heard = np.array([piece.heard for piece in pieces], bool)
        places = np.flatnonzero(heard).tolist()
        vectors = np.zeros((len(pieces), DIMENSIONS), np.float32)
        for number in range(-(-len(places) // BLOCK)):
            block = places[number * BLOCK : (number + 1) * BLOCK]
            these = [pieces[at] for at in block]
            name = f"voices.{number}.{_name_of(these)}"
            done = _unpacked(checkpoints.load(name)) if len(block) == BLOCK else None
            found = self._listened(audio, these)
            for n, (at, vector) in enumerate(zip(block, found if done is None else done, strict=True)):
                vectors[at] = vector
                heard[at] = bool(np.isfinite(vector).all())
                tell(_WINDOWS + _VECTORS * (number * BLOCK + n + 1) / len(places))
            if done is None and len(block) == BLOCK:
                checkpoints.save(name, _packed([vectors[at] for at in block]))
        return vectors, heard

    def _listened(self, audio: Audio, pieces: Iterable[Piece]) -> Iterator[NDArray[np.float32]]:
        """What each sounds like."""
        return self._each(lambda piece: self._networks.voice(audio.read(*piece.samples)), pieces)


def _voices(speech: Speech, vectors: Vectors, heard: NDArray[np.bool_], samples: int, bounds: SpeakerBounds) -> Vectors:
    seconds = np.array([piece.seconds for piece in speech.pieces])
    return voices_of(vectors[heard], seconds[heard], samples / SAMPLE_RATE, bounds)


def _name_of(pieces: Iterable[Piece]) -> str:
    """Another decoder may have decoded a little more: then these are others."""
    spans = ",".join(f"{piece.start}-{piece.end}" for piece in pieces)
    return hashlib.sha256(spans.encode()).hexdigest()[:16]


def _packed(block: Sequence[NDArray[np.generic]]) -> bytes:
    data = io.BytesIO()
    np.savez_compressed(data, block=np.stack(block))
    return data.getvalue()


def _unpacked(data: bytes | None) -> NDArray[Any] | None:
    """None for what was torn, too."""
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            block: NDArray[Any] = found["block"]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    return block if len(block) == BLOCK else None


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
