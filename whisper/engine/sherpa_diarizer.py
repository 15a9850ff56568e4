"""A diarizer that asks sherpa-onnx (`DIARIZATION_BACKEND=sherpa`), in a process for each recording."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.audio.samples import SAMPLE_RATE
from core.errors import ChunkFailed
from core.system.cancel import raise_if_cancelled
from core.transcript.speakers.turns import Turn
from whisper.speakers.diarizer import DIMENSIONS, NO_CHECKPOINTS, Audio, Checkpoints, Diarization
from whisper.speakers.frames import FIELD
from whisper.speakers.sherpa import installed_version
from whisper.speakers.voices import SpeakerBounds
from whisper.types import Call
from whisper.wire.process import engine_environment, python_command

LONGEST = 2 * 3600 * SAMPLE_RATE
"""Samples. All of them are in memory at once as float32, and so are the distances of all pairs of what is heard."""
_BLOCK = 30 * SAMPLE_RATE
_LOOK_SECONDS = 0.1
"""How often it is looked whether the answer is still wanted."""
_LAST_WORDS = 300
"""Characters."""


class SherpaDiarizer:
    """files: segmentation and embedding; threads: of one recording. Raises ServiceError where the package is missing."""

    def __init__(self, files: tuple[Path, ...], *, threads: int) -> None:
        self.version = f"sherpa-onnx {installed_version()}"
        self._files, self._threads = files, threads

    def diarize(
        self,
        audio: Audio,
        bounds: SpeakerBounds,
        call: Call,
        *,
        quiet: Callable[[], bool],
        tell: Callable[[float], object] = lambda _: None,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> Diarization:
        """Begins when the recording is complete and nobody else wants the cores any more, for what a process has once been told
        to leave to others it cannot be given back; and anew after a crash. Raises ChunkFailed for more than two hours, too.
        """
        samples = audio.length(LONGEST + 1)
        if samples > LONGEST:
            raise ChunkFailed(f"sherpa-onnx is given up to {LONGEST // SAMPLE_RATE // 3600} h, this is longer.")
        if samples < FIELD:
            return Diarization(turns=(), voices=np.zeros((0, DIMENSIONS), np.float32))
        while quiet():
            raise_if_cancelled(call.cancel)
            time.sleep(_LOOK_SECONDS)
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self._command(bounds),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=engine_environment(),
            )
            try:
                with suppress(BrokenPipeError):  # how it ended is asked below
                    _hand_over(process, audio, samples, call)
                answer: dict[str, Any] = {}
                for answer in _lines(process, call):
                    if "share" in answer:
                        tell(answer["share"])
            finally:
                process.kill()
                status = process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        with suppress(BrokenPipeError):
                            stream.close()
            if "turns" not in answer:
                raise ChunkFailed(f"sherpa-onnx ended with status {status}: {_tail(errors)}")
        return _diarization(answer, samples)

    def _command(self, bounds: SpeakerBounds) -> list[str]:
        segmentation, embedding = map(str, self._files)
        options = {
            "--segmentation": segmentation,
            "--embedding": embedding,
            "--threads": self._threads,
            "--exact": bounds.exact or 0,
            "--least": bounds.least,
            "--most": bounds.most,
            "--parent": os.getpid(),
        }
        words = [str(word) for pair in options.items() for word in pair]
        return python_command("whisper.speakers.sherpa", *words)


def _hand_over(process: subprocess.Popen[bytes], audio: Audio, samples: int, call: Call) -> None:
    assert process.stdin is not None
    for start in range(0, samples, _BLOCK):
        raise_if_cancelled(call.cancel)
        process.stdin.write(np.ascontiguousarray(audio.read(start, min(start + _BLOCK, samples)), "<i2").tobytes())
    process.stdin.close()


def _lines(process: subprocess.Popen[bytes], call: Call) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    left = b""
    while True:
        raise_if_cancelled(call.cancel)
        if not select.select([process.stdout], [], [], _LOOK_SECONDS)[0]:
            continue
        data = os.read(process.stdout.fileno(), 1 << 16)
        *whole, left = (left + data).split(b"\n")
        yield from map(json.loads, whole)
        if not data:
            return


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode("utf-8", "replace").strip()[-_LAST_WORDS:] or "it said nothing"


def _diarization(answer: dict[str, Any], samples: int) -> Diarization:
    end = samples / SAMPLE_RATE
    turns = (
        Turn(start=max(0.0, start), end=min(stop, end), voice=int(voice)) for start, stop, voice in answer["turns"]
    )
    voices = np.array(answer["voices"], np.float32).reshape(-1, DIMENSIONS)
    return Diarization(turns=tuple(turn for turn in turns if turn.start < turn.end), voices=voices)
