"""A host's workers as the host sees them: what each is doing, how long it may take, how it is started and ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from whisper.host.clients import Connection
from whisper.types import Urgency
from whisper.wire.frames import FrameReader, FrameType, pack
from whisper.wire.process import close_all_but, die_with

MOST_PAUSED = 10.0
"""Seconds for which one request may have to stand aside for urgent ones, in all; the last of these is not cut short."""

MOST_STRETCH = 4.0
"""An overloaded machine lengthens a deadline up to this factor."""

Work = Callable[[Sequence[socket.socket]], object]
"""What a worker process runs: one request at a time per control socket, until it is to end."""


@dataclass(eq=False)
class Worker:
    """Works on one request at a time: a forked process of its own, or one of the threads of a process.

    Times are monotonic seconds. `started`, `timeout`, `threads` are those of the request that it has, or had last.
    """

    process: WorkerProcess
    control: socket.socket
    reader: FrameReader = field(default_factory=FrameReader)
    idle: bool = False
    idle_since: float = 0.0
    connection: Connection | None = None
    request: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    timeout: float = 0.0
    #: None while it has nothing to do
    deadline: float | None = None
    cpu: float = 0.0
    threads: int = 1
    #: since when it stands aside (its process is stopped), and for how long its request has done so before
    paused_at: float | None = None
    paused: float = 0.0

    @property
    def job(self) -> str:
        return str(self.request.get("job", ""))

    @property
    def urgency(self) -> Urgency:
        return Urgency(self.request.get("urgency", Urgency.JOB))

    @property
    def yields(self) -> bool:
        """Whether it may be told to stand aside for an urgent request."""
        at_work = self.connection is not None and self.paused_at is None
        return at_work and self.urgency is Urgency.JOB and self.paused < MOST_PAUSED

    @property
    def whose(self) -> tuple[str, str]:
        """The owner of its request and its job."""
        return str(self.request.get("owner", "")), self.job

    def give(self, connection: Connection, *, threads: int, timeout: float, now: float) -> bool:
        """Hand over a client's descriptor with its request; False when the process has died meanwhile."""
        request = {**(connection.request or {}), "threads": threads}
        packed = pack(FrameType.EVENT, request)  # the cap of an event: the host has added to the request
        try:
            sent = socket.send_fds(self.control, [b"\0" + packed], [connection.sock.fileno()])
        except OSError:
            sent = 0
        if sent != len(packed) + 1:
            return False
        self.idle, self.connection = False, connection
        self.request, self.threads = request, threads
        self.started, self.timeout, self.deadline = now, timeout, now + timeout
        self.cpu, _ = process_cpu(self.process.pid)
        self.paused_at, self.paused = None, 0.0
        return True

    def pause(self, now: float) -> None:
        """Stop its process, which keeps what it has done. Its time stands still."""
        os.kill(self.process.pid, signal.SIGSTOP)
        self.paused_at = now

    def go_on(self, now: float) -> None:
        if self.paused_at is None:
            return
        os.kill(self.process.pid, signal.SIGCONT)
        stood, self.paused_at = now - self.paused_at, None
        self.paused += stood
        self.started += stood
        self.deadline = None if self.deadline is None else self.deadline + stood

    def let_go(self) -> Connection | None:
        """The client it worked for, who is now somebody else's matter."""
        connection, self.connection = self.connection, None
        return connection

    def stretched(self, now: float) -> float:
        """The deadline, put off by what the machine has denied this worker."""
        cpu, runnable = process_cpu(self.process.pid)
        waited = waited_for_cpu(now - self.started, cpu - self.cpu, threads=self.threads, runnable=runnable)
        return self.started + min(self.timeout + waited, self.timeout * MOST_STRETCH)

    def status(self, now: float) -> dict[str, Any]:
        about = {"pid": self.process.pid, "idle": self.idle}
        if self.deadline is None:
            return about
        doing = {"job": self.job, "label": str(self.request.get("label", "")), "threads": self.threads}
        if self.paused_at is not None:
            doing["paused"] = now - self.paused_at
        return about | doing | {"seconds": now - self.started, "timeout": self.timeout}


@dataclass(eq=False)
class WorkerProcess:
    """One process and its workers: one worker where the kind forks, all of a host's where it runs threads."""

    pid: int
    workers: list[Worker] = field(default_factory=list)
    #: until it has said its first word
    born_dead: bool = True
    #: until it has done a request, so that its memory does not show yet
    unproven: bool = True
    #: it gets nothing more, and ends with what it has
    retiring: bool = False

    @staticmethod
    def fork(width: int, work: Work) -> WorkerProcess:
        """A child with `width` workers. Raises OSError."""
        pairs = [socket.socketpair() for _ in range(width)]
        try:
            pid = os.fork()
        except OSError:
            for ours, theirs in pairs:
                ours.close()
                theirs.close()
            raise
        if pid == 0:
            _run([theirs for _, theirs in pairs], work)
        process = WorkerProcess(pid)
        for ours, theirs in pairs:
            theirs.close()
            ours.setblocking(False)
            process.workers.append(Worker(process, ours))
        return process

    @property
    def busy(self) -> bool:
        return any(worker.deadline is not None for worker in self.workers)

    def end(self) -> int:
        """Kill and reap it; returns its wait status."""
        for worker in self.workers:
            worker.control.close()
        os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


def _run(controls: Sequence[socket.socket], work: Work) -> NoReturn:
    parent, code = os.getppid(), 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(parent)
        close_all_but(*(control.fileno() for control in controls))
        work(controls)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def how_it_ended(status: int) -> tuple[str, int]:
    """(in words, the signal's number or 0)."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return signal.Signals(number).name if number else f"exit status {os.waitstatus_to_exitcode(status)}", number


def process_cpu(pid: int) -> tuple[float, bool]:
    """(CPU seconds so far, whether any of its threads is running or waiting for a core); (0, False) where unknown."""
    try:
        states = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/task/{thread}/stat", "rb") as stat:
                states.append(stat.read().rpartition(b")")[2].split()[0])
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0, False
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), b"R" in states


def waited_for_cpu(wall: float, cpu: float, *, threads: int, runnable: bool) -> float:
    """Seconds of `wall` that a worker did not get a core for, as far as can be told.

    A worker that wants to run and got less CPU than time went by is on an overloaded (or throttled) machine. One
    that is not runnable hangs, and one that got its share is merely slow: neither earns more time.
    """
    return max(0.0, wall - cpu / threads) if runnable else 0.0


def log(text: str) -> None:
    """One line to the manager, which relays it."""
    print(f"whisper.host {os.getpid()}: {text}", file=sys.stderr, flush=True)
