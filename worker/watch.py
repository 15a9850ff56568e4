"""What a consumer's supervisor does for its jobs: passes on cancels, frees dead owners, shows signs of life."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from core.errors import DatabaseUnavailable, ServiceError
from core.jobs.consumers import ConsumerInfo
from core.store.database import Database
from core.store.sql import SqlStore
from core.system import identity
from worker.context.figures import JobProcessDied, Tell, nobody
from worker.context.lease_keeper import cancel_flag

log = logging.getLogger(__name__)

HELD_SECONDS = 0.25
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
AGAIN_SECONDS = 5.0
"""A ring that was not heard is repeated after so long."""


class ConsumerWatch:
    """One query every quarter second for the whole consumer (contract: cancel polled apart from the lease).

    info: what /system shows of this consumer; asked every few seconds, in a thread of its own: an engine that does not
        answer shall not hold up a cancel
    ring: told of an interactive job that waits: no hint is sent while all usual slots are busy
    tell: told of job processes that have died
    """

    def __init__(
        self,
        store: SqlStore,
        consumer: str,
        work: Path,
        info: Callable[[], ConsumerInfo],
        *,
        ring: Callable[[str], object] = lambda _: None,
        tell: Tell = nobody,
    ) -> None:
        self._store, self._consumer, self._work, self._info, self._ring = store, consumer, work, info, ring
        self._tell = tell
        self._rung: tuple[str, float] | None = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(look, seconds), name=name, daemon=True)
            for name, look, seconds in (("watch", self.look, HELD_SECONDS), ("beat", self._beat, BEAT_SECONDS))
        ]

    def start(self) -> None:
        (self._work / "cancel").mkdir(parents=True, exist_ok=True)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        with contextlib.suppress(ServiceError):
            self._store.leave(self._consumer)

    def _beat(self) -> None:
        info = self._info()
        if not self._stop.is_set():  # an engine may have taken long to answer, and this consumer has left meanwhile
            self._store.beat(self._consumer, info)

    def _repeat(self, look: Callable[[], None], every: float) -> None:
        pause, away = HELD_SECONDS, False
        while not self._stop.wait(pause):
            pause = every
            try:
                look()
                away = False
            except ServiceError as error:
                if not away:
                    log.warning("Watch interrupted: %s", error.message)
                away = True
                if isinstance(error, DatabaseUnavailable):
                    kill_stopped_writers(self._store.database)
                self._stop.wait(1.0)
            except Exception:
                log.exception("Watch failed")
                self._stop.wait(1.0)

    def look(self) -> None:
        """One round: flags for cancelled jobs, freedom for jobs of dead processes, word of interactive jobs that wait."""
        self._call()
        held = self._store.held(self._consumer)
        for job_id, owner, cancelled in held:
            if not identity.alive(owner):
                freed = self._store.free_owner(owner)
                if freed:
                    self._tell(JobProcessDied())
                log.warning("Freed the leases of dead process %s: %s", owner, ", ".join(freed))
            elif cancelled:
                cancel_flag(self._work, job_id).touch()
        for flag in (self._work / "cancel").iterdir():
            with contextlib.suppress(FileNotFoundError):
                # raised when its run was just over; one that is wanted is touched again and again
                if time.time() - flag.stat().st_mtime > STALE_SECONDS and all(
                    flag.name != job_id for job_id, _, _ in held
                ):
                    flag.unlink()

    def _call(self) -> None:
        urgent, now = self._store.urgent(), time.monotonic()
        if urgent is None:
            self._rung = None
        elif self._rung is None or self._rung[0] != urgent or now - self._rung[1] >= AGAIN_SECONDS:
            self._rung = (urgent, now)
            self._ring(urgent)


def kill_stopped_writers(database: Database) -> None:
    """kill -9 for those processes below this one that are stopped (SIGSTOP) and have the SQLite file open.

    To be called when the file was locked for as long as a writer waits (`BUSY_SECONDS`). SQLite has one write lock, and
    who is stopped inside a transaction keeps it; its death releases it. PostgreSQL's server ends such a transaction
    itself. Those stopped outside of one, which look the same from here, would lose their leases soon anyway.
    """
    if database.postgres:
        return
    file = str(Path(str(database.engine.url.database)).resolve())
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED and any(
                opened.path == file for opened in process.open_files()
            ):
                process.kill()
                log.error("Process %d was stopped and may have kept the database locked: killed it", process.pid)


def free_dead_neighbours(store: SqlStore) -> None:
    """At start: leases of processes of this very machine that died with their supervisor (a crash, a kill -9)."""
    here = identity.pid_space()
    for consumer in store.consumers():
        info = consumer.info
        if info.pid_space != here or info.supervisor is None or identity.alive(info.supervisor):
            continue
        for _, owner, _ in store.held(consumer.name):
            if not identity.alive(owner):
                log.info("Freed the leases of %s", owner)
                store.free_owner(owner)
