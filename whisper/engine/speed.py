"""How fast the engine has been so far, and what a chunk may therefore be given."""

from __future__ import annotations

import os
from collections.abc import Mapping

from whisper.models.catalogue import ModelInfo
from whisper.models.sizes import SIZES, size_of
from whisper.types import TranscribeOptions

WINDOW = 30.0
"""Seconds: an encoder pass costs the same for any audio up to this long."""
SHORTEST_DEADLINE = 20.0
GENEROSITY = 10.0
"""A chunk may take this many times what is expected of it before it counts as stuck."""

_NEWEST_SHARE = 0.2


class SpeedBook:
    """Exponential averages of wall seconds per second of audio, by model, beam and task.

    Safe from many threads without a lock (which a fork could leave locked for ever): each entry is replaced in
    one step, and an update lost to another thread costs one sample of an average.
    """

    def __init__(self, rates: Mapping[str, float] | None = None) -> None:
        self._rates: dict[str, float] = {}
        self.update(rates or {})

    def update(self, rates: Mapping[str, float]) -> None:
        """Take over what was kept, by this process or another."""
        self._rates |= {str(key): float(rate) for key, rate in rates.items() if 0 < float(rate) < 1e4}

    def to_dict(self) -> dict[str, float]:
        """For keeping, as JSON."""
        return dict(self._rates)

    def observe(self, model: ModelInfo, options: TranscribeOptions, *, audio: float, wall: float) -> None:
        """Note that a chunk of `audio` seconds took `wall` seconds."""
        key, rate = _key(model, options), wall / _billed(audio)
        known = self._rates.get(key)
        self._rates[key] = rate if known is None else known + _NEWEST_SHARE * (rate - known)

    def expected(self, model: ModelInfo, options: TranscribeOptions, *, audio: float) -> float:
        """Wall seconds that a chunk of `audio` seconds will probably take."""
        rate = self._rates.get(_key(model, options))
        if rate is None:
            size = (
                size_of(model.name) if model.sha256 else SIZES["large"]
            )  # the name of somebody's own file proves nothing
            rate = size.pace * (options.beam_size or 1) ** 0.5
        return rate * _billed(audio)

    def deadline(self, model: ModelInfo, options: TranscribeOptions, *, audio: float) -> float:
        """Seconds after which the chunk counts as stuck, stretched while more wants to run than there are cores."""
        patience = max(SHORTEST_DEADLINE, GENEROSITY * self.expected(model, options, audio=audio))
        return patience * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _billed(audio: float) -> float:
    """Short audio counts as half a window, or it would make long audio look slow."""
    return max(audio, WINDOW / 2)


def _key(model: ModelInfo, options: TranscribeOptions) -> str:
    return f"{model.name} {options.beam_size or 1} {options.task}"
