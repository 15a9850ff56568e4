"""Streams while processes of each kind, and whole services, are killed at random (L8): what is lost, what comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import psutil

from benchmarks.harness import Bench
from benchmarks.live import speech
from benchmarks.live.client import Played, play
from benchmarks.live.recorded import recorded
from benchmarks.live.service import MOST, live_service, percentile
from benchmarks.report import Figure
from benchmarks.words import errors
from core.live.events import Event, Final
from parascribe.client.errors import ApiError, ServiceUnreachable
from testbed.service import Service

QUICK = {"LEASE_SECONDS": "6", "SWEEP_SECONDS": "1", "MAX_ATTEMPTS": "100"}
"""So that jobs whose consumer was killed go on soon, and however often."""

KINDS = {
    "live": "live_main",
    "api": "api_main",
    "consumer": "consumer_main",
    "engine manager": "whisper manager",
    "engine host": "whisper host",
    "engine worker": "whisper worker",
}
"""What is killed, and what its command line or title has."""

IN_A_ROW = 3
"""Kills of one kind before the whole service is: whoever dies often is started later and later, until it has run for a minute."""

STREAMS = 3
SPEED = 2.0
"""Times as fast as it is spoken."""

PATIENCE = 40.0
"""Seconds in which a stream goes on after a kill, or is given up."""

AGAIN = 0.05
"""Seconds of which two finals may both be, where the service rounds."""


@dataclass
class Account:
    """What became of all streams. broken: the first few, in words"""

    streams: int = 0
    failed: int = 0
    seconds: float = 0.0
    samples_lost: int = 0
    finals: int = 0
    finals_twice: int = 0
    finals_missing: int = 0
    words: int = 0
    words_lost: int = 0
    words_other: int = 0
    words_changed: int = 0
    broken: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        if len(self.broken) < 20:
            self.broken.append(what)


def run(bench: Bench) -> None:
    """On the demo model and made speech; a text is compared with that of the same stream which nobody disturbs."""
    count = bench.pick(smoke=2, bench=40, full=200)
    talks = [speech.made(bench.pick(smoke=5, bench=30, full=30), seed=n) for n in range(2 if bench.smoke else 8)]
    with live_service(bench, demo=True, MAX_LIVE_STREAMS=str(MOST), **QUICK) as live:
        live.service.env["API_PORT"] = live.url.rpartition(":")[2]  # where it is found again
        killing = Killing(bench, live.service, talks, count, random.Random(1))
        began = time.monotonic()
        asyncio.run(killing.run())
        took = time.monotonic() - began
    found, judged = killing.account, not bench.smoke and count >= 200
    for name, value in (
        ("samples lost", found.samples_lost),
        ("finals twice", found.finals_twice),
        ("finals missing", found.finals_missing),
        ("words lost", found.words_lost),
        ("words that the jobs have otherwise", found.words_changed),
        ("streams that failed", found.failed),
    ):
        bench.result.figures.append(Figure(name=name, value=value, goal="L8", at_most=0, judged=judged))
    bench.result.figures += [
        Figure(name="kills", value=killing.killed.total()),
        Figure(name="streams", value=found.streams),
        Figure(name="finals", value=found.finals),
        Figure(name="words heard otherwise", value=found.words_other),
        Figure(name="kill to the next final of every stream, p95", value=percentile(killing.pauses, 95), unit="s"),
        Figure(name="audio ÷ wall", value=found.seconds / took),
    ]
    bench.result.details |= {
        "kills": dict(killing.killed),
        "words": found.words,
        "broken": found.broken,
        "pauses": [round(pause, 2) for pause in killing.pauses],
    }


class Killing:
    """One run. What is killed is drawn; when it strikes depends on the machine."""

    def __init__(
        self, bench: Bench, service: Service, talks: list[speech.Talk], count: int, rng: random.Random
    ) -> None:
        self.account, self.killed, self.pauses = Account(), Counter[str](), list[float]()
        self._bench, self._service, self._talks, self._count, self._rng = bench, service, talks, count, rng
        self._url = ""
        self._since = Counter[str]()
        self._calm: list[str] = []
        self._heard: dict[int, int] = {}  # finals of each speaker
        self._played: list[tuple[Played, int]] = []

    async def run(self) -> None:
        self._url = self._service.url
        for talk in self._talks:
            self._calm.append((await play(self._url, talk.pcm, speed=None, partials=False)).text)
        stop = asyncio.Event()
        speakers = [asyncio.create_task(self._speak(n, stop)) for n in range(STREAMS)]
        try:
            while self.killed.total() < self._count:
                await asyncio.sleep(self._rng.uniform(0.1, 1.5))
                await self._strike()
        finally:
            stop.set()
            await asyncio.gather(*speakers)
        for played, which in self._played:
            await asyncio.to_thread(self._check, played, which)

    async def _speak(self, speaker: int, stop: asyncio.Event) -> None:
        """One stream after another."""
        for number in itertools.count(speaker):
            if stop.is_set():
                break
            which, played = number % len(self._talks), Played()
            tell = partial(self._told, played, speaker)
            try:
                await play(self._url, self._talks[which].pcm, speed=SPEED, tell=tell, played=played, save=True)
            except (ApiError, ServiceUnreachable) as error:
                if played.session:
                    self.account.failed += 1
                    self.account.note(f"{played.session} failed: {error}")
                await asyncio.sleep(0.5)  # nothing is owed to a stream that was never begun
            else:
                self._played.append((played, which))
            self.account.streams += bool(played.session)

    def _told(self, played: Played, speaker: int, event: Event) -> None:
        played.events.append((time.monotonic(), event))
        if isinstance(event, Final):
            self._heard[speaker] = self._heard.get(speaker, 0) + 1

    # --- what is killed
    async def _strike(self) -> None:
        kind = self._rng.choice(list(KINDS))
        if self._since[kind] >= IN_A_ROW:
            kind = "service"
        before, began = dict(self._heard), time.monotonic()
        if kind == "service":
            await asyncio.to_thread(self._restart)
            self._since.clear()
        elif not await asyncio.to_thread(self._kill, KINDS[kind]):
            return  # it is not there again
        self._since[kind] += 1
        self.killed[kind] += 1
        while time.monotonic() - began < PATIENCE:  # so that all get on, however often they are disturbed
            if all(self._heard.get(n, 0) > before.get(n, 0) for n in range(STREAMS)):
                self.pauses.append(time.monotonic() - began)
                break
            await asyncio.sleep(0.05)
        else:
            self.account.note(f"a stream did not go on within {PATIENCE:.0f} s of a kill of {kind}")
        if self.killed.total() % 10 == 0:
            self._bench.say(f"{self.killed.total()} of {self._count} kills")

    def _kill(self, title: str) -> bool:
        there = self._service.processes(title)
        for process in there:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return bool(there)

    def _restart(self) -> None:
        """A power cut for all of its processes."""
        assert self._service.process is not None
        while family := self._service.family():
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self._service.process.wait(10)
        self._service.start()

    # --- what has become of a stream
    def _check(self, played: Played, which: int) -> None:
        account, finals = self.account, played.finals
        account.seconds += self._talks[which].seconds
        account.finals += len(finals)
        numbers = Counter(final.utterance for final in finals)
        overlaps = [f"{b.start:.2f} < {a.end:.2f}" for a, b in pairwise(finals) if b.start < a.end - AGAIN]
        twice = sum(numbers.values()) - len(numbers) + len(overlaps)
        missing = len(set(range(max(numbers, default=-1) + 1)) - set(numbers))
        account.finals_twice += twice
        account.finals_missing += missing
        heard = errors(self._calm[which], played.text, "en")
        account.words += heard.words
        account.words_lost += heard.deletions
        account.words_other += heard.substitutions + heard.insertions
        kept = recorded(self._service, played.job, spoken=self._talks[which].pcm, finals=played.text)
        account.samples_lost += kept.lost
        account.words_changed += kept.changed
        if twice or missing or kept.lost or kept.changed or heard.deletions:
            account.note(
                f"{played.session}: {twice} finals twice ({', '.join(overlaps)}), {missing} missing, {kept.lost} samples lost {kept.error}, "
                f"{heard.deletions} words lost: {self._calm[which]!r} was heard as {played.text!r}, and its job has {kept.text!r}"
            )
