"""The pool of job processes without Celery: fork on demand, wait for work, restart the dead, retire the idle."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable

from core.queue.hints import Doorbell
from whisper.wire.process import die_with
from worker.context.parts import Parts
from worker.pools.slots import Slots
from worker.pools.turn import take_turn
from worker.stop import Stop

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""An idle slot looks at the job table so often; the doorbell makes it sooner."""

EXTRA_POLL_SECONDS = 5.0
"""Likewise the slot beside Celery's pool: the supervisor rings for it (`worker.watch`)."""

IDLE_SECONDS = 5.0
"""A process that has had nothing to do for so long is ended, unless it is the last: 30 MB, against a fork of 5 ms."""

DEAF_SECONDS = 2.0
"""An idle process that has not heard of work for so long is not counted on."""

_LOOK, _RETIRE = b"!", b"x"
"""What the parent writes into the children's pipe; one of the idle ones reads it."""

TURNS = 200
"""A job process is replaced after so many jobs: whatever leaks, leaks no further."""


class SoloPool:
    """Forked processes, at most one for each of these slots, each taking turns; the parent only listens, forks and restarts.

    There is one process to begin with, and another when there is work and none is idle. The parent runs no threads, so
    that forking is safe.

    indices: of the slots; extra: they are there for interactive jobs alone (`Slots.claim`)
    polling: nobody rings, so one process is always kept idle, to look for work
    after_fork: called in each child first (drop inherited database connections)
    """

    def __init__(
        self,
        parts: Parts,
        slots: Slots,
        stop: Stop,
        *,
        indices: range,
        extra: bool = False,
        doorbell: Doorbell,
        polling: bool,
        after_fork: Callable[[], None],
    ) -> None:
        self._parts, self._slots, self._stop = parts, slots, stop
        self._indices, self._extra, self._count = indices, extra, len(indices)
        self._bell, self._polling, self._after_fork = doorbell, polling, after_fork
        self._children: dict[int, int] = {}
        self._restart_at = dict.fromkeys(indices, 0.0)
        self._idle_since: float | None = None
        self._unheard_since = 0.0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def run(self) -> None:
        """Until the stop is set and all children have gone. Owns SIGTERM, SIGINT and SIGCHLD."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        signal.signal(signal.SIGINT, lambda *_: self._stop.set())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        bell = self._bell.listen()
        if not self._extra:
            plan = self._parts.plan
            log.info("Ready: %d job slots, %d workers x %d threads", self._slots.count, plan.workers, plan.threads)
        while not self._stop.is_set() or self._children:
            if self._stop.is_set():
                self._tell(_LOOK * self._count)
            else:
                self._adapt()
            soon = (
                len(self._children) < self._count and self._unread()
            )  # whether it is taken by one that was idle just now
            ready, _, _ = select.select([bell.fileno(), wake_read], [], [], 0.02 if soon else 0.5)
            if bell.fileno() in ready:
                bell.recv(64)
                self._tell(_LOOK)  # a hint is one job: the other slots would only look for it in vain
            if wake_read in ready:
                os.read(wake_read, 4096)
            for index, status in self._reap():
                if status and not self._stop.is_set():
                    log.error("Job process of slot %d died (%s); starting another", index, _describe(status))
                    self._restart_at[index] = time.monotonic() + 0.5
                    self._tell(_LOOK)  # its job is free again
        bell.close()
        self._bell.path.unlink(missing_ok=True)

    def _adapt(self) -> None:
        """One process more when there is work and none hears of it; one fewer when one is idle for long and not the last."""
        now = time.monotonic()
        idle = sum(self._slots.is_free(index) for index in self._children.values())
        unread = self._unread()
        if not (idle and unread):
            self._unheard_since = now
        deaf = now - self._unheard_since > DEAF_SECONDS  # stopped, or held up by the database
        if not self._children or ((idle == 0 or deaf) and (self._polling or unread)):
            free = (i for i in self._indices if i not in self._children.values() and now >= self._restart_at[i])
            if (index := next(free, None)) is not None:
                self._fork(index)
                self._unheard_since = now
        kept = 1 if self._polling or idle == len(self._children) else 0
        if idle <= kept:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > IDLE_SECONDS:
            self._idle_since = None
            self._tell(_RETIRE)

    def _unread(self) -> bool:
        """Whether work was announced that nobody has looked for yet."""
        return bool(select.select([self._read], [], [], 0)[0])

    def _tell(self, what: bytes) -> None:
        try:
            os.write(self._write, what)
        except BlockingIOError:
            pass

    def _fork(self, index: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            log.error("No process for slot %d: %s", index, error.strerror)
            self._restart_at[index] = time.monotonic() + 1.0
            return
        if pid:
            self._children[pid] = index
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # the parent counts the wishes to stop: one that reaches the whole group is not two. Not SIG_IGN: programs
            # that are started here would inherit that
            signal.signal(signal.SIGTERM, lambda *_: None)
            die_with(parent)
            self._after_fork()
            self._take_turns(index)
            code = 0
        except BaseException:
            log.exception("Job process of slot %d failed", index)
        finally:
            os._exit(code)

    def _take_turns(self, index: int) -> None:
        turns = 0
        while not self._stop.is_set() and turns < TURNS:
            if take_turn(self._parts, self._slots, index, self._stop, extra=self._extra):
                turns += 1
                continue
            ready, _, _ = select.select([self._read], [], [], EXTRA_POLL_SECONDS if self._extra else POLL_SECONDS)
            if ready:
                try:
                    if os.read(self._read, 1) == _RETIRE:
                        return
                except BlockingIOError:
                    pass

    def _reap(self) -> list[tuple[int, int]]:
        gone = []
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._children:
                gone.append((self._children.pop(pid), status))
        return gone


def _describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
