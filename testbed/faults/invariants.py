"""The invariants I1-I12 of docs/explanation/reliability.md, as far as they can be seen from outside afterwards.

I6 (status stays readable) and I12 (time to recover) are seen while it happens: the tests and the soak look at them
themselves. I10 and I11 concern keys and webhooks, which do not exist yet.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil

from core.audio.samples import SAMPLE_RATE
from core.jobs.job import Job, JobStatus
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.jobs.workfolders import remove_dead
from core.objects.store import ObjectStore
from core.speech.chunks import Chunk
from core.store.sql import SqlStore
from worker.watch import STALE_SECONDS

CODES = frozenset(
    {
        "no_audio_stream",
        "audio_track_missing",
        "audio_empty",
        "audio_undecodable",
        "audio_too_long",
        "audio_encrypted",
        "model_unavailable",
        "model_invalid",
        "engine_unavailable",
        "chunk_failed",
        "chunk_timeout",
        "worker_crashed",
        "source_missing",
        "source_corrupt",
        "storage_unavailable",
        "disk_full",
    }
)
"""All that a failed job may say, `internal` excepted: that would be a defect."""

MEMORY = 600 * 2**20
DESCRIPTORS = 300


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A job that was answered with 202.

    text: of a run without faults; None = do not compare
    broken_off: it may have been handed back with chunks in flight (hurried, or a database away for a whole lease), which
        are then computed again; each hand-back raises the fence and no attempt
    """

    id: str
    sha256: str
    text: str | None = None
    ends: frozenset[str] = frozenset({"completed"})
    source_kept: bool = True
    broken_off: bool = False


@dataclass(kw_only=True)
class Figures:
    """What the checker has counted."""

    jobs: int = 0
    planned: int = 0
    executed: int = 0
    in_flight: int = 0
    attempts: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        for name in ("jobs", "planned", "executed", "in_flight", "attempts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.broken += other.broken


def check_jobs(
    store: SqlStore,
    objects: ObjectStore,
    accepted: Sequence[Accepted],
    calls: Iterable[dict[str, Any]],
    *,
    tries: int = 1,
) -> Figures:
    """I1-I5 and I8 from database, objects and the engine's call log.

    tries: executions of a chunk that the script itself causes (a chunk whose worker dies is tried twice)
    """
    found = Figures(jobs=len(accepted))
    executed: Counter[tuple[str, int]] = Counter()
    for call in calls:
        if number := re.match(r"chunk (\d+)/", call["label"]):
            executed[call["job"], int(number[1]) - 1] += 1
    for want in accepted:
        job, rows = store.get(want.id), store.tasks(want.id, TRANSCRIBE)

        def wrong(what: str, job: Job = job) -> None:
            found.broken.append(f"{what} (job {job.id}, {job.status}, attempts {job.attempts}, error {job.error})")

        if not job.terminal:
            wrong("I1: not ended")
            continue
        if job.status.value not in want.ends:
            wrong(f"I1: ended otherwise than {'/'.join(sorted(want.ends))}")
        if job.finished_at is None or job.lease_owner is not None:
            wrong("I7: ended with a lease")
        if job.error is not None and job.error.code not in CODES:
            wrong(f"I8: unexpected code {job.error.code}")
        if job.status is JobStatus.COMPLETED:
            for problem in _plan_problems(job, rows):
                wrong(f"I3: {problem}")
            text = _text(objects, job)
            if want.text is not None and text != want.text:
                wrong(f"I3: another text: {text!r:.200} instead of {want.text!r:.200}")
        allowed = tries + (job.fence - job.attempts if want.broken_off else 0)
        for row in rows:
            if executed[job.id, row.number] > allowed + row.crashes:
                wrong(
                    f"I4: chunk {row.number} executed {executed[job.id, row.number]} times, {row.crashes} times in flight at a crash"
                )
        if want.source_kept and _sha256(objects, job.source.key) != want.sha256:
            wrong("I5: the upload is not what was sent")
        found.planned += len(rows)
        found.executed += sum(executed[job.id, row.number] for row in rows)
        found.in_flight += sum(row.crashes for row in rows)
        found.attempts += job.attempts
    return found


def leftovers(
    store: SqlStore, objects: ObjectStore, work: Sequence[Path], accepted: Sequence[Accepted], *, kills: int = 0
) -> list[str]:
    """I7: what lies about when nothing runs any more. Folders of killed processes count after a sweep.

    kills: so many processes ended at any moment, each of which may have been storing a result
    """
    broken = []
    for folder in work:
        remove_dead(folder)
        broken += [f"I7: work folder {path.name}" for path in folder.glob("*-*.*")]
        # one that was raised when its run was just over is removed by the next look at old ones
        broken += [
            f"I7: cancel flag {path.name}"
            for path in folder.glob("cancel/*")
            if time.time() - path.stat().st_mtime > STALE_SECONDS
        ]
    known = {want.id for want in accepted}
    keys = [key for key in objects.keys("jobs/") if key.split("/")[1] in known]
    for want in accepted:
        results = [key for key in keys if key.startswith(f"jobs/{want.id}/result")]
        job = store.get(want.id)
        # a crash between the result and the row's last word leaves a result that the orphan collection removes
        if job.result_key is None and job.status is JobStatus.COMPLETED or len(results) > job.fence:
            broken.append(f"I7: results {results} of a job that was claimed {job.fence} times")
    if (unfinished := objects.abort_stale(0.0)) > kills:
        broken.append(f"I7: {unfinished} unfinished uploads of {kills} processes")
    if objects.abort_stale(0.0):
        broken.append("I7: the orphan collection leaves unfinished uploads")
    if waiting := store.unsent(1000):
        broken.append(f"I7: hints of ended jobs: {waiting}")
    return broken


def too_much(processes: Iterable[psutil.Process]) -> list[str]:
    """I9: memory and descriptors of the service's processes."""
    broken = []
    for process in processes:
        try:
            rss, descriptors = process.memory_info().rss, process.num_fds()
        except psutil.Error:
            continue
        if rss > MEMORY or descriptors > DESCRIPTORS:
            broken.append(f"I9: process {process.pid} has {rss >> 20} MB and {descriptors} descriptors")
    return broken


def read_calls(path: Path) -> list[dict[str, Any]]:
    """The scripted engine's call log. Its last line may be torn by a kill."""
    calls = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            calls.append(json.loads(line))
        except ValueError:
            continue
    return calls


def _plan_problems(job: Job, rows: Sequence[Task]) -> Iterable[str]:
    position = 0
    for n, row in enumerate(rows):
        chunk = Chunk.from_dict(row.plan or {})
        if row.number != n or chunk.start != position or chunk.end <= chunk.start:
            yield f"chunk {row.number} owns {chunk.start}-{chunk.end} after {position}"
        if row.state is TaskState.PLANNED:
            yield f"chunk {n} is not done"
        position = chunk.end
    if job.duration is None or position != round(job.duration * SAMPLE_RATE):
        yield f"the plan ends at {position}, the audio lasts {job.duration} s"
    if job.chunks_done != len(rows) or job.chunks_total != len(rows):
        yield f"{job.chunks_done} of {job.chunks_total} chunks counted, {len(rows)} stored"


def _text(objects: ObjectStore, job: Job) -> str:
    assert job.result_key is not None
    with objects.open(job.result_key) as body:
        text: str = json.load(body)["text"]
    return text


def _sha256(objects: ObjectStore, key: str) -> str | None:
    try:
        with objects.open(key) as data:
            return hashlib.file_digest(cast(Any, data), "sha256").hexdigest()
    except KeyError:
        return None
