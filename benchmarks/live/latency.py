"""One stream at the speed of speech: how late its partials are (L1), and its finals (L2)."""

from __future__ import annotations

import asyncio

from benchmarks.harness import Bench, CannotRun
from benchmarks.live import speech
from benchmarks.live.client import Played, play
from benchmarks.live.service import live_service, pace, percentile, room
from benchmarks.report import Figure

STEP = 1.0
"""Seconds of new audio after which a partial is asked for: they are no delay of ours."""

MOST = 0.5
"""L1's goal."""


def run(bench: Bench) -> None:
    """Every round is other speech."""
    seconds = bench.seconds(smoke=5, bench=120, full=600)
    heard: list[tuple[Played, speech.Talk]] = []
    with live_service(bench) as live:
        for number in range(bench.rounds):
            talk = speech.talk(bench, seconds, seed=1 + number)
            bench.say(f"{talk.seconds:.0f} s of speech ({number + 1}/{bench.rounds})")
            with bench.span():
                heard.append((asyncio.run(play(live.url, talk.pcm, speed=pace(bench))), talk))
        there_is_room = room(live.service)
    shown = [late for played, _ in heard for late in played.shown()]
    partly = [late for played, _ in heard for late in played.partly()]
    finals = [late for played, talk in heard for late in played.late_after(talk.ends)]
    if not shown or not finals:
        raise CannotRun("nothing was heard")
    judged = not bench.smoke
    bench.result.figures += [
        partials_figure("sample to partial, p95, beyond the step", shown, goal="L1", judged=judged),
        Figure(name="sample to partial, median", value=percentile(shown, 50), unit="s"),
        Figure(name="last sample that a partial has heard to that, p95", value=percentile(partly, 95), unit="s"),
        *(
            Figure(
                name=f"end of speech to final, p{percent}",
                value=percentile(finals, percent),
                unit="s",
                goal="L2",
                at_most=at_most,
                judged=judged,
            )
            for percent, at_most in ((50, 0.7), (95, 1.2))
        ),
        Figure(name="ends of speech that were looked at", value=len(finals)),
    ]
    if there_is_room is not None:
        bench.result.figures.append(Figure(name="streams that would be let in", value=there_is_room))
    own = [late for played, _ in heard for _, late in played.late()]
    bench.result.details |= {
        "shown": {f"p{n}": round(percentile(shown, n), 3) for n in (5, 25, 50, 75, 95, 99, 100)},
        "finals": {f"p{n}": round(percentile(finals, n), 3) for n in (5, 25, 50, 75, 95, 99, 100)},
        "finals, from the detector's end": {f"p{n}": round(percentile(own, n), 3) for n in (50, 95)},
    }


def partials_figure(name: str, shown: list[float], *, goal: str, judged: bool, most: float = MOST) -> Figure:
    """p95 of `Played.shown` less the step's own second."""
    return Figure(name=name, value=percentile(shown, 95) - STEP, unit="s", goal=goal, at_most=most, judged=judged)
