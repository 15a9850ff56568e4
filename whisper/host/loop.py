"""The engine host's loop: connections in, workers out, deadlines and deaths in between (see `whisper.host.main`)."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from whisper.host.pool import Pool
from whisper.host.worker import process_cpu, waited_for_cpu
from whisper.wire.frames import Frame, FrameError, FrameReader, FrameType, pack
from whisper.wire.process import close_all_but, die_with

HEADER_SECONDS = 10.0
"""A connection that has not sent its request by then is closed."""
ANSWER_SECONDS = 30.0
FIRST_TIMEOUT, SHORTEST_TIMEOUT, PATIENCE = 600.0, 20.0, 10.0
"""Deadline of a chunk for which none was given: 10 x the slowest good chunk so far, at least 20 s; 600 s before the first."""
MOST_STRETCH = 4.0
"""An overloaded machine lengthens a deadline up to this factor."""
MAX_CONNECTIONS = 512
STILLBORN_LIMIT = 3
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(eq=False)
class Connection:
    """A client's connection: reading its header, then waiting in the queue, then with a worker."""

    sock: socket.socket
    born: float
    reader: FrameReader = field(default_factory=FrameReader)
    request: dict[str, Any] | None = None
    worker: Worker | None = None

    @property
    def job(self) -> str:
        return str((self.request or {}).get("job", ""))


@dataclass(eq=False)
class Worker:
    """A forked worker.

    `idle_since`, `started` and `deadline` are monotonic seconds; the latter two hold while it is busy, as does `threads`
    """

    pid: int
    control: socket.socket
    reader: FrameReader = field(default_factory=FrameReader)
    idle: bool = False
    idle_since: float = 0.0
    born_dead: bool = True  # until it has said its first word
    unproven: bool = True  # until it has decoded
    connection: Connection | None = None
    job: str = ""
    label: str = ""
    started: float = 0.0
    timeout: float = 0.0
    deadline: float | None = None
    cpu: float = 0.0
    threads: int = 1


class Host:
    """The loop.

    listener: bound and listening Unix socket
    serve: run in each forked child with its control socket; returns when the child is to end
    pool: how many children there ought to be, and how many threads a chunk gets
    about: identity for status replies
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[socket.socket], None], *, pool: Pool, about: dict[str, Any]
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._pool = pool
        self._about = about
        self._poll = select.poll()
        self._handlers: dict[int, Connection | Worker] = {}
        self._queues: dict[str, deque[Connection]] = {}
        self._turns: dict[str, int] = {}  # when each job was last served, counted in chunks
        self._turn = 0
        self._workers: list[Worker] = []
        self._stillborn = 0
        self._slowest = 0.0
        self._done = self._lost = 0
        self._active = time.monotonic()
        self._listening = False

    def run(self) -> NoReturn:
        """Serve until killed."""
        self._listener.setblocking(False)
        parent = os.getppid()
        while os.getppid() == parent:  # where the kernel sends no signal (see die_with)
            self._end_overdue()
            self._hand_out()
            self._retire_idle()
            self._fork_missing()
            self._listen(len(self._handlers) < MAX_CONNECTIONS)
            for fd, events in self._poll.poll(self._pause() * 1000):
                if fd == self._listener.fileno():
                    self._accept()
                elif isinstance(handler := self._handlers.get(fd), Worker):
                    self._hear(handler)
                elif handler is not None:
                    self._on_connection(handler, events)
        self.stop()

    def stop(self) -> NoReturn:
        """Kill the workers and leave at once; their clients see the connection close."""
        for worker in self._workers:
            os.kill(worker.pid, signal.SIGKILL)
        os._exit(0)

    # -- clients

    def _listen(self, wanted: bool) -> None:
        if wanted and not self._listening:
            self._poll.register(self._listener, select.POLLIN)
        elif self._listening and not wanted:
            self._poll.unregister(self._listener)
        self._listening = wanted

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # the client has gone again, or there are no descriptors left
            return
        sock.setblocking(False)
        self._handlers[sock.fileno()] = Connection(sock, time.monotonic())
        self._poll.register(sock, select.POLLIN)

    def _on_connection(self, connection: Connection, events: int) -> None:
        if connection.request is not None:
            if events & _GONE:
                self._hung_up(connection)
            return
        try:
            frame = connection.reader.feed(connection.sock)
            if frame is not None:
                self._on_request(connection, frame)
        except FrameError as error:
            self._refuse(connection, "bad_request", str(error))
        except (EOFError, OSError):
            self._forget(connection)

    def _on_request(self, connection: Connection, frame: Frame) -> None:
        request, op = frame.body, frame.body.get("op")
        timeout = request.get("timeout")
        if frame.type is not FrameType.REQUEST or op not in ("transcribe", "detect", "ping", "status"):
            self._refuse(connection, "bad_request", f"unknown request {op!r}")
        elif timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            self._refuse(connection, "bad_request", "timeout must be a number of seconds above 0")
        elif op in ("ping", "status"):
            self._send(connection, FrameType.REPLY, self.status() if op == "status" else {})
            self._forget(connection)
        else:
            connection.request = {**request, "payload": frame.payload_len}
            self._poll.modify(connection.sock, 0)  # hang-ups alone: what may be read now is the worker's
            self._queues.setdefault(connection.job, deque()).append(connection)

    def _hung_up(self, connection: Connection) -> None:
        worker = connection.worker
        if worker is not None:
            self._hear(worker)  # it may have just answered: then the client was right to leave
            if worker.connection is not connection:
                return
            worker.connection, self._active = None, time.monotonic()
            self._bury(worker)
        else:
            self._queues[connection.job].remove(connection)
            if not self._queues[connection.job]:
                del self._queues[connection.job]
        self._forget(connection)

    def _refuse(self, connection: Connection, code: str, message: str, **details: Any) -> None:
        self._send(connection, FrameType.ERROR, {"code": code, "message": message, **details})
        self._forget(connection)

    def _send(self, connection: Connection, kind: FrameType, body: dict[str, Any]) -> None:
        """Nothing was sent to this client before, so a small frame fits into its socket's buffer whole."""
        try:
            connection.sock.send(pack(kind, body))
        except OSError:
            pass  # gone: there is nobody to tell

    def _forget(self, connection: Connection) -> None:
        del self._handlers[connection.sock.fileno()]
        self._poll.unregister(connection.sock)
        connection.sock.close()

    # -- workers

    def _fork_missing(self) -> None:
        free = sum(worker.connection is None for worker in self._workers)  # also those about to say so
        waiting, unproven = sum(map(len, self._queues.values())), sum(worker.unproven for worker in self._workers)
        for _ in range(self._pool.missing(waiting=waiting, free=free, workers=len(self._workers), unproven=unproven)):
            if self._stillborn >= STILLBORN_LIMIT:
                log(f"{self._stillborn} workers in a row died before their first chunk: giving up")
                for worker in self._workers:
                    os.kill(worker.pid, signal.SIGKILL)
                os._exit(70)
            ours, theirs = socket.socketpair()
            try:
                pid = os.fork()
            except OSError as error:
                log(f"cannot fork a worker: {error}")
                ours.close()
                theirs.close()
                return  # tried again on the next round, at the latest after a second
            if pid == 0:
                self._child(theirs)
            theirs.close()
            ours.setblocking(False)
            worker = Worker(pid, ours)
            self._workers.append(worker)
            self._handlers[ours.fileno()] = worker
            self._poll.register(ours, select.POLLIN)

    def _child(self, control: socket.socket) -> NoReturn:
        parent, code = os.getppid(), 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with(parent)
            close_all_but(control.fileno())
            self._serve(control)
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(code)

    def _retire_idle(self) -> None:
        """End who has been idle for long, the longest first. One always stays, so that a lone chunk never waits for a fork."""
        idle = sorted((worker for worker in self._workers if worker.idle), key=lambda worker: worker.idle_since)
        if len(self._workers) < 2 or not idle:
            return
        limit = time.monotonic() - self._pool.retired_after()
        for worker in idle[: len(self._workers) - 1]:
            if worker.idle_since < limit:
                self._bury(worker)

    def _hand_out(self) -> None:
        free = sorted((worker for worker in self._workers if worker.idle), key=lambda worker: worker.idle_since)
        while free and self._queues:
            job = self._next_job()
            connection = self._queues[job].popleft()
            if not self._queues[job]:
                del self._queues[job]
            worker = free.pop()
            taken = sum(other.threads for other in self._workers if other.connection is not None)
            threads = self._pool.threads(taken=taken, waiting=sum(map(len, self._queues.values())))
            request = {**(connection.request or {}), "threads": threads}
            packed = pack(FrameType.EVENT, request)  # the cap of an event: the host has added to the request
            try:
                sent = socket.send_fds(worker.control, [b"\0" + packed], [connection.sock.fileno()])
            except OSError:
                sent = 0
            if sent != len(packed) + 1:  # it has died meanwhile
                self._queues.setdefault(job, deque()).appendleft(connection)
                self._bury(worker)
                continue
            self._turn += 1
            self._turns[job] = self._turn
            now = time.monotonic()
            worker.idle, worker.connection, connection.worker = False, connection, worker
            worker.job, worker.label = connection.job, str(request.get("label", ""))
            worker.started = self._active = now
            worker.threads = threads
            worker.timeout = request.get("timeout") or self._own_timeout()
            worker.deadline = now + worker.timeout
            worker.cpu, _ = process_cpu(worker.pid)

    def _next_job(self) -> str:
        """The waiting job that has the fewest workers, and among equals the one whose last turn is longest ago."""
        running = [worker.job for worker in self._workers if worker.connection is not None]
        if len(self._turns) > MAX_CONNECTIONS:
            self._turns = {job: turn for job, turn in self._turns.items() if job in self._queues}
        return min(self._queues, key=lambda job: (running.count(job), self._turns.get(job, 0)))

    def _own_timeout(self) -> float:
        return max(SHORTEST_TIMEOUT, PATIENCE * self._slowest) if self._slowest else FIRST_TIMEOUT

    def _hear(self, worker: Worker) -> None:
        try:
            while (frame := worker.reader.feed(worker.control)) is not None:
                worker.reader = FrameReader()
                self._on_event(worker, frame.body)
        except (EOFError, FrameError, OSError):
            self._died(worker)

    def _on_event(self, worker: Worker, event: dict[str, Any]) -> None:
        worker.born_dead, self._stillborn, self._active = False, 0, time.monotonic()
        if event["event"] == "answering":
            if event["good"]:
                self._slowest = max(self._slowest, event["seconds"])
            self._done += 1
            worker.unproven = False
            worker.deadline = time.monotonic() + ANSWER_SECONDS
            if worker.connection is not None:
                self._forget(worker.connection)
                worker.connection = None
        else:
            if worker.connection is not None:  # it found its client gone
                self._forget(worker.connection)
                worker.connection = None
            worker.idle, worker.idle_since, worker.deadline = event["event"] == "idle", self._active, None

    def _died(self, worker: Worker) -> None:
        """Its end of the control socket is closed: it was killed, crashed, or has retired."""
        connection, worker.connection = worker.connection, None
        self._active = time.monotonic()
        if worker.born_dead:
            self._stillborn += 1
        status = self._bury(worker)
        if connection is not None:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            name = signal.Signals(number).name if number else f"exit status {os.waitstatus_to_exitcode(status)}"
            log(f"worker {worker.pid} died on a chunk: {name}")
            self._refuse(connection, "worker_died", f"the worker died on this chunk ({name})", signal=number)

    def _bury(self, worker: Worker) -> int:
        """Kill, reap and forget a worker; returns its wait status. The loop forks the next one."""
        if worker.deadline is not None:
            self._lost += 1
        self._workers.remove(worker)
        del self._handlers[worker.control.fileno()]
        self._poll.unregister(worker.control)
        worker.control.close()
        os.kill(worker.pid, signal.SIGKILL)
        return os.waitpid(worker.pid, 0)[1]

    # -- time

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for connection in [c for c in self._handlers.values() if isinstance(c, Connection) and c.request is None]:
            if now - connection.born > HEADER_SECONDS:
                self._refuse(connection, "bad_request", "the request did not come")
        for worker in list(self._workers):
            if worker.deadline is not None and now >= worker.deadline:
                self._overdue(worker, now)

    def _pause(self) -> float:
        """Seconds the loop may sleep."""
        now = time.monotonic()
        return max(0.0, min([1.0, *(w.deadline - now for w in self._workers if w.deadline is not None)]))

    def _overdue(self, worker: Worker, now: float) -> None:
        self._hear(worker)
        if worker not in self._workers or worker.deadline is None or worker.deadline > now:
            return
        connection, worker.connection = worker.connection, None
        wall = now - worker.started
        if connection is not None:
            cpu, runnable = process_cpu(worker.pid)
            waited = waited_for_cpu(wall, cpu - worker.cpu, threads=worker.threads, runnable=runnable)
            later = worker.started + min(worker.timeout + waited, worker.timeout * MOST_STRETCH)
            if later > now + 0.05:
                worker.connection, worker.deadline = connection, later
                return
        log(f"worker {worker.pid} killed: its chunk took {wall:.1f} s, {worker.timeout:.1f} s were allowed")
        self._active = now
        self._bury(worker)
        if connection is not None:
            message = f"the chunk was not done after {wall:.1f} s"
            self._refuse(connection, "chunk_timeout", message, seconds=wall, timeout=worker.timeout)

    def status(self) -> dict[str, Any]:
        """The pool, pids, what they do, queue lengths by job; idle_seconds since anything was handed out or finished."""
        now = time.monotonic()
        busy = any(not w.idle for w in self._workers) or bool(self._queues)
        return {
            **self._about,
            "pid": os.getpid(),
            "done": self._done,
            "lost": self._lost,
            "idle_seconds": 0.0 if busy else now - self._active,
            "queued": {job: len(queue) for job, queue in self._queues.items()},
            "pool": self._pool.status(),
            "workers": [
                {"pid": w.pid, "idle": w.idle}
                | (
                    {}
                    if w.deadline is None
                    else {"job": w.job, "label": w.label, "seconds": now - w.started, "threads": w.threads}
                )
                for w in self._workers
            ],
        }


def log(text: str) -> None:
    """One line to the manager, which relays it."""
    print(f"whisper.host {os.getpid()}: {text}", file=sys.stderr, flush=True)
