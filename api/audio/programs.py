"""Our programs that work on a job's file: the API computes with no samples, and bad files harm nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from core.errors import (
    AudioEmpty,
    AudioEncrypted,
    AudioTooLong,
    AudioTrackMissing,
    AudioUndecodable,
    DiskFull,
    NoAudioStream,
    ServiceError,
    Unsupported,
)
from core.system.processes import Limits, environment, spawn, stop

BLOCK_BYTES = 1 << 20

_ROOT = Path(__file__).resolve().parents[2]

_TOLD: Mapping[str, type[ServiceError]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            AudioEmpty,
            AudioEncrypted,
            AudioTooLong,
            AudioTrackMissing,
            AudioUndecodable,
            DiskFull,
            NoAudioStream,
            Unsupported,
        )
    }
)
"""What a program can say of a file."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `core.audio.decoder.Decoder` has to know of a file. track: the job's `audio_track`"""

    ffmpeg: str
    version: str
    max_seconds: float
    media_type: str
    track: int | str | None


@contextmanager
def running(
    module: str,
    request: Request,
    *more: str,
    source: BinaryIO | Path,
    folder: Path | None = None,
    nice: int = 10,
    go_on: Callable[[], object] = lambda: None,
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m MODULE FOLDER REQUEST MORE... < source`, given all of its input; what is left of it is ended at the end.

    folder: on a disk, for copies of what is no local file; None: the usual one for temporary files
    go_on: asked again and again while a source that is no local file is given; what it raises ends the program

    Raises what the program said was wrong with the file, or ServiceError. The calling thread must live as long as this runs
    (see `core.system.processes.spawn`).
    """
    given = folder or Path(tempfile.gettempdir())
    given.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", module, str(given), json.dumps(asdict(request)), *more]
    with ExitStack() as stack:
        reason = stack.enter_context(tempfile.TemporaryFile())
        file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else None
        process = spawn(
            command,
            limits=Limits(nice=nice),
            stdin=file or subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=reason,
            env=environment() | {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            if process.stdin is not None and not isinstance(source, Path):
                with suppress(BrokenPipeError), process.stdin as pipe:  # why it ended so early it says itself
                    while block := source.read(BLOCK_BYTES):
                        go_on()
                        pipe.write(block)
            yield process
            status = process.wait()
        finally:
            stop(process)
        if status:
            reason.seek(0)
            raise _error(status, reason.read().decode(errors="replace"))


def refusal(error: ServiceError) -> str:
    """How a program says it: the last line of its stderr, with status 1 (`sys.exit`)."""
    return json.dumps([error.code, error.message])


def _error(status: int, said: str) -> ServiceError:
    last = (said.strip().splitlines() or ["it gave no reason"])[-1]
    with suppress(ValueError, TypeError, KeyError):
        code, message = json.loads(last)
        return _TOLD[code](message)
    return ServiceError(f"The program that reads the audio ended with status {status}: {last}")
