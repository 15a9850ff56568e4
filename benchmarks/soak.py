"""A stream of short jobs while processes are killed and servers fail at random; then the invariants.

    python -m benchmarks.soak --seconds 120 --seed 1                # solo
    python -m benchmarks.soak --kills 1000 --cluster --consumers 3  # PostgreSQL, Valkey, MinIO, started here
    python -m benchmarks.soak --live                                # streams at the speed of speech, for a day

Most jobs are noise for the scripted engine, which writes each execution down; some are German speech for the
demo model. Prints jobs, kills, what was lost or doubled, executions against plan, and the time to recover.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import redis

from benchmarks.live import soak as live_soak
from core.errors import ServiceError
from scripts.servers import Minio, Postgres, Valkey
from testbed import audio_bank
from testbed.faults.invariants import Accepted, Figures, check_jobs, leftovers, read_calls, too_much
from testbed.faults.rig import Rig
from testbed.faults.servers import Servers

SPEECH_SHARE = 0.1
SETTLE_SECONDS = 180.0


@dataclass
class Recovery:
    """From the moment an owner was killed to the moment its job had another one, or had ended."""

    seconds: list[float] = field(default_factory=list)
    waiting: dict[str, tuple[int, float]] = field(default_factory=dict)

    def killed(self, rig: Rig, owners: set[int]) -> None:
        for job_id, owner, fence in _held(rig):
            if owner in owners:
                self.waiting.setdefault(job_id, (fence, time.monotonic()))

    def look(self, rig: Rig) -> None:
        for job_id, (fence, since) in list(self.waiting.items()):
            job = rig.store.get(job_id)
            if job.terminal or job.fence > fence:
                self.seconds.append(time.monotonic() - since)
                del self.waiting[job_id]


class Soak:
    """One run. Faults are drawn by the seed; when they strike depends on the machine."""

    def __init__(self, rig: Rig, rng: random.Random, *, backlog: int, settle: float) -> None:
        self.rig, self.rng, self.backlog, self.settle = rig, rng, backlog, settle
        self.faults, self.kills = Counter[str](), 0
        self.recovery = Recovery()
        self.terminal: dict[str, str] = {}
        self.changed: list[str] = []
        self.refused = 0
        self._speech, self._spoken = self._german()
        self._stop, self._done = threading.Event(), threading.Event()

    def _german(self) -> tuple[Path, str]:
        """Speech, and what the undisturbed service hears in it."""
        pcm, _ = audio_bank.speech(0.25, 9, "de")
        path = audio_bank.write(self.rig.folder / "talk.wav", pcm)
        job = self.rig.submit(path, language="de")
        assert self.rig.ended(job["id"], 60).status == "completed"
        return path, str(self.rig.result(job["id"]).json()["text"])

    def run(self, *, seconds: float, kills: int) -> Figures:
        feeder = threading.Thread(target=self._feed, name="feeder")
        watcher = threading.Thread(target=self._watch, name="watcher")
        feeder.start()
        watcher.start()
        began = time.monotonic()
        while time.monotonic() - began < seconds and self.kills < kills:
            time.sleep(self.rng.uniform(0.2, 1.2))
            self._strike()
        self._stop.set()
        feeder.join()
        self.rig.heal()
        deadline = time.monotonic() + self.settle
        while time.monotonic() < deadline and not all(self.rig.store.get(job.id).terminal for job in self.rig.accepted):
            time.sleep(0.2)
        self._done.set()
        watcher.join()
        big = too_much(self.rig.family())
        self.rig.stop()
        found = check_jobs(self.rig.store, self.rig.objects, self.rig.accepted, read_calls(self.rig.calls))
        found.broken += [
            *big,
            *self.changed,
            *leftovers(self.rig.store, self.rig.objects, self.rig.work, self.rig.accepted, kills=self.kills),
        ]
        return found

    # --- jobs
    def _feed(self) -> None:
        rng = random.Random(self.rng.random())
        n = 0
        while not self._stop.is_set():
            if sum(not self.terminal.get(job.id) for job in self.rig.accepted) >= self.backlog:
                time.sleep(0.1)
                continue
            n += 1
            try:
                if rng.random() < SPEECH_SHARE:
                    job = self.rig.submit(self._speech, language="de")
                    sha256 = hashlib.sha256(self._speech.read_bytes()).hexdigest()
                    self.rig.accepted.append(Accepted(id=job["id"], sha256=sha256, text=self._spoken))
                else:
                    self.rig.upload(rng.randrange(6, 24), seed=n % 5, broken_off=self.rig.servers is not None)
            except (httpx.HTTPError, AssertionError):  # not acknowledged, so nothing is owed
                self.refused += 1
                time.sleep(0.2)

    def _watch(self) -> None:
        """I2 and I6: a terminal status never changes. Also the clock of recoveries."""
        while not self._done.wait(0.05):
            with suppress(ServiceError):
                self.recovery.look(self.rig)
                for want in list(self.rig.accepted):
                    job, before = self.rig.store.get(want.id), self.terminal.get(want.id)
                    if before is not None and job.status.value != before:
                        self.changed.append(f"I2: {want.id} was {before} and is {job.status}")
                    elif job.terminal:
                        self.terminal[want.id] = job.status.value

    # --- faults
    def _strike(self) -> None:
        kinds = ["job process"] * 12 + ["consumer", "freeze", "freeze", "api", "drain"]
        kinds += ["consumer tree", "broker", "flush", "storage", "database"] if self.rig.servers else ["everything"]
        kind = self.rng.choice(kinds)
        self.faults[kind] += 1
        with suppress(psutil.Error, ProcessLookupError, StopIteration, IndexError):
            getattr(self, "_" + kind.replace(" ", "_"))()
        with suppress(ServiceError):
            self._revive()

    def _revive(self) -> None:
        for name, process in list(self.rig.processes_.items()):
            if process.poll() is not None:
                if name.startswith("consumer"):
                    self.rig.start_consumer(int(name.rpartition("-")[2]))
                else:
                    self.rig.heal()

    def _kill(self, processes: list[psutil.Process]) -> None:
        pids = {process.pid for process in processes}
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        self.kills += 1
        self.recovery.killed(self.rig, pids)

    def _job_process(self) -> None:
        owners = [owner for _, owner, _ in _held(self.rig)]
        self._kill([psutil.Process(self.rng.choice(owners))])

    def _consumer(self) -> None:
        main = self.rng.choice(self.rig.processes("testbed.faults.consumer_main"))
        self._kill([main, *main.children(recursive=True)])

    def _consumer_tree(self) -> None:
        name = self.rng.choice([name for name in self.rig.processes_ if name.startswith("consumer")])
        process = psutil.Process(self.rig.processes_[name].pid)
        self._kill([process, *process.children(recursive=True)])
        self.rig.processes_[name].wait(10)

    def _drain(self) -> None:
        if self.rig.servers is not None:
            self.rng.choice([p for name, p in self.rig.processes_.items() if name.startswith("consumer")]).terminate()
        else:
            self.rng.choice(self.rig.processes("testbed.faults.consumer_main")).terminate()

    def _api(self) -> None:
        if self.rig.servers is None:
            self._kill(self.rig.processes("testbed.faults.api_main")[:1])
        else:
            self.kills += 1
            self.rig.kill_tree("api")
            self.rig.start_api(wait=False)
            self.rig.ready()

    def _everything(self) -> None:
        self._kill(self.rig.family())
        self.rig.kill_all()
        self.rig.start()

    def _freeze(self) -> None:
        process = psutil.Process(self.rng.choice([owner for _, owner, _ in _held(self.rig)]))
        with suppress(AssertionError):
            self.rig.freeze(process)
            time.sleep(self.rng.uniform(0.5, 5.0))
        process.resume()

    def _broker(self) -> None:
        assert self.rig.servers is not None
        if self.rng.random() < 0.5:
            self.rig.servers.valkey.kill()
            time.sleep(self.rng.random())
            self.rig.servers.valkey.start()
        else:
            self._proxy(self.rig.servers.broker)

    def _flush(self) -> None:
        assert self.rig.servers is not None
        with redis.Redis.from_url(self.rig.servers.valkey.url, socket_timeout=5) as client:
            client.flushall()

    def _storage(self) -> None:
        assert self.rig.servers is not None
        self._proxy(self.rig.servers.storage)

    def _database(self) -> None:
        assert self.rig.servers is not None
        self._proxy(self.rig.servers.database)

    def _proxy(self, proxy: object) -> None:
        getattr(proxy, "set")(self.rng.choice(["reset", "blackhole", "half-close"]))  # noqa: B009
        time.sleep(self.rng.uniform(0.2, 2.0))
        getattr(proxy, "set")("reset")  # noqa: B009  (what is half-open ends; row 13 shows that it may also stay)
        getattr(proxy, "set")("pass")  # noqa: B009


def _held(rig: Rig) -> list[tuple[str, int, int]]:
    """(job, pid of its owner, fence) of all running jobs."""
    with rig.store.database.read() as connection:
        rows = connection.exec_driver_sql("select id, lease_owner, fence from job where lease_owner is not null").all()
    return [(row[0], int(row[1].rpartition("/")[2].partition(":")[0]), row[2]) for row in rows]


def report(soak: Soak, found: Figures, seconds: float) -> str:
    times = sorted(soak.recovery.seconds)
    lost = [line for line in found.broken if line.startswith("I1: not ended")]
    doubled = [line for line in found.broken if line.startswith("I4")]
    spread = "none"
    if times:
        p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
        spread = (
            f"p50 {statistics.median(times):.2f} s, p95 {p95:.2f} s, max {times[-1]:.2f} s ({len(times)} recoveries)"
        )
    return "\n".join(
        [
            f"jobs      {found.jobs} accepted in {seconds:.0f} s, {soak.refused} refused during faults",
            f"kills     {soak.kills} ({', '.join(f'{kind} {n}' for kind, n in soak.faults.most_common())})",
            f"lost      {len(lost)}",
            f"doubled   {len(doubled)}",
            f"chunks    executed {found.executed} / planned {found.planned} / in flight at a crash {found.in_flight}",
            f"attempts  {found.attempts}",
            f"recovery  {spread}",
            f"broken    {len(found.broken)} invariants",
            *(f"  {line}" for line in found.broken[:40]),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--live" in given:
        given.remove("--live")
        return live_soak.main(given)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default 60)")
    parser.add_argument("--kills", type=int, default=10**9, help="or until so many kills")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--cluster", action="store_true", help="PostgreSQL, Valkey and MinIO instead of solo")
    parser.add_argument(
        "--consumers", type=int, default=2, help="consumers of the cluster; job slots of solo (default 2)"
    )
    parser.add_argument("--keep", type=Path, help="folder for data and logs that stays")
    options = parser.parse_args(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.kills < 10**9 and options.seconds == 60.0:
        options.seconds = 24 * 3600.0
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parascribe-soak-")))
        servers = None
        if options.cluster:
            postgres, minio = stack.enter_context(Postgres(durable=False)), stack.enter_context(Minio())
            servers = Servers(database_url=postgres.create_database(), minio=minio, valkey=Valkey().start())
        rig = Rig(
            folder,
            servers,
            consumers=options.consumers,
            script={"delay": 0.05, "mixed": True},
            WHISPER_EXECUTABLE="",
            MAX_CONCURRENT_JOBS="1" if options.cluster else str(options.consumers),
            MAX_ATTEMPTS="50",
            WHISPER_THREADS="1",
            LOG_LEVEL="WARNING,parascribe=INFO,api=WARNING",
        )
        stack.callback(rig.close)
        rig.start()
        soak = Soak(rig, random.Random(options.seed), backlog=3 * options.consumers, settle=SETTLE_SECONDS)
        began = time.monotonic()
        print(
            f"seed {options.seed}, {'cluster' if options.cluster else 'solo'}, {options.consumers} consumers or slots",
            flush=True,
        )
        found = soak.run(seconds=options.seconds, kills=options.kills)
        print(report(soak, found, time.monotonic() - began), flush=True)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
