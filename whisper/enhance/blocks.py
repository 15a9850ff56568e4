"""A recording in blocks that are cleaned one by one, and put together again without a seam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm

STEP = 10 * SAMPLE_RATE
"""Samples from one block to the next, from the recording's first: where they begin depends on nothing else, so that whoever
cleans a recording again cuts it at the same places."""

BEFORE = 2 * SAMPLE_RATE
"""Samples before a block that are listened to with it: what the noise is like."""

FADE = SAMPLE_RATE // 50
"""Samples over which one block passes into the next."""

AFTER = SAMPLE_RATE // 10
"""Samples behind a block that are listened to with it, the fade among them: the network looks 30 ms ahead."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Samples [start, end) of the recording, the fade included; those listened to for them are [begin, until)."""

    begin: int
    start: int
    end: int
    until: int

    def of(self, listened: Pcm) -> Pcm:
        """The block's own samples among those listened to."""
        return listened[self.start - self.begin : self.end - self.begin]


def block_at(start: int, length: int) -> Block:
    """start: a multiple of STEP below `length`; length: samples there are, at least `start + STEP + AFTER` if more may come"""
    return Block(
        begin=max(0, start - BEFORE),
        start=start,
        end=min(start + STEP + FADE, length),
        until=min(start + STEP + AFTER, length),
    )


class Joiner:
    """Takes the blocks in their order."""

    def __init__(self) -> None:
        self._tail = np.empty(0, np.int16)

    def add(self, pcm: Pcm) -> Pcm:
        """The next block's own samples -> what is settled: STEP samples, fewer of the last block alone."""
        given, fade = pcm[:STEP].copy(), len(self._tail)
        share = np.arange(1, fade + 1) / (fade + 1)
        given[:fade] = np.rint(self._tail * (1 - share) + given[:fade] * share)
        self._tail = pcm[STEP:]
        return given
