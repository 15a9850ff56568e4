"""The pool of job processes without Celery: fork, wait for work, restart the dead."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable

from core.hints import Doorbell
from whisper.process import die_with
from worker.parts import Parts
from worker.slots import Slots
from worker.stop import Stop
from worker.turn import take_turn

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""An idle slot looks at the job table so often; the doorbell makes it sooner."""

TURNS = 200
"""A job process is replaced after so many jobs: whatever leaks, leaks no further."""


class SoloPool:
    """`count` forked processes, each taking turns; the parent only listens and restarts.

    The parent runs no threads, so that forking is safe. after_fork is called in each child first (drop
    inherited database connections).
    """

    def __init__(self, parts: Parts, slots: Slots, stop: Stop, *, count: int, doorbell: Doorbell, after_fork: Callable[[], None]) -> None:
        self._parts, self._slots, self._stop, self._count = parts, slots, stop, count
        self._bell, self._after_fork = doorbell, after_fork
        self._children: dict[int, int] = {}
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
        restart_at = [0.0] * self._count
        log.info("Ready: %d job slots, %d workers x %d threads", self._count, self._parts.plan.workers, self._parts.plan.threads)
        while not self._stop.is_set() or self._children:
            if not self._stop.is_set():
                for index in range(self._count):
                    if index not in self._children.values() and time.monotonic() >= restart_at[index]:
                        self._fork(index)
            else:
                self._wake(self._count)
            ready, _, _ = select.select([bell.fileno(), wake_read], [], [], 0.5)
            if bell.fileno() in ready:
                bell.recv(64)
                self._wake(1)  # a hint is one job: the other slots would only look for it in vain
            if wake_read in ready:
                os.read(wake_read, 4096)
            for index, status in self._reap():
                self._slots.free(index)
                if status and not self._stop.is_set():
                    log.error("Job process of slot %d died (%s); starting another", index, _describe(status))
                    restart_at[index] = time.monotonic() + 0.5
        bell.close()
        self._bell.path.unlink(missing_ok=True)

    def _wake(self, slots: int) -> None:
        try:
            os.write(self._write, b"!" * slots)
        except BlockingIOError:
            pass

    def _fork(self, index: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._children[pid] = index
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
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
            if take_turn(self._parts, self._slots, index, self._stop):
                turns += 1
                continue
            ready, _, _ = select.select([self._read], [], [], POLL_SECONDS)
            if ready:
                try:
                    os.read(self._read, 1)
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
