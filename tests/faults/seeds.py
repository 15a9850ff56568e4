"""Many single faults, cheaply: each job is run by a process that dies, stops, freezes or is let down once.

    python -m tests.faults.seeds --seeds 0-199

Forked where it may die or is stopped; who finishes the job, or only sees others fail, is this process.
No supervisor and no servers, but the real flow, SQLite on disk, a folder of objects, real ffmpeg, real
signals. Everything a seed does follows from its number (how far a process gets before a signal does not).
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import AlreadyTerminal, StorageUnavailable
from core.jobs.job import JobStatus
from core.jobs.tasks import TRANSCRIBE, TaskState
from core.jobs.workfolders import remove_dead
from core.objects.local import LocalObjects
from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.store.database import open_database
from core.store.sql import SqlStore
from core.system import crashpoints, identity
from core.system.clock import ManualClock
from testbed.faults import made
from testbed.faults.invariants import Accepted, Figures, check_jobs, leftovers, read_calls
from testbed.faults.waiting import wait_for, writable
from tests.faults.stages import Fingerprint, Shout
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from worker.context.lease_keeper import cancel_flag
from worker.run import run_job
from worker.stages.catalogue import catalogue
from worker.stop import Stop

LEASE = 30.0
ELSEWHERE = ("after_create", "after_send", "after_drop", "after_claim_delivery", "after_send_delivery")
"""Crash points that no run of a job passes."""

SECONDS = (6, 8, 11, 14, 17)
"""Two to four chunks; few lengths, since what is to be heard takes a run of its own for each."""

FAULTS = (
    *(("crash", point) for point in crashpoints.POINTS if point not in ELSEWHERE),
    ("kill", ""),
    ("stop", ""),
    ("hurry", ""),
    ("freeze", ""),
    ("many kills", ""),
    ("cancel", ""),
    ("storage", ""),
    ("worker dies", ""),
    ("engine hangs", ""),
    ("engine away", ""),
    ("poison chunk", ""),
    ("poison", ""),
    ("spoilt", ""),
)

FORKED = ("crash", "kill", "stop", "hurry", "freeze", "many kills", "cancel", "poison chunk", "poison")
AGAIN = ("many kills", "poison chunk", "poison")
"""What the process that runs the job dies of, or is told from outside: once, or each time."""


class Flaky(LocalObjects):
    """An object store out of reach at its n-th call."""

    def __init__(self, root: Path, at: int) -> None:
        super().__init__(root)
        self._left = at

    def _maybe(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise StorageUnavailable

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        self._maybe()
        return super().put(key, data, media_type=media_type)

    def open(self, key: str, *, offset: int = 0) -> BinaryIO:
        self._maybe()
        return super().open(key, offset=offset)


class Place:
    """One database, object folder and call log for all seeds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.calls = folder, folder / "work", folder / "calls"
        self.clock = ManualClock()
        database = open_database(f"sqlite:///{folder}/jobs.db", clock=self.clock)
        database.migrate()
        self.store, self.objects = SqlStore(database), LocalObjects(folder / "objects")
        self.sweeper = Sweeper(self.store, self.objects, MemoryHints(), interval=1, max_attempts=3, work=self.work)
        (self.work / "cancel").mkdir(parents=True)
        self.executed = folder / "executed"
        self.stages = catalogue(Fingerprint(self.executed), Shout(self.executed))
        self.parts = made.parts(self.store, self.objects, self.work, ScriptedEngine(), lease_seconds=LEASE)
        self.accepted: list[Accepted] = []

    def close(self) -> None:
        self.store.close()

    def warm(self) -> None:
        """Jobs in this process: its children have the statements that it has compiled, and need half of the time."""
        for language in ("en", None):
            made.submit(self.store, self.objects, made.noise(SECONDS[0]), language=language)
            assert self.run_here(self.parts) == "completed"

    def run_here(self, parts: Any) -> str | None:
        """Claim and run in this process, which outlives it; returns what has become of the run."""
        claim = self.store.claim(owner=identity.owner("seed"), consumer="seed", lease_seconds=LEASE)
        return run_job(parts, claim, Stop(), stages=self.stages) if claim is not None else None

    def run_seed(self, seed: int) -> tuple[str, Figures]:
        """One job under one fault; returns what was done to it and what the checker says."""
        rng = random.Random(seed)
        kind, point = FAULTS[seed % len(FAULTS)]
        data = made.noise(rng.choice(SECONDS), seed % 2)
        if seed // len(FAULTS) % 2:  # every other one of a kind: samples that are taken as they lie, without ffmpeg
            data = data.removesuffix(made.TAIL)
        job = made.submit(self.store, self.objects, data, language=None if rng.random() < 0.3 else "en")
        want = Accepted(id=job.id, sha256=job.source.sha256, text=made.heard(self.folder / "calm", data))
        rules: tuple[Rule, ...] = ()
        delay, tries = rng.choice((0.0, 0.005, 0.02)), 1
        match kind:
            case "hurry":  # what is in flight is handed back at once, and done again
                want = replace(want, broken_off=True)
            case "worker dies":
                rules, tries = (Rule(kind="crash", label="chunk 1/*", calls=(1,)),), 2
            case "engine hangs":
                rules, tries = (Rule(kind="hang", label="chunk 2/*", calls=(1,)),), 2
            case "engine away":  # the chunks beside it are broken off and asked again; twice if the total becomes known
                rules, tries = (Rule(kind="unavailable", label="chunk 2/*", calls=(1,)),), 3
            case "poison chunk":
                rules = (Rule(kind="kill", label="chunk 2/*"),)
                want = replace(want, text=None, ends=frozenset({"completed", "failed"}))
            case "poison":
                rules = (Rule(kind="kill"),)
                want = replace(want, text=None, ends=frozenset({"failed"}))
            case "cancel":
                want = replace(want, ends=frozenset({"completed", "cancelled"}))
            case "spoilt":
                path = self.objects.local_path(job.source.key)
                if rng.random() < 0.3:
                    path.unlink()
                else:
                    os.truncate(path, rng.randrange(10, 1000))
                want = replace(want, text=None, ends=frozenset({"failed"}), source_kept=False)
        calls = self.calls = self.folder / f"calls-{seed}"  # of its own: the script counts by label
        engine = ScriptedEngine(
            delay=delay or (0.02 if kind in ("kill", "stop", "hurry", "freeze", "many kills", "cancel") else 0),
            rules=rules,
            call_log=calls,
        )
        transcriber = WhisperTranscriber(engine, self.parts.transcriber.downloader, chunk_timeout=0.5)
        parts = replace(self.parts, transcriber=transcriber)
        first = True
        for _ in range(60):
            if self.store.get(job.id).terminal:
                break
            if kind in (FORKED if first else AGAIN):
                self.run_once(parts, rng, kind if first or kind == "many kills" else "", point, job.id)
            elif first and kind == "storage":
                self.run_here(replace(parts, objects=Flaky(self.folder / "objects", rng.randrange(1, 3))))
            else:
                self.run_here(parts)
            first = False
            if not self.store.get(job.id).terminal:
                self.sweeper.sweep_once()
        found = check_jobs(self.store, self.objects, [want], read_calls(calls), tries=tries)
        found.broken += self.check_stages(kind, job.id, data, broken_off=want.broken_off)
        if kind == "poison chunk":
            self.check_poison(job.id, found)
        kills = self.store.get(job.id).attempts if kind in ("kill", "many kills") else 0
        found.broken += leftovers(self.store, self.objects, [self.work], [want], kills=kills)
        self.accepted.append(want)
        return f"{kind} {point}".strip(), found

    def check_stages(self, kind: str, job_id: str, data: bytes, *, broken_off: bool) -> list[str]:
        """The stages of tests: complete, right, and what was finished not done again."""
        job, tasks = self.store.get(job_id), self.store.tasks(job_id)
        lines = self.executed.read_text().splitlines() if self.executed.exists() else []
        executed = Counter(tuple(line.split()[1:]) for line in lines if line.startswith(job_id))
        mine = [task for task in tasks if task.stage in ("fingerprint", "shout")]
        # one that reads a whole file is not waited for when the consumer is asked to stop, nor when the run begins again
        again = job.fence - job.attempts + (kind in ("storage", "engine away"))
        broken = [
            f"I4: {task.stage} {task.number} executed {executed[task.stage, str(task.number)]} times, crashes {task.crashes}"
            for task in mine
            if executed[task.stage, str(task.number)]
            > 1 + task.crashes + (again if broken_off or task.stage == "fingerprint" else 0)
        ]
        if job.status is not JobStatus.COMPLETED:
            return broken
        with self.objects.open(job.result_key or "") as body:
            said = [segment["text"].upper() for segment in json.load(body)["segments"]]
        shouted = [(task.output or {}).get("text") for task in mine if task.stage == "shout"]
        if shouted != said:
            broken.append(f"I3: shouted {shouted}, said {said}")
        samples = made.decoded(self.folder / "calm", data)
        want = {"sha256": hashlib.sha256(samples).hexdigest(), "samples": len(samples) // 2}
        for task in mine:
            if task.stage == "fingerprint" and (task.state is TaskState.FAILED) != any(
                warning["code"] == "fingerprint_failed" for warning in job.warnings
            ):
                broken.append(f"a stage failed without a warning, or with one for nothing: {task}, {job.warnings}")
            if task.stage == "fingerprint" and task.state is TaskState.DONE and task.output != want:
                broken.append(f"I3: fingerprint {task.output} instead of {want}")
        return broken if any(task.stage == "fingerprint" for task in mine) else [*broken, "no fingerprint"]

    def check_poison(self, job_id: str, found: Figures) -> None:
        """Exactly the chunk that kills is given up, and none of its neighbours."""
        job, rows = self.store.get(job_id), self.store.tasks(job_id, TRANSCRIBE)
        failed = [row.number for row in rows if row.state == "failed"]
        if job.status is JobStatus.COMPLETED and failed != [1]:
            found.broken.append(f"poison: chunks {failed} were given up instead of 1")
        if job.status is JobStatus.FAILED and len(rows) > 3:
            found.broken.append(f"poison: one chunk of {len(rows)} failed the job: {job.error}")

    def chunks_done(self, job_id: str) -> int:
        """Asked fifty times a second while a child runs, so in few words."""
        with self.store.database.read() as connection:
            sql = "select count(*) from task where job_id = ? and stage = ? and state <> ?"
            found = connection.exec_driver_sql(sql, (job_id, TRANSCRIBE, TaskState.PLANNED.value))
            return int(found.scalar_one())

    def run_once(self, parts: Any, rng: random.Random, kind: str = "", point: str = "", job_id: str = "") -> None:
        """Claim in a child, let it happen, and wait for the child's end; the lease of a dead one is freed as the parent does.

        many kills: each comes as soon as one more chunk of the job is done
        """
        done = self.chunks_done(job_id)
        stop = Stop()
        times = rng.randrange(1, 4) if point in ("after_start", "before_commit", "after_commit") else 1
        gc.freeze()  # a collection of the child would copy all the memory that it shares with us
        pid = os.fork()
        if pid:
            gc.unfreeze()
        else:
            code = 1
            try:
                if kind == "crash":
                    crashpoints.arm(point, times)
                claim = self.store.claim(owner=identity.owner("seed"), consumer="seed", lease_seconds=LEASE)
                if claim is not None:
                    crashpoints.reached("after_claim")
                    run_job(parts, claim, stop, stages=self.stages)
                code = 0
            finally:
                os._exit(code)
        time.sleep(rng.random() * 0.45 if kind in ("kill", "stop", "hurry", "freeze", "cancel") else 0)
        match kind:
            case "kill":
                os.kill(pid, signal.SIGKILL)
            case "many kills":
                until = time.monotonic() + 60
                while not over(pid) and self.chunks_done(job_id) <= done and time.monotonic() < until:
                    time.sleep(0.02)
                os.kill(pid, signal.SIGKILL)
            case "stop" | "hurry":
                stop.set()
                if kind == "hurry":
                    stop.set()
            case "cancel":
                self.cancel()
            case "freeze":
                self.freeze(parts, pid)
        os.waitpid(pid, 0)
        for _, owner, _ in self.store.held("seed"):
            if owner.startswith(f"seed/{pid}:"):
                self.store.free_owner(owner)
        for flag in (self.work / "cancel").iterdir():  # set when the run was over already: the supervisor sees to it
            flag.unlink()

    def cancel(self) -> None:
        jobs, _ = self.store.list(limit=1)
        if not jobs[0].terminal:
            try:
                self.store.request_cancel(jobs[0].id)
            except AlreadyTerminal:
                return
            cancel_flag(self.work, jobs[0].id).touch()

    def freeze(self, parts: Any, pid: int) -> None:
        """Stop the owner outside of a transaction (and not while it writes its call down), let its lease run out and another finish the job, then wake it."""
        for _ in range(100):
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: stopped(pid))  # the signal takes a moment; until then it may begin a transaction
            if writable(self.folder / "jobs.db") and unlocked(self.calls):
                break
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)
        try:
            self.clock.advance(LEASE + 1)
            self.run_here(parts)
        finally:
            os.kill(pid, signal.SIGCONT)  # a stopped process left behind would hold the pipe, and its reader, for ever


def unlocked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def stopped(pid: int) -> bool:
    """Is the process stopped, or over already?"""
    return _state(pid) in "TtZX"


def over(pid: int) -> bool:
    """Has the child ended? It is still to be waited for."""
    return _state(pid) in "ZX"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-199", help="first-last")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    total, kinds, began = Figures(), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="parascribe-seeds-") as folder:
        place = Place(Path(folder))
        place.warm()
        for seed in range(int(first), int(last or first) + 1):
            started = time.monotonic()
            kind, found = place.run_seed(seed)
            kinds[kind] += 1
            total.add(replace(found, broken=[f"seed {seed} ({kind}): {line}" for line in found.broken]))
            if options.verbose:
                print(
                    f"seed {seed} {kind}: {found.executed}/{found.planned}/{found.in_flight} in {time.monotonic() - started:.2f} s",
                    flush=True,
                )
        remove_dead(place.work)
        place.close()
    print("\n".join(total.broken))
    print(
        f"{total.jobs} seeds, {len(kinds)} kinds of fault, {total.attempts} attempts, chunks executed {total.executed} / planned {total.planned}"
        f" / in flight at a crash {total.in_flight}, {len(total.broken)} broken invariants, {time.monotonic() - began:.0f} s"
    )
    return 1 if total.broken else 0


if __name__ == "__main__":
    sys.exit(main())
