"""The peaks of jobs as objects in their folders: made when first asked for, by one thread, one job after the other."""

from __future__ import annotations

import asyncio
import io
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from fastapi.concurrency import run_in_threadpool

from core.errors import NotReady
from core.jobs.job import Job
from core.objects.store import ObjectStore, job_folder

PATIENCE = 5.0
"""Seconds that a request waits for them: an hour of audio takes about that."""

Measure = Callable[[Job], bytes]
"""Makes the peaks of a job's source, one byte for each twentieth of a second. Raises KeyError when that is missing."""


class KeptPeaks:
    """A cache: what the sweeper takes for an orphan is made again. It goes with the job's folder."""

    def __init__(self, objects: ObjectStore, measure: Measure, *, patience: float = PATIENCE) -> None:
        self._objects, self._measure, self._patience = objects, measure, patience
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._making: dict[str, Future[bytes]] = {}
        self._thread: threading.Thread | None = None

    async def of(self, job: Job) -> bytes:
        """Raises NotReady while they are being made, and what `measure` raises. Who waits holds no thread meanwhile."""
        kept = await run_in_threadpool(self._read, job)
        if kept is not None:
            return kept
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(asyncio.wrap_future(self._make(job)))  # others wait for it too
        except TimeoutError:
            raise NotReady("The peaks are being made.", retry_after=2) from None

    def _read(self, job: Job) -> bytes | None:
        try:
            with self._objects.open(_key(job)) as stream:
                return stream.read()
        except KeyError:
            return None

    def _make(self, job: Job) -> Future[bytes]:
        with self._lock:
            if self._thread is None:
                # its end is not waited for: the program that it waits for dies with it
                self._thread = threading.Thread(target=self._run, name="peaks", daemon=True)
                self._thread.start()
            if job.id not in self._making:
                self._making[job.id] = Future()
                self._wanted.put(job)
            return self._making[job.id]

    def _run(self) -> None:
        while True:
            job = self._wanted.get()
            try:
                values = self._measure(job)
                self._objects.put(_key(job), io.BytesIO(values))
            except BaseException as error:
                self._done(job).set_exception(error)
            else:
                self._done(job).set_result(values)

    def _done(self, job: Job) -> Future[bytes]:
        with self._lock:
            return self._making.pop(job.id)


def _key(job: Job) -> str:
    return f"{job_folder(job.id)}peaks.{job.source.sha256[:16]}.u8"
