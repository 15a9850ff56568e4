"""Several streams at once at the speed of speech, and whether the service keeps up with them."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.live.client import Played, play
from benchmarks.live.service import percentile
from benchmarks.live.speech import Talk
from core.errors import ServiceError
from parascribe.client.errors import ApiError, ServiceUnreachable

LATER = 0.5
"""Seconds by which finals may come later in the last third of the time than in the first, and half of what they took there:
what comes at the same moment by chance differs by so much."""

MORE = 0.5
"""Finals of a stream that may wait more, likewise."""

REST = 5.0
"""Seconds after the last sample in which a stream that keeps up has ended."""


@dataclass(kw_only=True)
class Load:
    """played: the streams that came to their end; failed: why others did not"""

    played: list[Played]
    failed: list[str]

    @property
    def shown(self) -> list[float]:
        return [late for played in self.played for late in played.shown()]

    @property
    def late(self) -> list[float]:
        """Of finals, from where the service places the end of speech."""
        return [late for played in self.played for _, late in played.late()]

    def late_after(self, talks: Sequence[Talk]) -> list[float]:
        """From the true ends of speech."""
        return [late for played, talk in zip(self.played, talks, strict=True) for late in played.late_after(talk.ends)]

    def broken(self) -> str:
        """Why the service has not kept up; "" where it has."""
        if self.failed:
            return f"{len(self.failed)} of {len(self.failed) + len(self.played)} streams failed: {self.failed[0]}"
        rest = max(played.rest for played in self.played)
        first, last = (self._late(third) for third in (0, 2))
        waiting = [self._waiting(third) for third in (0, 2)]
        if rest > REST:
            return f"the end came {rest:.1f} s after the last sample"
        if last > 1.5 * first + LATER:
            return f"finals came {first:.2f} s after the end of speech at first, {last:.2f} s at last"
        if waiting[1] > waiting[0] + MORE:
            return f"{waiting[0]:.2f} finals of a stream waited at first, {waiting[1]:.2f} at last"
        return ""

    def _late(self, third: int) -> float:
        """Median lateness of finals in the first, second or last third."""
        found = [
            late for played in self.played for t, late in played.late() if int(3 * t / (played.seconds + 1)) == third
        ]
        return statistics.median(found) if found else 0.0

    def _waiting(self, third: int) -> float:
        """Mean number of finals that wait, in a stream."""
        found = [
            stats.queues.get("finals", 0)
            for played in self.played
            for stats in played.stats
            if int(3 * stats.received / (played.seconds + 1)) == third
        ]
        return statistics.mean(found) if found else 0.0

    def to_dict(self) -> dict[str, object]:
        return {
            "broken": self.broken(),
            "late": [round(self._late(third), 3) for third in range(3)],
            "waiting": [round(self._waiting(third), 3) for third in range(3)],
            "rest": round(max((played.rest for played in self.played), default=0.0), 2),
            "shown p95": round(percentile(self.shown, 95), 3),
            "late p50, p95": [round(percentile(self.late, n), 3) for n in (50, 95)],
            "finals": len(self.late),
        }


async def play_all(url: str, talks: Sequence[Talk], **options: object) -> Load:
    """All at once; they begin within a second of each other, since nobody waits for a beat."""
    rng = random.Random(len(talks))

    async def one(talk: Talk, pause: float) -> Played:
        await asyncio.sleep(pause)
        return await play(url, talk.pcm, **options)  # type: ignore[arg-type]

    streams = (one(talk, rng.random()) for talk in talks)
    found = await asyncio.gather(*streams, return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException) and not isinstance(error, ServiceError | ApiError | ServiceUnreachable):
            raise error
    return Load(
        played=[one for one in found if isinstance(one, Played)],
        failed=[str(one) for one in found if isinstance(one, BaseException)],
    )
