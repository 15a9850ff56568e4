"""Chunks that wait for a whisper-cli compatible program, and the few places where one may run.

A process loads the model, so waiting chunks that ask for the same are handed over together.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, EngineUnavailable
from whisper.types import Call, ChunkTranscript

BATCH = 4
"""Chunks per process at most: enough to make loading the model cheap, few enough to keep results coming."""
POLL_SECONDS = 0.05
"""How often is looked whether a place is free, a caller has left, an output is there."""


@dataclass(eq=False)
class Request:
    """One chunk from the call to its answer. A batch is made of requests with equal `model` and `arguments`."""

    model: str
    arguments: tuple[str, ...]
    pcm: Pcm
    words: bool
    call: Call
    done: threading.Event = field(default_factory=threading.Event)
    abandoned: bool = False
    answer: ChunkTranscript | None = None
    error: Exception | None = None
    stderr: str = ""

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_RATE

    @property
    def op(self) -> str:
        return "detect" if "-dl" in self.arguments else "transcribe"

    @property
    def unwanted(self) -> bool:
        cancel = self.call.cancel
        return self.abandoned or (cancel is not None and cancel.is_set())

    def settle(self, answer: ChunkTranscript | Exception) -> None:
        if isinstance(answer, Exception):
            self.error = answer
        else:
            self.answer = answer
        self.done.set()


class CliQueue:
    """The requests of this process, and the processes that work on them.

    folder: of the lock files of the places, shared by the job processes
    places: processes at once over all of these
    run: works on a batch, in a thread of its own; settles at least one of its requests, and removes from the list what
        it settles. What it raises settles the others
    """

    def __init__(self, folder: Path, places: int, run: Callable[[list[Request]], None]) -> None:
        self._folder = folder
        self._places = places
        self._run_batch = run
        self._reset()
        reset = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def wait(self, request: Request) -> ChunkTranscript:
        """Its answer. Raises what it was settled with, Cancelled, and EngineUnavailable once the queue is closed."""
        with self._lock:
            if self._closed:
                raise EngineUnavailable("The engine has been closed.")
            self._waiting.append(request)
        try:
            while not request.done.wait(POLL_SECONDS):
                if request.unwanted:
                    raise Cancelled
                self._start_batch(request)
        finally:
            with self._lock:
                request.abandoned = True
                if request in self._waiting:
                    self._waiting.remove(request)
        if request.error is not None:
            raise request.error
        assert request.answer is not None
        return request.answer

    def __len__(self) -> int:
        """Requests that no process has been given yet."""
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """True while `close` waits for the batches to end."""
        return self._closed

    def close(self) -> None:
        """Stop the batches; calls under way raise EngineUnavailable. The queue may be used again."""
        with self._lock:
            self._closed = True
            self._put_back([])
            runners = list(self._runners)
        for runner in runners:
            runner.join()
        with self._lock:
            self._closed = False

    def _reset(self) -> None:
        """For a new process: the parent's calls and threads are not here, and its places are not ours to hold."""
        for lock in getattr(self, "_held", ()):
            os.close(lock)
        self._held: set[int] = set()
        self._lock = threading.Lock()
        self._waiting: list[Request] = []
        self._runners: set[threading.Thread] = set()
        self._closed = False

    def _start_batch(self, request: Request) -> None:
        """If there is a free place, start a process for the request and others like it."""
        with self._lock:
            if request not in self._waiting:
                return
            place = self._free_place()
            if place is None:
                return
            alike = [r for r in self._waiting if (r.model, r.arguments) == (request.model, request.arguments)]
            share = min(BATCH, -(-len(alike) // self._places)) if request.op == "transcribe" else 1
            batch = alike[:share]  # the oldest first, whoever noticed the free place
            self._waiting = [r for r in self._waiting if r not in batch]
            self._held.add(place)
            # a thread of its own: the child is tied to the life of the thread that starts it
            runner = threading.Thread(target=self._run, args=(batch, place), name="whisper-cli", daemon=True)
            self._runners.add(runner)
            runner.start()  # under the lock: `close` joins what it finds

    def _free_place(self) -> int | None:
        """The descriptor of a lock that is now ours."""
        for number in range(self._places):
            lock = os.open(self._folder / f"slot-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
            else:
                return lock
        return None

    def _run(self, batch: list[Request], place: int) -> None:
        left = list(batch)
        try:
            self._run_batch(left)
        except Exception as error:
            for request in left:
                request.settle(error)
            left = []
        finally:
            with self._lock:
                self._held.discard(place)
                os.close(place)
                self._put_back(left)
                self._runners.discard(threading.current_thread())

    def _put_back(self, left: list[Request]) -> None:
        """What was not reached is first in the next process; there is none once the queue is closed. Under the lock."""
        self._waiting = [request for request in left if not request.abandoned] + self._waiting
        if self._closed:
            for request in self._waiting:
                request.settle(EngineUnavailable("The engine has been closed."))
            self._waiting = []
