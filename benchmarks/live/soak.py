"""Streams at the speed of speech for a day, long and short, saved and not, some of whose clients just go; jobs beside them.

    python -m benchmarks soak --live                                 # 24 hours, base q8_0 on real speech
    python -m benchmarks soak --live --seconds 3600 --kills 6        # an hour with six kills
    python -m benchmarks soak --live --demo --seconds 60             # the demo model on made speech

Prints streams, audio, how late finals came, memory, and whatever was not as it has to be; 1 when there is any of that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness import Bench, CannotRun, Pcm, Scale
from benchmarks.live import speech
from benchmarks.live.client import Played, play
from benchmarks.live.kills import KINDS
from benchmarks.live.recorded import recorded
from benchmarks.live.service import MOST, percentile
from benchmarks.meter import pss
from core.audio.samples import SAMPLE_RATE
from core.live.sessions import RESUME_SECONDS
from parascribe.client.errors import ApiError, ServiceUnreachable
from testbed.service import Service

DAY = 24 * 3600.0

TALK_SECONDS = 900.0
"""Of different speech; longer streams say it again."""

STREAM_SECONDS = (20.0, 3600.0)
"""Shortest and longest stream; most are short."""

GOES, SAVED, PARTIALS = 0.1, 0.5, 0.7
"""Shares of the streams whose client just goes, that are saved, that tell partials."""

JOB_EVERY = (120.0, 600.0)
"""Seconds between two jobs."""

LATE = 10.0
"""Seconds after the end of speech in which a final has come, but for a stream that a kill has disturbed."""

GROWTH = 5.0
"""MiB by which the live process may grow after the first hour, if it was never killed: L6."""


@dataclass
class Account:
    """seconds: of audio; late: of finals, seconds; memory: MiB of the live process and of all, each time it was looked at"""

    streams: int = 0
    refused: int = 0
    left: int = 0
    jobs: int = 0
    finals: int = 0
    kills: int = 0
    seconds: float = 0.0
    late: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class LiveSoak:
    """One run of it over a service that is there."""

    def __init__(
        self, service: Service, pcm: Pcm, rng: random.Random, *, seconds: float, streams: int, kills: float
    ) -> None:
        self.account = Account()
        self._service, self._pcm, self._rng = service, pcm, rng
        self._seconds, self._streams, self._kills = seconds, streams, kills
        self._until = 0.0
        self._checks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._until = time.monotonic() + self._seconds
        parts = [self._speak(n) for n in range(self._streams)]
        aside = [asyncio.create_task(part) for part in (self._jobs(), self._look(), self._kill())]
        try:
            await asyncio.gather(*parts)
            await asyncio.gather(*self._checks)
        finally:
            for task in aside:
                task.cancel()
            found = await asyncio.gather(*aside, return_exceptions=True)
        self.account.broken += [repr(error) for error in found if isinstance(error, Exception)]

    @property
    def _left(self) -> float:
        return self._until - time.monotonic()

    # --- streams
    async def _speak(self, speaker: int) -> None:
        """One stream after another."""
        await asyncio.sleep(self._rng.random())
        while self._left > 2.0:
            shortest, longest = STREAM_SECONDS
            wanted = shortest * (longest / shortest) ** (self._rng.random() ** 2)  # the median is 70 s
            await self._stream(
                min(wanted, self._left),
                goes=self._rng.random() < GOES and wanted < self._left,
                save=self._rng.random() < SAVED,
                partials=self._rng.random() < PARTIALS,
            )

    async def _stream(self, seconds: float, *, goes: bool, save: bool, partials: bool) -> None:
        played, kills = Played(), self.account.kills
        start = self._rng.randrange(len(self._pcm))
        pcm = np.roll(self._pcm, -start)
        playing = asyncio.create_task(
            play(self._service.url, pcm, seconds=seconds, played=played, save=save, partials=partials)
        )
        try:
            await asyncio.wait_for(asyncio.shield(playing), seconds * self._rng.random() if goes else None)
        except TimeoutError:
            self.account.left += 1
        except (ApiError, ServiceUnreachable) as error:
            if played.session:
                self._broken(played, f"failed after {played.seconds:.0f} s: {error}")
            else:
                self.account.refused += 1
                await asyncio.sleep(0.5)
                if self.account.kills == kills:
                    self.account.broken.append(f"a stream was not begun: {error}")
                return
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        self._count(played, disturbed=self.account.kills > kills)
        if save and played.job is not None:
            spoken = np.resize(pcm, round(seconds * SAMPLE_RATE))
            check = asyncio.create_task(self._check(played, spoken))
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    def _count(self, played: Played, *, disturbed: bool) -> None:
        account, numbers = self.account, Counter(final.utterance for final in played.finals)
        account.streams += 1
        account.seconds += played.seconds
        account.finals += len(numbers)
        late = [late for _, late in played.late()]
        account.late += late
        if numbers and numbers.most_common(1)[0][1] > 1:
            self._broken(played, "a final came twice")
        if sorted(numbers) != list(range(len(numbers))):
            self._broken(played, f"finals are missing: {sorted(numbers)}")
        if late and max(late) > LATE and not disturbed:
            self._broken(played, f"a final came {max(late):.1f} s after the end of speech")
        account.broken += [f"{played.session}: a final has the error {one.error}" for one in played.finals if one.error]

    async def _check(self, played: Played, spoken: Pcm) -> None:
        kept = await asyncio.to_thread(partial(recorded, self._service, played.job, spoken=spoken, finals=played.text))
        if kept.lost or kept.changed or kept.error:
            self._broken(played, f"{kept.lost} samples lost, {kept.changed} words changed {kept.error}")

    def _broken(self, played: Played, what: str) -> None:
        self.account.broken.append(f"{played.session}: {what}")

    # --- beside them
    async def _jobs(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = speech.wav(Path(folder) / "talk.wav", self._pcm[: 120 * SAMPLE_RATE])
            while True:
                await asyncio.sleep(min(self._rng.uniform(*JOB_EVERY), self._seconds / 3))
                try:
                    job = await asyncio.to_thread(self._service.submit, path, language="en")
                    body = await asyncio.to_thread(self._service.wait, job["id"], seconds=600.0)
                except (
                    Exception
                ) as error:  # an API that was killed a moment ago; the job, if there is one, is the other soak's
                    if not self.account.kills:
                        self.account.broken.append(f"a job: {error!r}")
                    continue
                self.account.jobs += 1
                if body["status"] != "completed":
                    self.account.broken.append(f"job {job['id']} ended as {body['status']}: {body['error']}")

    async def _look(self) -> None:
        """Each minute."""
        every = min(60.0, self._seconds / 4)
        for number in itertools.count(1):
            await asyncio.sleep(every)
            self.account.memory.append(await asyncio.to_thread(self._memory))
            if number % 60 == 0:
                print(report(self.account), flush=True)

    def _memory(self) -> tuple[float, float]:
        live = [process.pid for process in self._service.processes(KINDS["live"])]
        return pss(live), pss(process.pid for process in self._service.family())

    async def _kill(self) -> None:
        while self._kills:
            await asyncio.sleep(self._rng.expovariate(self._kills / 3600.0))
            for process in self._service.processes(KINDS[self._rng.choice(list(KINDS))]):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.account.kills += 1

    # --- at the end
    def settle(self) -> None:
        """Nothing is left of streams whose clients have gone; the live process has not grown; nothing has failed unsaid."""
        account, folder = self.account, Path(self._service.env["DATA_DIR"]) / "objects" / "live"
        deadline = time.monotonic() + RESUME_SECONDS + 30.0  # a client may still ask what it has missed
        while (left := _pieces(folder)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if left:
            account.broken.append(f"{len(left)} pieces of sound are left behind, such as {left[0]}")
        hour = [live for live, _ in account.memory[59:]]
        if not account.kills and len(hour) > 60 and (grown := max(hour[-30:]) - hour[0]) > GROWTH:
            account.broken.append(f"the live process has grown by {grown:.1f} MiB after the first hour")
        if not account.kills:
            account.broken += re.findall(r"^.* (?:ERROR|CRITICAL) .*$", self._service.log, re.MULTILINE)[:20]


def _pieces(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file()]


def report(account: Account) -> str:
    first, last = (account.memory[n] if account.memory else (0.0, 0.0) for n in (0, -1))
    late = [percentile(account.late, n) for n in (50, 95, 100)]
    return "\n".join(
        [
            f"streams   {account.streams}, {account.left} left by their clients, {account.refused} not begun",
            f"audio     {account.seconds / 3600:.2f} h, {account.finals} finals, {account.jobs} jobs beside",
            f"kills     {account.kills}",
            f"finals    p50 {late[0]:.2f} s, p95 {late[1]:.2f} s, max {late[2]:.2f} s after the end of speech",
            f"memory    live process {first[0]:.0f} to {last[0]:.0f} MiB, all {first[1]:.0f} to {last[1]:.0f} MiB",
            f"broken    {len(account.broken)}",
            *(f"  {line}" for line in account.broken[:40]),
        ]
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks soak --live", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=DAY, help="for how long (default: 24 hours)")
    parser.add_argument("--streams", type=int, default=3, help="at once (default 3)")
    parser.add_argument("--kills", type=float, default=0.0, help="processes killed in an hour (default: none)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--demo", action="store_true", help="the demo model on made speech instead of base q8_0")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="parascribe-soak-") as folder:
        bench = Bench("soak", Scale.SMOKE if options.demo else Scale.FULL, Path(folder))
        library = bench.libraries()[0]
        try:
            talk = speech.talk(bench, min(TALK_SECONDS, max(30.0, options.seconds)), seed=options.seed)
            model = speech.model(bench)
        except CannotRun as error:
            print(f"It cannot run here: {error}")
            return 1
        print(
            f"seed {options.seed}, {options.streams} streams, libwhisper {library.kind} {library.version}", flush=True
        )
        env = {"LIVE_ENABLED": "true", "MAX_LIVE_STREAMS": str(MOST), "SWEEP_SECONDS": "1", "LEASE_SECONDS": "10"}
        with bench.service(library, model, MAX_ATTEMPTS="50", **env) as service:
            service.wait_log("Live streams are served")
            soak = LiveSoak(
                service,
                talk.pcm,
                random.Random(options.seed),
                seconds=options.seconds,
                streams=options.streams,
                kills=options.kills,
            )
            asyncio.run(soak.run())
            soak.settle()
        print(report(soak.account), flush=True)
    return 1 if soak.account.broken else 0
