"""Has a file measured in a process of its own: the API computes with no samples, and bad files harm nobody else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import AudioUndecodable, ServiceError
from core.system.processes import Limits, environment, spawn, stop

PER_SECOND = 20
"""Values a second: enough to see words."""

LOUDEST = 255
"""What a sample of full scale is measured as."""

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `core.audio.decoder.Decoder` has to know of a file. track: the job's `audio_track`"""

    ffmpeg: str
    version: str
    max_seconds: float
    media_type: str
    track: int | str | None


def measure(request: Request, source: BinaryIO | Path, *, nice: int = 10) -> bytes:
    """The loudest sample of each twentieth of a second, one byte each. Raises AudioUndecodable, ServiceError.

    The calling thread must live as long as this runs (see `core.system.processes.spawn`).
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as reason:
        command = [sys.executable, "-P", "-m", "api.peaks.loudness", folder, json.dumps(asdict(request))]
        file = source.open("rb") if isinstance(source, Path) else None
        process = spawn(
            command,
            limits=Limits(nice=nice),
            stdin=file or subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=reason,
            env=environment() | {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            assert process.stdout is not None
            if process.stdin is not None and not isinstance(source, Path):
                with suppress(BrokenPipeError), process.stdin as given:  # why it ended so early it says itself
                    shutil.copyfileobj(source, given, 1 << 20)
            values = process.stdout.read()  # it writes when it has read all
            status = process.wait()
        finally:
            stop(process)
            if file:
                file.close()
        reason.seek(0)
        said = reason.read().decode(errors="replace").strip().splitlines() or ["it gave no reason"]
    if status == 0:
        return values
    if status == 1 and "Traceback (most recent call last):" not in said:
        raise AudioUndecodable(said[-1])
    raise ServiceError(f"The program that measures audio ended with status {status}: {said[-1]}")


def reduced(values: bytes, points: int) -> Sequence[int]:
    """At most so many of them, each the loudest of its share."""
    count = len(values)
    if points >= count:
        return values
    return [max(values[n * count // points : (n + 1) * count // points]) for n in range(points)]
