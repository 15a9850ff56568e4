"""The sweeper: sends waiting hints, ends what nobody else will end, removes what nobody refers to.

Safe to run in every process at once: each step is one guarded statement or an idempotent removal. What costs much, going
through all objects, one of them does for all.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from core.errors import DatabaseUnavailable, ServiceError
from core.jobs.job import Job
from core.jobs.workfolders import remove_dead
from core.objects.store import (
    RENDITION,
    REVISION,
    ObjectStore,
    job_folder,
    stream_folder,
    stream_of,
    upload_folder,
    upload_of,
)
from core.queue.hints import HintSender
from core.queue.indexing import index_due
from core.store.protocols import Outbox, Retention, Streams, Upkeep, Uploads
from core.system.crashpoints import reached

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 24 * 3600.0
"""Objects and uploads without a row are removed after a day: longer than any upload takes."""

INSTALLATION_KEY = "installation"
"""An object with the id of the database that the store belongs to."""

HINTS_PER_SWEEP = 100


ORPHAN_TURN = 3600.0
"""How often some process goes through the whole object store."""


INDEX_SECONDS = 2.0
"""How long one round writes into the search index."""


class SweeperStore(Outbox, Retention, Streams, Uploads, Upkeep, Protocol):
    """What the sweeper asks of the store."""


class Sweeper:
    """Runs every `interval` seconds in a thread of its own; `wake()` sends new hints at once.

    interval: SWEEP_SECONDS
    max_attempts: MAX_ATTEMPTS
    audio_hours, result_hours: retention, 0 = keep
    orphans_after: seconds until it first asks for its turn to clear the object store
    """

    def __init__(
        self,
        store: SweeperStore,
        objects: ObjectStore,
        hints: HintSender,
        *,
        interval: float,
        max_attempts: int,
        audio_hours: float = 0.0,
        result_hours: float = 0.0,
        work: Path | None = None,
        orphans_after: float = 60.0,
    ) -> None:
        self._store, self._objects, self._hints = store, objects, hints
        self._interval, self._max_attempts = interval, max_attempts
        self._audio_hours, self._result_hours, self._work = audio_hours, result_hours, work
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.hints_fail = False
        """Whether the broker refused the last hint (away, or full)."""
        self._next_full = 0.0
        self._next_orphans = time.monotonic() + orphans_after

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join(5)

    def wake(self) -> None:
        """A row was added to the outbox: send it now. Never blocks."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._attempt(self.send_hints)
            if time.monotonic() >= self._next_full:
                self._next_full = time.monotonic() + self._interval
                self._attempt(self.sweep_once)
            self._wake.wait(self._interval)
            self._wake.clear()

    def _attempt(self, step: Callable[[], object]) -> None:
        """Each on its own: hints that a full disk does not let go out must not keep the sweep from making room."""
        try:
            step()
        except ServiceError as error:
            log.warning("Sweep put off: %s", error.message)
        except Exception:
            log.exception("Sweep failed")

    def send_hints(self) -> int:
        """Hand unsent outbox rows to the broker, one for each free slot; what cannot be sent stays for the next sweep.

        The others are dropped: a slot that is busy looks at the table by itself when it is done, so that hints would only
        pile up at the broker. Returns how many were sent.
        """
        due = self._store.unsent(HINTS_PER_SWEEP)
        room = self._store.free_slots() if due else 0
        sent, failed = 0, False
        for _, job_id in due[:room]:
            failed = not self._hints.send(job_id)
            if failed:
                break
            sent += 1
        self.hints_fail = failed
        done = due[:sent] if failed else due
        if done:
            reached("after_send")
            self._store.sent([outbox_id for outbox_id, _ in done])
        return sent

    def sweep_once(self) -> None:
        """One full round. What makes room on a full disk goes first."""
        for job in self._store.removable(limit=50):
            with self._on_its_own(f"Job {job.id}"):
                self.remove(job)
        for upload_id in self._store.removable_uploads(limit=50):
            with self._on_its_own(f"Upload {upload_id}"):
                self._empty(upload_folder(upload_id))
                self._store.remove_upload(upload_id)
        for session_id in self._store.removable_sessions(limit=50):
            with self._on_its_own(f"Live stream {session_id}"):
                self._empty(stream_folder(session_id))
                self._store.remove_session(session_id)
        if self._work and (dead := remove_dead(self._work)):
            log.info("Removed %d work folders of processes that had died", dead)
        if left := self._store.end_left_sessions():
            log.info("Ended %d live streams whose clients had not come back", len(left))
            self.wake()  # those that are saved are jobs now
        ended = self._store.sweep(max_attempts=self._max_attempts)
        if any(ended.values()):
            log.info("Sweeper ended jobs: %s", ended)
        # more hints would only lie beside those that cannot be sent
        room = 0 if self.hints_fail else min(HINTS_PER_SWEEP, self._store.free_slots())
        if room and self._store.rehint(older_than=self._interval, limit=room):
            self.send_hints()
        if self._audio_hours or self._result_hours:
            for job in self._store.expire(audio_hours=self._audio_hours, result_hours=self._result_hours, limit=50):
                with self._on_its_own(f"Job {job.id}"):
                    if job.expired_audio:
                        forms = self._objects.keys(job_folder(job.id) + RENDITION)
                        samples = [job.samples_key] if job.samples_key else []
                        self._drop([job.source.key, *samples, *forms], besides=job.id)
                    if job.expired_result and job.result_key:
                        edits = self._objects.keys(job_folder(job.id) + REVISION)
                        self._drop([job.result_key, *edits], besides=job.id)
        if self._store.unindexed(limit=1) and self._store.take_turn("index", every=0.9 * self._interval):
            index_due(self._store, self._objects, seconds=INDEX_SECONDS)
        if time.monotonic() >= self._next_orphans:
            # a little less: who had the last turn shall not be refused for a moment's difference of two clocks
            ours = self._store.take_turn("orphans", every=0.9 * ORPHAN_TURN)
            self._next_orphans = time.monotonic() + ORPHAN_TURN
            if ours:
                self.collect_orphans()

    @contextlib.contextmanager
    def _on_its_own(self, what: str) -> Iterator[None]:
        """One that cannot be removed must not hold up those behind it. An outage ends the round for all of them."""
        try:
            yield
        except DatabaseUnavailable:
            raise
        except ServiceError as error:
            self._objects.ping()
            log.error("%s cannot be removed: %s", what, error.message)
        except Exception:
            log.exception("%s cannot be removed", what)

    def remove(self, job: Job) -> None:
        """Delete a job for good. Rows go last: a crash in between leaves a row that says what is still to do."""
        # all there is, not only what the row names: an owner that died before its last word left a result too
        own = {job.source.key, job.samples_key, job.result_key, *self._objects.keys(job_folder(job.id))} - {None}
        self._drop(sorted(key for key in own if key), besides=job.id)
        reached("after_drop")
        self._store.remove(job.id)
        log.info("Removed job %s", job.id)

    def collect_orphans(self, older_than: float = ORPHAN_SECONDS) -> int:
        """Remove objects no row refers to and unfinished uploads; returns how many. Nothing in the store of another database."""
        if not self._is_ours():
            log.error(
                "The object store belongs to another database, by its object %r: nothing is cleared away. Check DATABASE_URL "
                "and MINIO_BUCKET or DATA_DIR; if this database is to own it, remove that object.",
                INSTALLATION_KEY,
            )
            return 0
        count = self._objects.abort_stale(older_than)
        for batch in _batches(self._objects.keys("jobs/", older_than=older_than), 500):
            count += self._drop(batch)
        count += self._collect("uploads/", upload_of, self._store.known_uploads, older_than)
        return count + self._collect("live/", stream_of, self._store.known_sessions, older_than)

    def _collect(
        self, folder: str, owner_of: Callable[[str], str | None], known: Callable[[set[str]], set[str]], age: float
    ) -> int:
        """Remove what lies there and belongs to nothing that there is; returns how many."""
        count = 0
        for batch in _batches(self._objects.keys(folder, older_than=age), 500):
            owners = {key: owner for key in batch if (owner := owner_of(key))}
            there = known(set(owners.values()))
            for key in (key for key, owner in owners.items() if owner not in there):
                self._objects.delete(key)
                count += 1
        return count

    def _empty(self, folder: str) -> None:
        for key in list(self._objects.keys(folder)):
            self._objects.delete(key)

    def _is_ours(self) -> bool:
        """The first database to ask owns the store. An empty or a foreign one would take all its objects for orphans."""
        mine = self._store.installation().encode()
        try:
            with self._objects.open(INSTALLATION_KEY) as owner:
                return owner.read() == mine
        except KeyError:
            self._objects.put(INSTALLATION_KEY, io.BytesIO(mine))
            return True

    def _drop(self, keys: Sequence[str], *, besides: str | None = None) -> int:
        """Delete those objects no row refers to; a retry shares the upload of the job it came from."""
        unknown = set(keys) - self._store.known_keys(keys, besides=besides)
        for key in unknown:
            self._objects.delete(key)
        return len(unknown)


def _batches(keys: Iterator[str], size: int) -> Iterator[list[str]]:
    # itertools.batched needs Python 3.12
    while batch := list(itertools.islice(keys, size)):
        yield batch
