"""The engine of WHISPER_EXECUTABLE: any whisper-cli compatible program, several chunks per process.

A process loads the model, so waiting chunks that ask for the same are handed over together. At most `workers`
processes run at once over all job processes: each holds a lock file. Nothing is believed but a parsed output;
exit codes are 0 for most failures.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, ChunkFailed, ChunkTimeout, DiskFull, EngineUnavailable, ModelInvalid
from core.system.cancel import Cancel
from core.system.disk import is_full
from core.system.processes import Limits, spawn, stop
from whisper.engine.cli_program import CliOutput, CliProgram, output_of, read_detection, read_output, write_wav
from whisper.kinds.whisper import WhisperKind
from whisper.models.ggml import read_header
from whisper.types import ChunkTranscript, LanguageGuess, TranscribeOptions, Urgency
from whisper.wire.deadlines import Deadlines
from whisper.wire.process import engine_environment

BATCH = 4
"""Chunks per process at most: enough to make loading the model cheap, few enough to keep results coming."""
LOADING_SECONDS = 60.0
"""Added to the first chunk's deadline: the program loads the model first."""
_POLL = 0.05
_CANNOT_EXECUTE = 127


@dataclass(eq=False)
class _Request:
    """One chunk from the call to its answer. A batch is made of requests with equal `model` and `arguments`."""

    model: str
    arguments: tuple[str, ...]
    pcm: Pcm
    words: bool
    timeout: float | None
    cancel: Cancel | None
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
        return self.abandoned or (self.cancel is not None and self.cancel.is_set())

    def settle(self, answer: ChunkTranscript | Exception) -> None:
        if isinstance(answer, Exception):
            self.error = answer
        else:
            self.answer = answer
        self.done.set()


class CliEngine:
    """Engine over an executable. To fill its batches let up to `workers * BATCH` calls wait at once.

    work_dir: a folder of its own for lock files and audio in flight; shared by the job processes
    workers, threads: processes at once, and threads of each

    Raises EngineUnavailable when the executable cannot be used. Calls also raise DiskFull when there is no space for audio.
    """

    hears_languages = False

    def __init__(self, executable: Path, work_dir: Path, *, workers: int = 1, threads: int = 1, nice: int = 0) -> None:
        self._program = CliProgram(executable, threads=threads)
        self._folder = work_dir.absolute()
        self._workers = workers
        self._nice = nice
        self._deadlines = Deadlines({name: op.seconds for name, op in WhisperKind.ops.items()})
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # the program loads any libggml-*.so it finds in its working directory: give it one without files
        self._empty = self._folder / "empty"
        self._empty.mkdir(mode=0o500, exist_ok=True)
        self._reset()
        reset = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def transcribe(
        self,
        model: str,
        pcm: Pcm,
        options: TranscribeOptions,
        *,
        job: str = "",
        owner: str = "",
        label: str = "",
        timeout: float | None = None,
        urgency: Urgency = Urgency.JOB,
        cancel: Cancel | None = None,
    ) -> ChunkTranscript:
        arguments = self._program.decode_arguments(options)
        return self._wait(_Request(model, arguments, pcm, options.word_timestamps, timeout, cancel))

    def detect_language(
        self,
        model: str,
        pcm: Pcm,
        *,
        job: str = "",
        owner: str = "",
        timeout: float | None = None,
        urgency: Urgency = Urgency.JOB,
        cancel: Cancel | None = None,
    ) -> LanguageGuess:
        if not read_header(Path(model)).multilingual:
            return LanguageGuess(language="en", probability=1.0, probabilities={"en": 1.0}, engine_seconds=0.0)
        request = _Request(model, self._program.detect_arguments(), pcm, False, timeout, cancel)
        answer = self._wait(request)
        found = read_detection(request.stderr)
        if found is None:
            raise ChunkFailed(f"{self._program.path.name} did not say which language it detected.")
        language, probability = found
        return LanguageGuess(
            language=language,
            probability=probability,
            probabilities={language: probability},
            engine_seconds=answer.engine_seconds,
        )

    @property
    def waiting(self) -> int:
        """Chunks of this process that no program has been given yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Stop this process's batches; calls under way raise EngineUnavailable. The engine may be used again."""
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
        for slot in getattr(self, "_slots", ()):
            os.close(slot)
        self._slots: set[int] = set()
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []
        self._runners: set[threading.Thread] = set()
        self._closed = False

    # -- from calls to batches

    def _wait(self, request: _Request) -> ChunkTranscript:
        if request.unwanted:
            raise Cancelled
        read_header(Path(request.model))
        with self._lock:
            if self._closed:
                raise EngineUnavailable("The engine has been closed.")
            self._waiting.append(request)
        try:
            while not request.done.wait(_POLL):
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

    def _start_batch(self, request: _Request) -> None:
        """If there is a free place, start a process for the request and others like it."""
        with self._lock:
            if request not in self._waiting:
                return
            slot = self._free_slot()
            if slot is None:
                return
            alike = [r for r in self._waiting if (r.model, r.arguments) == (request.model, request.arguments)]
            share = min(BATCH, -(-len(alike) // self._workers)) if request.op == "transcribe" else 1
            batch = alike[:share]  # the oldest first, whoever noticed the free place
            self._waiting = [r for r in self._waiting if r not in batch]
            self._slots.add(slot)
            # a thread of its own: the child is tied to the life of the thread that starts it
            runner = threading.Thread(target=self._run, args=(batch, slot), name="whisper-cli", daemon=True)
            self._runners.add(runner)
            runner.start()  # under the lock: `close` joins what it finds

    def _free_slot(self) -> int | None:
        for number in range(self._workers):
            slot = os.open(self._folder / f"slot-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(slot)
            else:
                return slot
        return None

    # -- one process

    def _run(self, batch: list[_Request], slot: int) -> None:
        left = list(batch)
        try:
            self._run_program(left)
        except Exception as error:
            full = is_full(error)
            for request in left:
                request.settle(DiskFull(f"There is no space left in {self._folder}.") if full else error)
            left = []
        finally:
            with self._lock:
                self._slots.discard(slot)
                os.close(slot)
                self._put_back(left)
                self._runners.discard(threading.current_thread())

    def _put_back(self, left: list[_Request]) -> None:
        """What was not reached is first in the next process; there is none once the engine is closed. Under the lock."""
        self._waiting = [request for request in left if not request.abandoned] + self._waiting
        if self._closed:
            for request in self._waiting:
                request.settle(EngineUnavailable("The engine has been closed."))
            self._waiting = []

    def _run_program(self, left: list[_Request]) -> None:
        """Settles at least one of the requests and removes what it settles from the list."""
        with self._folder_in_use() as folder:
            files: dict[_Request, Path] = {}
            for number, request in enumerate(list(left)):
                try:
                    write_wav(folder / f"{number}.wav", request.pcm)
                    files[request] = folder / f"{number}.wav"
                except ChunkFailed as error:
                    left.remove(request)
                    request.settle(error)
            if not left:
                return
            with (folder / "stderr").open("w+b") as stderr:
                command = self._program.command(left[0].model, left[0].arguments, list(files.values()))
                process = self._spawn(command, stderr)
                try:
                    answered = self._collect(process, left, files, folder / "stderr")
                finally:
                    status = stop(process)
            if status == _CANNOT_EXECUTE:
                raise EngineUnavailable(f"{self._program.path} cannot be run: {_tail(folder / 'stderr')}")
            if left and not answered and not self._closed:
                self._check_model(left[0].model, folder)
                left.pop(0).settle(_failure(self._program.path.name, status, folder / "stderr"))

    def _collect(
        self, process: subprocess.Popen[bytes], left: list[_Request], files: dict[_Request, Path], stderr: Path
    ) -> bool:
        """Take outputs as they appear, in order. Ends with the process; True if anything was settled."""
        meter, began, load = _CpuMeter(process.pid), time.monotonic(), LOADING_SECONDS
        settled = False
        while True:
            ended = process.poll() is not None  # looked at first: what it wrote before ending is then there
            for position, request in enumerate(list(left)):
                output = self._output(request, files)
                if output is None:
                    continue
                if any(self._output(earlier, files) for earlier in left[:position]):
                    break  # complete since we looked: its turn is first
                for skipped in left[:position]:  # the program goes on after a file that it cannot do
                    skipped.settle(_failure(self._program.path.name, 0, stderr))
                request.stderr = stderr.read_text("utf-8", "replace") if request.op == "detect" else ""
                now = time.monotonic()
                self._deadlines.note(request.op, now - began, threads=1)
                request.settle(self._transcript(output, cpu=meter.lap(), wall=now - began))
                del left[: left.index(request) + 1]
                began, load, settled = now, 0.0, True
                break
            else:
                if ended or not left:
                    return settled
                limit = left[0].timeout or self._deadlines.of(left[0].op, threads=1)
                if left[0].unwanted:
                    left.pop(0).settle(Cancelled())
                    return True
                if self._closed:
                    raise EngineUnavailable("The engine has been closed.")
                if time.monotonic() - began > limit + load:
                    left.pop(0).settle(
                        ChunkTimeout(
                            f"A chunk took longer than the {limit:.0f} s it was given: raise CHUNK_TIMEOUT, or use fewer "
                            "workers or a smaller model.",
                            timeout=limit,
                        )
                    )
                    return True
                meter.look()
                time.sleep(_POLL)

    @staticmethod
    def _output(request: _Request, files: dict[_Request, Path]) -> CliOutput | None:
        return read_output(output_of(files[request]), seconds=request.seconds, words=request.words)

    def _transcript(self, output: CliOutput, *, cpu: float, wall: float) -> ChunkTranscript:
        return ChunkTranscript(
            segments=output.segments,
            language=output.language,
            no_speech_prob=None,
            engine_seconds=cpu,
            wall_seconds=wall,
            engine={"library": self._program.path.name, "version": self._program.version},
        )

    def _check_model(self, model: str, folder: Path) -> None:
        """Raises ModelInvalid when the program fails on a second of silence too: then it is not the chunk's fault."""
        silence, log = folder / "silence.wav", folder / "check"
        write_wav(silence, np.zeros(SAMPLE_RATE, np.int16))
        with log.open("w+b") as stderr:
            process = self._spawn(self._program.command(model, ("-oj", "-l", "en", "-bs", "1"), [silence]), stderr)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOADING_SECONDS)
            stop(process)
        if read_output(output_of(silence), seconds=1.0, words=False) is None:
            raise ModelInvalid(f"{self._program.path.name} cannot use {Path(model).name}: {_tail(log)}")

    def _spawn(self, command: list[str], stderr: Any) -> subprocess.Popen[bytes]:
        return spawn(command, limits=Limits(nice=self._nice), stderr=stderr, env=engine_environment(), cwd=self._empty)

    @contextlib.contextmanager
    def _folder_in_use(self) -> Iterator[Path]:
        """A private folder, removed afterwards; what a killed process left is removed by the next one."""
        for old in self._folder.glob("batch-*"):
            owner = old.name.split("-")[1]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                with contextlib.suppress(OSError):  # another is at it too
                    _remove(old)
        folder = Path(tempfile.mkdtemp(prefix=f"batch-{os.getpid()}-", dir=self._folder))
        try:
            yield folder
        finally:
            _remove(folder)


class _CpuMeter:
    """CPU seconds of a running process between one lap and the next, as of the last look."""

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            self._process = psutil.Process(pid)
        self._now = self._before = 0.0

    def look(self) -> None:
        if self._process is not None:
            with contextlib.suppress(psutil.Error):
                times = self._process.cpu_times()
                self._now = max(self._now, times.user + times.system)

    def lap(self) -> float:
        self.look()
        passed, self._before = self._now - self._before, self._now
        return passed


def _failure(program: str, status: int, stderr: Path) -> ChunkFailed:
    details = {"signal": -status} if status < 0 else {}
    how = f"was killed by signal {-status}" if status < 0 else f"gave no transcript (status {status})"
    return ChunkFailed(f"{program} {how}: {_tail(stderr)}", **details)


def _tail(file: Path) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in file.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink(missing_ok=True)
    folder.rmdir()
