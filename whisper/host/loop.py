"""The engine host's loop: requests to workers, deadlines and deaths in between (see `whisper.host.main`)."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from whisper.host.clients import Clients, Connection
from whisper.host.request_queue import RequestQueue
from whisper.host.scaling import Autoscaler
from whisper.host.worker_pool import WorkerPool
from whisper.host.worker_process import MOST_PAUSED, Work, Worker, WorkerProcess, how_it_ended, log
from whisper.types import Urgency
from whisper.wire.deadlines import Deadlines
from whisper.wire.frames import FrameError, FrameReader, FrameType
from whisper.wire.kind import Kind

ANSWER_SECONDS = 30.0
CANNOT_START = 3
"""Exit status of a host whose model cannot be loaded."""
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Host:
    """The loop.

    listener: bound and listening Unix socket
    work: run in each child
    scaler: how many workers there ought to be, and how many threads a request gets
    about: identity for status replies
    announce: told once: {"version"} when the first worker is ready, or {"code", "message"} of why none can be
    """

    def __init__(
        self,
        listener: socket.socket,
        kind: Kind,
        work: Work,
        *,
        scaler: Autoscaler,
        about: dict[str, Any],
        announce: Callable[[dict[str, Any]], object],
    ) -> None:
        self._kind = kind
        self._scaler = scaler
        self._about = about
        self._announce = announce
        self._poll = select.poll()
        self._clients = Clients(listener, self._poll, kind.ops)
        self._pool = WorkerPool(kind, work, scaler, self._poll)
        self._queue = RequestQueue()
        self._deadlines = Deadlines({name: op.seconds for name, op in kind.ops.items()})
        self._done = self._lost = 0
        self._active = time.monotonic()
        self._announced = False

    def run(self) -> NoReturn:
        """Serve until killed."""
        parent = os.getppid()
        while os.getppid() == parent:  # where the kernel sends no signal (see die_with)
            self._end_overdue()
            self._hand_out()
            self._pool.retire_idle()
            extra = self._queue.urgent and any(worker.yields for worker in self._busy)
            self._pool.start_missing(len(self._queue), extra=extra)
            self._clients.listen()
            for fd, events in self._poll.poll(self._pause() * 1000):
                if (worker := self._pool.at(fd)) is not None:
                    self._hear(worker)
                elif (connection := self._clients.at(fd)) is not None:
                    self._on_connection(connection, events)
        self.stop()

    def stop(self) -> NoReturn:
        """Leave at once, and the workers with it."""
        self._pool.leave(0)

    def _on_connection(self, connection: Connection, events: int) -> None:
        if connection.request is not None:
            if events & _GONE:
                self._hung_up(connection)
        elif self._clients.read(connection):
            self._queue.add(connection)
        elif connection.request is not None:
            self._clients.answer(connection, FrameType.REPLY, self.status())

    def _hung_up(self, connection: Connection) -> None:
        worker = next((worker for worker in self._pool.workers if worker.connection is connection), None)
        if worker is not None:
            self._hear(worker)  # it may have just answered: then the client was right to leave
            if worker.connection is not connection:
                return
            worker.connection, self._active = None, time.monotonic()
            if self._kind.forks:  # a thread may look whether it is wanted, and must end by its deadline
                self._bury(worker.process)
        else:
            self._queue.remove(connection)
        self._clients.forget(connection)

    @property
    def _busy(self) -> list[Worker]:
        return [worker for worker in self._pool.workers if worker.deadline is not None]

    def _hand_out(self) -> None:
        self._go_on()
        free = self._pool.free
        while free and self._queue:
            working = [worker for worker in self._busy if worker.paused_at is None]
            connection = self._queue.first([other.whose for other in working])
            if not self._has_room(working):
                return
            worker, working = free.pop(), [other for other in working if other.paused_at is None]
            taken = sum(other.threads for other in working)
            live = connection.urgency is Urgency.LIVE
            threads = self._scaler.threads(taken=taken, waiting=len(self._queue) - 1, live=live)
            request, now = connection.request or {}, time.monotonic()
            timeout = request.get("timeout") or self._deadlines.of(request["op"], threads=threads)
            if worker.give(connection, threads=threads, timeout=timeout, now=now):
                self._queue.take(connection)
                self._active = now
            else:
                self._died(worker.process)
                free = self._pool.free

    def _has_room(self, working: list[Worker]) -> bool:
        """Whether one more request may be worked on: an urgent one makes the last of the others stand aside.

        So no more workers than there are to be compute at once, and nothing that was done is lost.
        """
        if not self._kind.forks or len(working) < self._scaler.rule.most:
            return True
        others = [worker for worker in working if worker.yields] if self._queue.urgent else []
        if others:
            max(others, key=lambda worker: worker.started).pause(time.monotonic())
        return bool(others)

    def _go_on(self) -> None:
        """Those that stand aside, once there is room again and nothing urgent waits; at the latest when they have done so for long."""
        now, busy = time.monotonic(), self._busy
        room = self._scaler.rule.most - sum(worker.paused_at is None for worker in busy)
        for worker in busy:
            if worker.paused_at is None:
                continue
            long = worker.paused + now - worker.paused_at >= MOST_PAUSED
            if room > 0 and (long or not self._queue.urgent):
                worker.go_on(now)
                room -= 1

    # -- what workers say

    def _hear(self, worker: Worker) -> None:
        try:
            while worker in self._pool and (frame := worker.reader.feed(worker.control)) is not None:
                worker.reader = FrameReader()
                self._on_event(worker, frame.body)
        except (EOFError, FrameError, OSError):
            self._died(worker.process)

    def _on_event(self, worker: Worker, event: dict[str, Any]) -> None:
        process, now = worker.process, time.monotonic()
        worker.go_on(now)  # it was done just when it was told to stand aside
        match event.pop("event"):
            case "loaded":
                self._pool.loaded(process)
                self._announce_once(event)
            case "failed":
                self._announce_once(event, last=True)
                log(f"worker {process.pid} cannot load the model: {event['message']}")
            case "answering":
                if event["good"]:
                    seconds = event["seconds"] - worker.paused
                    self._deadlines.note(worker.request["op"], seconds, threads=worker.threads)
                self._done += 1
                self._active, process.unproven = now, False
                worker.deadline = now + ANSWER_SECONDS
                self._let_go(worker)
            case ended:  # idle or retiring
                self._active = now
                self._let_go(worker)  # if it has a client still, it found it gone
                worker.idle, worker.idle_since, worker.deadline = ended == "idle", now, None
                process.retiring |= ended == "retiring"
                if process.retiring and not process.busy:
                    self._bury(process)

    def _let_go(self, worker: Worker) -> None:
        if (connection := worker.let_go()) is not None:
            self._clients.forget(connection)

    def _announce_once(self, said: dict[str, Any], *, last: bool = False) -> None:
        if not self._announced:
            self._announced = True
            self._announce(said)
            if last:
                self._pool.leave(CANNOT_START)

    def _died(self, process: WorkerProcess) -> None:
        """Its end of the control sockets is closed: it was killed, or crashed."""
        self._active = time.monotonic()
        clients = [client for worker in process.workers if (client := worker.let_go()) is not None]
        name, number = how_it_ended(self._bury(process))
        for client in clients:
            log(f"worker {process.pid} died on a request: {name}")
            self._clients.refuse(client, "worker_died", f"the worker died on this chunk ({name})", signal=number)

    def _bury(self, process: WorkerProcess) -> int:
        """End a process; returns its wait status.

        Whoever still waits for one of its workers is not to blame: the connection closes, and the client asks again.
        """
        self._lost += sum(worker.deadline is not None for worker in process.workers)
        for worker in process.workers:
            self._let_go(worker)
        return self._pool.bury(process)

    # -- time

    def _pause(self) -> float:
        """Seconds the loop may sleep."""
        deadlines = [
            worker.deadline for worker in self._busy if worker.deadline is not None and worker.paused_at is None
        ]
        return max(0.0, min([1.0, *(deadline - time.monotonic() for deadline in deadlines)]))

    def _end_overdue(self) -> None:
        self._clients.end_mute()
        now = time.monotonic()
        for worker in self._pool.workers:
            if worker.deadline is not None and worker.paused_at is None and now >= worker.deadline:
                self._overdue(worker, now)

    def _overdue(self, worker: Worker, now: float) -> None:
        self._hear(worker)
        if worker not in self._pool or worker.deadline is None or worker.deadline > now:
            return
        if worker.connection is not None and (later := worker.stretched(now)) > now + 0.05:
            worker.deadline = later
            return
        client, wall, allowed = worker.let_go(), now - worker.started, worker.timeout
        log(f"worker {worker.process.pid} killed: its request took {wall:.1f} s, {allowed:.1f} s were allowed")
        self._active = now
        self._bury(worker.process)
        if client is not None:
            message = f"the chunk was not done after {wall:.1f} s"
            self._clients.refuse(client, "chunk_timeout", message, seconds=wall, timeout=allowed)

    def status(self) -> dict[str, Any]:
        """Workers, what they do, queue lengths by job; idle_seconds since anything was handed out or finished."""
        busy = any(not worker.idle for worker in self._pool.workers) or bool(self._queue)
        return {
            **self._about,
            "pid": os.getpid(),
            "done": self._done,
            "lost": self._lost,
            "idle_seconds": 0.0 if busy else time.monotonic() - self._active,
            "queued": self._queue.by_job(),
            **self._pool.status(),
        }
