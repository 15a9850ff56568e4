"""What keeps a run honest: the lease heartbeat, and the watch for cancel and shutdown."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Self

from core.errors import Cancelled, HandedBack, Interrupted, LeaseLost, ServiceError
from core.jobs.job import Claim
from core.store.protocols import Claims
from worker.stop import Stopping

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
"""How often flags are looked at; the supervisor's cancel query adds up to 0.3 s."""


def cancel_flag(work: Path, job_id: str) -> Path:
    """The supervisor touches this file when the job's cancel is requested."""
    return work / "cancel" / job_id


class LeaseKeeper:
    """Two threads for the time of one run; `reason` says why it must end, `is_set` makes it usable as a cancel flag.

    A heartbeat that cannot reach the database keeps trying until the lease itself has run out; then the
    run must stop, since another owner may have started.
    """

    def __init__(
        self, claims: Claims, claim: Claim, *, lease_seconds: float, work: Path, stopping: Stopping, grace: float
    ) -> None:
        self._claims, self._claim, self._lease = claims, claim, lease_seconds
        self._flag = cancel_flag(work, claim.job.id)
        self._stopping, self._grace = stopping, grace
        self._done = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.reason: Interrupted | None = None
        self.draining = threading.Event()
        """Set at shutdown: start no new chunk; those in flight have `grace` seconds."""

    def is_set(self) -> bool:
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        return self._stop.wait(seconds)

    def end(self, reason: Interrupted) -> None:
        """Stop the run; the first reason counts."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
        self._stop.set()

    def check(self) -> None:
        """Raises the reason, if there is one."""
        if self.reason is not None:
            raise self.reason

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._watch, name="watch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(self._lease)
        self._flag.unlink(missing_ok=True)

    def _beat(self) -> None:
        every = self._lease / 3
        renewed = time.monotonic()
        while not self._done.wait(every):
            started = time.monotonic()
            try:
                self._claims.heartbeat(self._claim, self._lease)
                renewed = started
                every = self._lease / 3
            except LeaseLost as lost:
                self.end(lost)
                return
            except ServiceError as error:
                if time.monotonic() - renewed >= self._lease:
                    # stop as if the lease were lost; when the database is back it is given back, unless somebody has it
                    self.end(HandedBack("The database could not be reached for as long as the lease lasts."))
                    return
                log.warning("Lease not renewed (%s), trying again", error.message)
                every = min(1.0, self._lease / 10)

    def _watch(self) -> None:
        deadline = None
        while not self._done.wait(WATCH_SECONDS):
            if self._flag.exists():
                self.end(Cancelled())
                return
            if self._stopping.is_set() and deadline is None:
                self.draining.set()
                deadline = time.monotonic() + self._grace
            if deadline is not None and (self._stopping.hurried() or time.monotonic() >= deadline):
                self.end(HandedBack())
                return
