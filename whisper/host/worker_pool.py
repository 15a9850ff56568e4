"""A host's worker processes: started as requests wait, ended when idle, replaced when they die."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any, NoReturn

from whisper.host.scaling import Autoscaler
from whisper.host.worker_process import Work, Worker, WorkerProcess, log
from whisper.wire.kind import Kind

STILLBORN_LIMIT = 3


class WorkerPool:
    """The processes there are.

    kind: whether there are as many forked workers as `scaler` says, or one process of threads
    work: run in each child
    poll: where the control sockets are watched
    """

    def __init__(self, kind: Kind, work: Work, scaler: Autoscaler, poll: select.poll) -> None:
        self._kind = kind
        self._work = work
        self._scaler = scaler
        self._poll = poll
        self._processes: list[WorkerProcess] = []
        self._stillborn = 0

    def __contains__(self, worker: Worker) -> bool:
        """Whether its process has not been buried."""
        return worker.process in self._processes

    @property
    def workers(self) -> list[Worker]:
        return [worker for process in self._processes for worker in process.workers]

    @property
    def free(self) -> list[Worker]:
        """Ready for a request, the one that became so last at the end."""
        free = (worker for worker in self.workers if worker.idle and not worker.process.retiring)
        return sorted(free, key=lambda worker: worker.idle_since)

    def at(self, fd: int) -> Worker | None:
        return next((worker for worker in self.workers if worker.control.fileno() == fd), None)

    def loaded(self, process: WorkerProcess) -> None:
        """It has said its first word."""
        process.born_dead, self._stillborn = False, 0

    def start_missing(self, waiting: int, *, extra: bool) -> None:
        """waiting: requests without a worker; extra: one worker more may be there, for which another stands aside"""
        for _ in range(self._missing(waiting, int(extra))):
            if self._stillborn >= STILLBORN_LIMIT:
                log(f"{self._stillborn} workers in a row died before their first request: giving up")
                self.leave(os.EX_SOFTWARE)
            try:
                threads = 1 if self._kind.forks else self._scaler.rule.in_one_process
                process = WorkerProcess.fork(threads, self._work)
            except OSError as error:
                log(f"cannot fork a worker: {error}")
                return  # tried again on the next round, at the latest after a second
            self._processes.append(process)
            for worker in process.workers:
                self._poll.register(worker.control, select.POLLIN)

    def _missing(self, waiting: int, extra: int) -> int:
        if not self._kind.forks:
            return 0 if self._processes else 1
        return self._scaler.missing(
            waiting=waiting,
            free=sum(worker.connection is None for worker in self.workers),  # also those about to say so
            workers=len(self._processes),
            unproven=sum(process.unproven for process in self._processes),
            extra=extra,
        )

    def retire_idle(self) -> None:
        """End who has been idle for long, the longest first. One always stays, so that a lone request never waits for a start."""
        free = self.free
        if len(self._processes) < 2 or not free:
            return
        limit = time.monotonic() - self._scaler.retired_after()
        for worker in free[: len(self._processes) - 1]:
            if worker.idle_since < limit:
                self.bury(worker.process)

    def bury(self, process: WorkerProcess) -> int:
        """Kill, reap and forget a process; returns its wait status. The next round starts another."""
        self._processes.remove(process)
        self._stillborn += process.born_dead
        for worker in process.workers:
            self._poll.unregister(worker.control)
        return process.end()

    def leave(self, status: int) -> NoReturn:
        """Kill all and end this process at once; clients see their connections close."""
        for process in self._processes:
            os.kill(process.pid, signal.SIGKILL)
        os._exit(status)

    def status(self) -> dict[str, Any]:
        now = time.monotonic()
        return {"pool": self._scaler.status(), "workers": [worker.status(now) for worker in self.workers]}
