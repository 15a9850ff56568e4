"""What overlap and pool are worth (L4): end of speech to text under load, against one thing after another; and translation."""

from __future__ import annotations

import asyncio
import statistics
import time

import numpy as np

from benchmarks.harness import Bench, Pcm
from benchmarks.joined import without_pauses
from benchmarks.live import speech
from benchmarks.live.client import Played, play
from benchmarks.live.load import play_all
from benchmarks.live.serial import play_in_turn
from benchmarks.live.service import MOST, Live, cpu, live_service, pace, percentile
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE
from core.live.events import Final, SpeechEnd, Translation

STREAMS = 4
"""With partials: L3's goal."""

SHARE = 0.3
"""A translation's time, of the recogniser's."""

UTTERANCES = 3
UTTERANCE_SECONDS = 10.0
TAKES = 5
"""Of the three utterances, by turns; medians."""


def run(bench: Bench) -> None:
    seconds = bench.seconds(smoke=4, bench=120, full=600)
    talks = [speech.talk(bench, seconds, seed=1 + n) for n in range(2 if bench.smoke else STREAMS)]
    with live_service(bench, MAX_LIVE_STREAMS=str(MOST), MAX_PARALLEL_WORKERS="2") as live:
        _utterances(bench, live)
        bench.say(f"{len(talks)} streams for {talks[0].seconds:.0f} s")
        before = cpu(live.service)
        with bench.span() as taken:
            load = asyncio.run(play_all(live.url, talks, speed=pace(bench)))
        factor = (cpu(live.service) - before) / taken.wall / bench.cores
    bench.say("the same, one thing after another")
    library = bench.libraries()[0].directory
    model = None if bench.smoke else speech.model(bench)
    with bench.span():
        threads = 1 if bench.smoke else bench.cores
        serial = play_in_turn(
            bench.folder / "serial", talks, model=model, library=library, speed=pace(bench), threads=threads
        )
    ours, theirs = load.late, [late for stream in serial for _, late in stream]
    judged = not bench.smoke and bench.cores == 2
    bench.result.figures += [
        Figure(
            name="end of speech to text ÷ one after another",
            value=percentile(ours, 50) / (percentile(theirs, 50) or 1.0),
            goal="L4",
            at_most=0.6,
            judged=judged,
        ),
        Figure(name="the same, p95 ÷ p95", value=percentile(ours, 95) / (percentile(theirs, 95) or 1.0)),
        Figure(name="end of speech to text, median", value=percentile(ours, 50), unit="s"),
        Figure(name="end of speech to text, one after another, median", value=percentile(theirs, 50), unit="s"),
        Figure(name="real-time factor: cores taken ÷ cores", value=factor, goal="L4", at_most=0.8, judged=judged),
    ]
    bench.result.details |= {
        "load": load.to_dict(),
        "one after another": {f"p{n}": round(percentile(theirs, n), 3) for n in (5, 50, 95, 100)} | {"n": len(theirs)},
    }


def _utterances(bench: Bench, live: Live) -> None:
    """Each with its translation, all at once against one after the other; said at once, so that nobody waits for a speaker."""
    said = [_utterance(bench, n) for n in range(1 if bench.smoke else UTTERANCES)]
    if not bench.smoke:
        took = [_recognised(asyncio.run(play(live.url, pcm, speed=None, partials=False))) for pcm in said]
        live.translator.seconds = SHARE * statistics.median(took)
        bench.result.details["utterances"] = {"recognised": took, "translated": live.translator.seconds}

    async def one(pcm: Pcm) -> None:
        played = await play(live.url, pcm, speed=None, partials=False, translate_to="de")
        if not any(isinstance(event, Translation) and event.text for _, event in played.events):
            raise RuntimeError(f"an utterance was not translated: {[event.type for _, event in played.events]}")

    async def at_once() -> float:
        began = time.monotonic()
        await asyncio.gather(*map(one, said))
        return time.monotonic() - began

    async def in_turn() -> float:
        began = time.monotonic()
        for pcm in said:
            await one(pcm)
        return time.monotonic() - began

    ratios = []
    for _ in range(1 if bench.smoke else TAKES):
        with bench.span():
            apart = asyncio.run(in_turn())
            together = asyncio.run(at_once())
        ratios.append(together / apart)
    bench.result.details.setdefault("utterances", {})["at once ÷ in turn"] = [round(ratio, 3) for ratio in ratios]
    bench.result.figures.append(
        Figure(
            name="three utterances with translation, at once ÷ in turn",
            value=statistics.median(ratios),
            goal="L4",
            at_most=0.57,
            judged=not bench.smoke and bench.cores == 2,
        )
    )


def _utterance(bench: Bench, number: int) -> Pcm:
    """Speech without any pause, then enough silence."""
    if bench.smoke:
        return speech.made(3.0, seed=1 + number).pcm
    clips = sorted(speech.real_clips(), key=lambda clip: abs(len(clip.samples()) / SAMPLE_RATE - UTTERANCE_SECONDS))
    return np.concatenate([without_pauses(clips[number].samples()), np.zeros(SAMPLE_RATE, np.int16)])


def _recognised(played: Played) -> float:
    """Seconds from the end of an utterance to its final, where both come at once but for the engine."""
    ended = next(at for at, event in played.events if isinstance(event, SpeechEnd))
    return next(at for at, event in played.events if isinstance(event, Final)) - ended
