"""What tells who speaks when, whatever does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from core.audio.samples import Pcm
from core.transcript.speakers.turns import Turn
from whisper.speakers.voices import SpeakerBounds, Vectors
from whisper.types import Call

DIMENSIONS = 192
"""Of a voice."""


class Audio(Protocol):
    """A recording that may still grow."""

    def length(self, at_least: int) -> int:
        """Waits until there are so many samples or the end is known: how many there are."""
        ...

    def read(self, start: int, end: int) -> Pcm:
        """Samples that are there."""
        ...


class Checkpoints(Protocol):
    """What has been found out about a recording so far, by name, for whoever goes on after a crash.

    Of the same recording and the same version of the diarizer: what is there is taken as it is.
    """

    def load(self, name: str) -> bytes | None:
        """None: never stored, or gone."""
        ...

    def save(self, name: str, data: bytes) -> None: ...


class _NoCheckpoints:
    def load(self, name: str) -> bytes | None:
        return None

    def save(self, name: str, data: bytes) -> None:
        """Nothing is kept."""


NO_CHECKPOINTS: Checkpoints = _NoCheckpoints()
"""Whoever goes on begins again."""


class WholeAudio:
    """One that is there."""

    def __init__(self, pcm: Pcm) -> None:
        self._pcm = pcm

    def length(self, at_least: int) -> int:
        return len(self._pcm)

    def read(self, start: int, end: int) -> Pcm:
        return self._pcm[start:end]


@dataclass(frozen=True, kw_only=True)
class Diarization:
    """turns: in order, those of different voices may overlap; voices: what each sounds like, shape (voices, 192)

    embedding: what made these vectors, which can be compared with others of the same; empty: with none
    """

    turns: tuple[Turn, ...]
    voices: Vectors
    embedding: str = ""


class Diarizer(Protocol):
    """Safe to call from many threads and from forked job processes.

    version: raised when the same samples give other turns than before
    """

    version: str

    def diarize(
        self,
        audio: Audio,
        bounds: SpeakerBounds,
        call: Call,
        *,
        quiet: Callable[[], bool],
        tell: Callable[[float], object] = lambda _: None,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> Diarization:
        """Reads along while the recording grows; ends within a second once `call.cancel` is set.

        quiet: whether just now only cores may be used that nobody else wants
        tell: told the share that is done of what is there of the recording, 0 to 1
        checkpoints: finished parts are stored there and never computed again

        Raises what engines raise (`whisper.types.Engine`), and what `audio` raises.
        """
        ...
