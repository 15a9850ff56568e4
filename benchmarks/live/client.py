"""A client that speaks: audio as fast as somebody says it, or as fast as it is taken; and when what was told of it."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import Pcm
from core.audio.samples import SAMPLE_RATE
from core.live.events import Event, Final, Partial, SpeechEnd, SpeechStart, Stats
from parascribe.client.client import AsyncClient
from parascribe.client.live import LiveStream

BLOCK = SAMPLE_RATE // 10
"""Samples of a message at the speed of speech."""

SHOWN_EVERY = 0.02
"""Seconds between the samples that are looked for in partials."""


@dataclass(kw_only=True)
class Played:
    """One stream. Clock times are monotonic seconds.

    began: when its first sample was spoken; ended: when its end was told
    sent: how many samples had been sent, and when
    """

    began: float = 0.0
    ended: float = 0.0
    sent: list[tuple[int, float]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    session: str = ""
    job: str | None = None

    @property
    def seconds(self) -> float:
        """Of audio."""
        return self.sent[-1][0] / SAMPLE_RATE if self.sent else 0.0

    @property
    def rest(self) -> float:
        """From the last sample to the end."""
        return self.ended - self.sent[-1][1] if self.sent else 0.0

    @property
    def finals(self) -> list[Final]:
        return [event for _, event in self.events if isinstance(event, Final)]

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals if final.text)

    @property
    def stats(self) -> list[Stats]:
        return [event for _, event in self.events if isinstance(event, Stats)]

    def spoken(self) -> dict[int, list[float]]:
        """By utterance: where its speech begins and ends, seconds of the stream; those that have both."""
        begun = {event.utterance: event.t for _, event in self.events if isinstance(event, SpeechStart)}
        ended = {event.utterance: event.t for _, event in self.events if isinstance(event, SpeechEnd)}
        return {number: [begun[number], end] for number, end in ended.items() if number in begun}

    def shown(self) -> list[float]:
        """For a sample every 20 ms of what was spoken: seconds from when it was sent until the first partial, or the final,
        that has heard it."""
        spans, told = self.spoken(), dict[int, list[tuple[float, float]]]()
        for at, event in self.events:
            if isinstance(event, Final | Partial) and event.utterance in spans:
                to = event.end if isinstance(event, Partial) else float("inf")
                told.setdefault(event.utterance, []).append((to, at))
        found = []
        for number, heard in told.items():
            start, end = spans[number]
            for n in range(round((end - start) / SHOWN_EVERY)):
                t = start + n * SHOWN_EVERY
                sample = bisect_left(heard, t, key=lambda one: one[0])
                if sample == len(heard):  # its final has not come
                    break
                found.append(heard[sample][1] - self._sent_at(t))
        return found

    def partly(self) -> list[float]:
        """Of each partial: seconds from when the last sample that it has heard was sent."""
        told = ((at, event) for at, event in self.events if isinstance(event, Partial))
        return [at - self._sent_at(event.end) for at, event in told]

    def late(self) -> list[tuple[float, float]]:
        """Of each final: where its speech ends by the service's own word, and seconds from then until it came."""
        spans = self.spoken()
        finals = ((at, event) for at, event in self.events if isinstance(event, Final) and event.utterance in spans)
        return [((end := spans[event.utterance][1]), at - self.began - end) for at, event in finals]

    def late_after(self, ends: tuple[float, ...]) -> list[float]:
        """Seconds from each true end of speech to the final that has it: that of the last utterance which begins before."""
        spans = sorted((start, number) for number, (start, _) in self.spoken().items())
        finals = {event.utterance: at for at, event in self.events if isinstance(event, Final)}
        found = []
        for end in ends:
            number = next((number for start, number in reversed(spans) if start < end), None)
            if number in finals:
                found.append(finals[number] - self.began - end)
        return found

    def _sent_at(self, t: float) -> float:
        return self.sent[
            min(bisect_left(self.sent, round(t * SAMPLE_RATE), key=lambda one: one[0]), len(self.sent) - 1)
        ][1]


async def play(
    url: str,
    pcm: Pcm,
    *,
    speed: float | None = 1.0,
    seconds: float | None = None,
    tell: Callable[[Event], None] | None = None,
    played: Played | None = None,
    **options: Any,
) -> Played:
    """Stream it all, or so many seconds of it, over and over, and wait for the end. Raises what `AsyncClient.live` does.

    speed: times as fast as it is spoken; None: as fast as it is taken
    tell: takes the events, which are not kept then
    played: to be filled in, for who wants to know how far it got; options: of the stream
    """
    played = played or Played()
    async with AsyncClient(url) as client, client.live(**{"language": "en", "save": False} | options) as stream:
        played.session = stream.session
        speaking = asyncio.create_task(_speak(stream, pcm, played, speed, seconds))
        try:
            async for event in stream:
                if tell is None:
                    played.events.append((time.monotonic(), event))
                else:
                    tell(event)
            await speaking
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        played.ended, played.job = time.monotonic(), stream.job
    return played


async def _speak(stream: LiveStream, pcm: Pcm, played: Played, speed: float | None, seconds: float | None) -> None:
    played.began = time.monotonic()
    sent = 0
    for block in _blocks(pcm, SAMPLE_RATE if speed is None else BLOCK, seconds):
        sent += len(block)
        if speed is not None:
            await asyncio.sleep(max(0.0, played.began + sent / SAMPLE_RATE / speed - time.monotonic()))
        await stream.send(block.tobytes())
        if speed is not None:
            played.sent.append((sent, time.monotonic()))
    if speed is None:
        played.sent.append((sent, time.monotonic()))
    await stream.end()


def _blocks(pcm: Pcm, size: int, seconds: float | None) -> Iterator[Pcm]:
    left = len(pcm) if seconds is None else round(seconds * SAMPLE_RATE)
    while left > 0:
        for start in range(0, min(left, len(pcm)), size):
            yield pcm[start : min(start + size, left)]
        left -= len(pcm)
