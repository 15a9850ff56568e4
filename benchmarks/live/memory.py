"""Memory of the live process over a day of audio, played as fast as it is taken (L6)."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from benchmarks.harness import Bench, Pcm
from benchmarks.live import speech
from benchmarks.live.client import play
from benchmarks.live.service import MOST, live_process, live_service
from benchmarks.meter import pss
from benchmarks.plot import Plot
from benchmarks.report import Figure
from core.live.events import Event, Final

LONG = 2
"""Streams that go on all the time; beside them, one short stream after another."""

SHORT_SECONDS = 300.0
SAVED_EACH = 6
"""Every so many-th of the short ones is saved, and becomes a job."""


@dataclass
class _Meter:
    """hour: seconds of audio between two samples of memory; samples: MiB, after each; enough: once `total` is heard"""

    pid: int
    hour: float
    total: float
    heard: float = 0.0
    samples: list[float] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def of_stream(self) -> _Counted:
        return _Counted(self)

    def add(self, seconds: float) -> None:
        self.heard += seconds
        if self.heard >= (len(self.samples) + 1) * self.hour:
            self.samples.append(pss([self.pid]))
        if self.heard >= self.total:
            self.enough.set()


@dataclass
class _Counted:
    """Up to where a stream is final."""

    meter: _Meter
    end: float = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Final):
            self.meter.add(event.end - self.end)
            self.end = event.end


def run(bench: Bench) -> None:
    """On the demo model, for the live process has none: text comes from the engine, and its own memory is what is asked for."""
    total = bench.seconds(smoke=9, bench=4 * 3600, full=24 * 3600)
    hour = min(3600.0, total / 3)
    pcm = speech.made(9 if bench.smoke else 600).pcm
    with live_service(bench, demo=True, MAX_LIVE_STREAMS=str(MOST)) as live:
        meter = _Meter(live_process(live.service), hour, total)
        first = pss([meter.pid])
        bench.say(f"{total / 3600:.2g} h of audio")
        with bench.span() as taken:
            asyncio.run(_play(live.url, pcm, meter))
        if live_process(live.service) != meter.pid:
            raise RuntimeError("the live process died on the way")
    samples = meter.samples
    bench.result.figures += [
        Figure(
            name="growth after the first hour",
            value=samples[-1] - samples[0],
            unit="MiB",
            goal="L6",
            at_most=5.0,
            judged=total >= 24 * 3600,
        ),
        Figure(name="the most after the first hour, less it", value=max(samples) - samples[0], unit="MiB"),
        Figure(name="before the streams", value=first, unit="MiB"),
        Figure(name="after the first hour", value=samples[0], unit="MiB"),
        Figure(name="hours of audio", value=meter.heard / 3600, unit="h"),
        Figure(name="audio ÷ wall", value=meter.heard / taken.wall),
    ]
    bench.result.details |= {"hour": hour, "samples": [round(value, 2) for value in samples]}
    hours = [(hour / 3600 * n, value) for n, value in enumerate([first, *samples])]
    bench.result.plots.append(
        Plot(
            name="hours",
            title="Memory of the live process",
            x="hours of audio",
            y="MiB",
            series={f"{LONG} long streams, and short ones": hours},
        )
    )


async def _play(url: str, pcm: Pcm, meter: _Meter) -> None:
    """Until so much audio of all streams together is final."""

    async def long() -> None:
        while True:
            await play(url, pcm, speed=None, seconds=meter.total, tell=meter.of_stream())

    async def short() -> None:
        for number in itertools.count():
            saved = number % SAVED_EACH == SAVED_EACH - 1
            await play(
                url, pcm, speed=None, seconds=min(SHORT_SECONDS, meter.total / 6), tell=meter.of_stream(), save=saved
            )

    tasks = [asyncio.create_task(part) for part in (*(long() for _ in range(LONG)), short(), meter.enough.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, Exception):
            raise found
