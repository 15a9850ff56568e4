"""When somebody speaks, whoever found that out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_SLACK = 0.05
"""Seconds that a turn may end behind the recording: frames do not end where samples do."""
_MOST = 200_000
"""Turns of one recording that are looked at: 10 h of nothing but quick exchanges have half as many."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One voice speaks from `start` to `end`, in seconds of the recording. voice: a number from 0, without meaning

    channel: where it is heard, if each was listened to by itself
    """

    start: float
    end: float
    voice: int
    channel: int | None = None


def usable(turns: Iterable[Turn], duration: float) -> list[Turn]:
    """Those that make sense in a recording of so many seconds, in order."""
    found = [
        turn
        for turn in turns
        if math.isfinite(turn.start) and math.isfinite(turn.end) and 0 <= turn.start < turn.end <= duration + _SLACK
    ]
    return sorted(found, key=lambda turn: (turn.start, turn.end, turn.voice))[:_MOST]
