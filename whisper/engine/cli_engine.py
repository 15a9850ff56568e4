"""The engine of WHISPER_EXECUTABLE: any whisper-cli compatible program, several chunks per process.

Nothing is believed but a parsed output: exit codes are 0 for most failures.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, ChunkFailed, ChunkTimeout, EngineUnavailable, ModelInvalid
from core.system.cancel import raise_if_cancelled
from core.system.disk import disk_full
from core.system.processes import Limits, spawn, stop
from whisper.engine.cli_program import CliOutput, CliProgram, output_of, read_detection, read_output, write_wav
from whisper.engine.cli_queue import POLL_SECONDS, CliQueue, Request
from whisper.kinds.whisper import WhisperKind
from whisper.models.ggml import read_header
from whisper.types import Call, ChunkTranscript, LanguageGuess, TranscribeOptions
from whisper.wire.deadlines import Deadlines
from whisper.wire.process import engine_environment

LOADING_SECONDS = 60.0
"""Added to the first chunk's deadline: the program loads the model first."""
_CANNOT_EXECUTE = 127


class CliEngine:
    """Engine over an executable. To fill its batches let up to `workers * cli_queue.BATCH` calls wait at once.

    work_dir: a folder of its own for lock files and audio in flight; shared by the job processes
    workers, threads: processes at once, and threads of each

    Raises EngineUnavailable when the executable cannot be used. Calls also raise DiskFull when there is no space for audio.
    """

    hears_languages = False

    def __init__(self, executable: Path, work_dir: Path, *, workers: int = 1, threads: int = 1, nice: int = 0) -> None:
        self._program = CliProgram(executable, threads=threads)
        self._folder = work_dir.absolute()
        self._nice = nice
        self._deadlines = Deadlines({name: op.seconds for name, op in WhisperKind.ops.items()})
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # the program loads any libggml-*.so it finds in its working directory: give it one without files
        self._empty = self._folder / "empty"
        self._empty.mkdir(mode=0o500, exist_ok=True)
        self._queue = CliQueue(self._folder, workers, self._run)

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        arguments = self._program.decode_arguments(options)
        return self._ask(Request(model, arguments, pcm, options.word_timestamps, call))

    def detect_language(self, model: str, pcm: Pcm, call: Call = Call()) -> LanguageGuess:
        if not read_header(Path(model)).multilingual:
            return LanguageGuess(language="en", probability=1.0, probabilities={"en": 1.0}, engine_seconds=0.0)
        request = Request(model, self._program.detect_arguments(), pcm, False, call)
        answer = self._ask(request)
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
        return len(self._queue)

    def close(self) -> None:
        """Stop this process's batches; calls under way raise EngineUnavailable. The engine may be used again."""
        self._queue.close()

    def _ask(self, request: Request) -> ChunkTranscript:
        raise_if_cancelled(request.call.cancel)
        read_header(Path(request.model))
        return self._queue.wait(request)

    # -- one process

    def _run(self, left: list[Request]) -> None:
        """Have the program work on a batch, as `CliQueue` wants it done."""
        with disk_full(f"There is no space left in {self._folder}."), self._folder_in_use() as folder:
            files: dict[Request, Path] = {}
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
            if left and not answered and not self._queue.closed:
                self._check_model(left[0].model, folder)
                left.pop(0).settle(_failure(self._program.path.name, status, folder / "stderr"))

    def _collect(
        self, process: subprocess.Popen[bytes], left: list[Request], files: dict[Request, Path], stderr: Path
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
                limit = left[0].call.timeout or self._deadlines.of(left[0].op, threads=1)
                if left[0].unwanted:
                    left.pop(0).settle(Cancelled())
                    return True
                if self._queue.closed:
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
                time.sleep(POLL_SECONDS)

    @staticmethod
    def _output(request: Request, files: dict[Request, Path]) -> CliOutput | None:
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
