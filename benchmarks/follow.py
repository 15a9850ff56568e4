"""Many who follow few jobs on one API process: its CPU, and how long after the commit they hear of it."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench
from benchmarks.meter import process_cpu
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE, Region
from core.jobs.job import Claim, NewJob, Source, new_id
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE, Task, TaskState
from core.objects.store import source_key
from core.speech.chunks import Chunk
from core.store.database import open_database
from core.store.sql import SqlStore
from core.transcript.values import Segment
from testbed.service import Service
from whisper.types import ChunkTranscript
from whisper.wire.process import die_with

CHUNK_SECONDS = 25.0
PERIOD = 1.0
"""Seconds from chunk to chunk of one job: with 20 jobs, 500 times real time."""


class ApiAlone(Service):
    """The API without a consumer: the jobs are played."""

    program = "api"
    ready_line = r"API on (http://[0-9.:]+)"


def run(bench: Bench) -> None:
    jobs = bench.pick(smoke=2, bench=20, full=20)
    followers = bench.pick(smoke=10, bench=1000, full=1000)
    chunks = bench.pick(smoke=3, bench=30, full=120)
    folder = bench.folder / "follow"
    service = ApiAlone(folder, MAX_QUEUED_JOBS="1000").start()
    try:
        database = open_database(f"sqlite:///{Path(service.env['DATA_DIR']) / 'parascribe.db'}")
        database.migrate()  # whoever comes first
        store = SqlStore(database)
        talks = [_Talk(store, chunks) for _ in range(jobs)]
        found = _measure(bench, service, talks, followers, chunks)
        store.close()
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()
    judged = not bench.smoke
    delays = sorted(found["delays_ms"])
    bench.result.details |= {"cpu_seconds": found["cpu"], "seconds": found["seconds"], "events": len(delays)}
    bench.result.figures += [
        Figure(
            name=f"cores of the API, {followers} followers of {jobs} jobs",
            value=found["cpu"] / found["seconds"],
            goal="P18",
            at_most=0.25,
            judged=judged,
        ),
        Figure(
            name="99th percentile from commit to event",
            value=delays[int(len(delays) * 0.99)],
            unit="ms",
            goal="P18",
            at_most=300.0,
            judged=judged,
        ),
        Figure(name="median from commit to event", value=delays[len(delays) // 2], unit="ms"),
        Figure(name="events per second", value=found["events"] / found["seconds"], unit="/s"),
    ]


class _Talk:
    """One job, played: a chunk is done every PERIOD. committed: when each version of its row was"""

    def __init__(self, store: SqlStore, chunks: int) -> None:
        self._store = store
        job_id = new_id()
        source = Source(
            filename="talk.mp3", bytes=1000, media_type="audio/mpeg", sha256="0" * 64, key=source_key(job_id)
        )
        store.create(NewJob(id=job_id, source=source, params=JobParams(model="base")))
        claim = store.claim(owner="bench", consumer="bench", lease_seconds=7200)
        assert claim is not None
        self.claim: Claim = claim
        self.id = claim.job.id
        size = int(CHUNK_SECONDS * SAMPLE_RATE)
        plan = [
            Chunk(index=n, start=n * size, end=(n + 1) * size, regions=(Region(start=n * size, end=(n + 1) * size),))
            for n in range(chunks)
        ]
        store.plan(claim, [Task(stage=TRANSCRIBE, number=c.index, plan=c.to_dict()) for c in plan])
        store.progress(claim, stage="transcribing", chunks_total=chunks, duration=chunks * CHUNK_SECONDS)
        self.committed: dict[int, float] = {}
        self._version = store.get(self.id).version

    def end(self, n: int) -> None:
        store = self._store
        lease = store.take(self.claim, Task(stage=TRANSCRIBE, number=n))
        assert lease is not None
        segments = tuple(
            Segment(start=4.0 * i, end=4.0 * i + 3.5, text=f"Chunk {n}, phrase {i}: some ten words as people say them.")
            for i in range(6)
        )
        said = ChunkTranscript(
            segments=segments, language="en", no_speech_prob=0.0, engine_seconds=1.0, wall_seconds=1.0, engine={}
        )
        store.commit(lease, Task(stage=TRANSCRIBE, number=n, state=TaskState.DONE, output=said.to_dict()))
        self._commit(lambda: store.progress(self.claim, chunks_done=n + 1, audio_seconds_done=(n + 1) * CHUNK_SECONDS))

    def finish(self) -> None:
        self._commit(
            lambda: self._store.finish(
                self.claim, result_key="none", partial=False, gaps=[], warnings=[], performance={}
            )
        )

    def _commit(self, write: Callable[[], None]) -> None:
        write()
        self._version += 1
        self.committed[self._version] = time.monotonic()


def _measure(bench: Bench, service: Service, talks: list[_Talk], followers: int, chunks: int) -> dict[str, Any]:
    paths = [f"/api/v1/jobs/{talks[n % len(talks)].id}/events" for n in range(followers)]
    command = [sys.executable, "-m", "benchmarks.follow", json.dumps([service.url, paths, os.getpid()])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert service.process is not None
        assert process.stdout.readline() == "following\n"
        before, began = process_cpu(service.process.pid, reaped=True), time.monotonic()
        for n in range(chunks):
            for position, talk in enumerate(talks):
                due = began + PERIOD * (n + position / len(talks))
                time.sleep(max(0.0, due - time.monotonic()))
                talk.end(n)
        seconds, cpu = time.monotonic() - began, process_cpu(service.process.pid, reaped=True) - before
        for talk in talks:
            talk.finish()
        heard: list[dict[str, Any]] = json.loads(process.stdout.read())
        assert process.wait(60) == 0
    delays = []
    for n, one in enumerate(heard):
        assert one["segments"] == chunks * 6, "each exactly once"
        talk = talks[n % len(talks)]
        for version, committed in list(talk.committed.items())[:-1]:
            # a body that was overtaken is not sent: the next one tells as much
            arrived = min(moment for known, moment in one["versions"] if known >= version)
            delays.append(1000 * (arrived - committed))
    bench.say(f"{followers} followers, {len(delays)} commits heard of")
    return {"cpu": cpu, "seconds": seconds, "delays_ms": delays, "events": sum(one["events"] for one in heard)}


# --- the followers, in a process of their own


def main() -> None:
    url, paths, parent = json.loads(sys.argv[1])
    die_with(parent)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    host, _, port = url.removeprefix("http://").partition(":")
    print(json.dumps(asyncio.run(_follow_all(host, int(port), paths))))


async def _follow_all(host: str, port: int, paths: list[str]) -> list[dict[str, Any]]:
    first = asyncio.Semaphore(0)
    at_once = asyncio.Semaphore(50)  # the kernel's queue of connections is not what is measured
    followers = [asyncio.create_task(_follow(host, port, path, first, at_once)) for path in paths]
    for _ in followers:
        await first.acquire()
    print("following", flush=True)
    return await asyncio.gather(*followers)


async def _follow(
    host: str, port: int, path: str, first: asyncio.Semaphore, at_once: asyncio.Semaphore
) -> dict[str, Any]:
    """One reader of a stream: versions with the moments they came at; the segments must follow one another."""
    found: dict[str, Any] = {"versions": [], "segments": 0, "events": 0}
    async with at_once:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
    kind = ""
    while line := await reader.readline():
        now = time.monotonic()
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
            found["events"] += 1
        elif line.startswith(b"id: ") and not line.endswith(b".end\n"):
            version = int(line[4:].partition(b".")[0])
            if not found["versions"] or found["versions"][-1][0] < version:
                found["versions"].append((version, round(now, 5)))
                if len(found["versions"]) == 1:
                    first.release()
        elif line.startswith(b"data: ") and kind == "segments":
            body = json.loads(line[6:])
            assert body["from"] == found["segments"], "no gap and no repeat"
            found["segments"] += len(body["segments"])
        elif line.startswith(b"data: ") and kind == "end":
            break
    writer.close()
    return found


if __name__ == "__main__":
    main()
