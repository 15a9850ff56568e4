"""The program that makes a file playable: the file on its standard input, the form on its standard output.

python -m api.audio.encoder FOLDER REQUEST FORM < file > form

See `api.audio.programs`, which runs it. What is decoded is what a job's run hears, so the times are those of the transcript.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import BinaryIO, cast

import numpy as np

from api.audio.forms import FormName, encode_command, encoder_failure
from api.audio.listening import asked, ffmpeg_of, listen
from api.audio.programs import refusal
from core.audio.samples import SAMPLE_RATE, Pcm
from core.audio.source_file import write_all
from core.errors import AudioTooLong, ServiceError
from core.system.processes import Limits, spawn, stop

LIMITS = Limits(memory=1 << 30, file_bytes=0, open_files=64)

SILENCE = 60 * SAMPLE_RATE
"""Samples of silence that are given at once."""


class _Encoder:
    """Where samples go (`core.audio.decoding.Sink`): so many and no more. Raises AudioTooLong."""

    def __init__(self, pipe: BinaryIO, max_seconds: float) -> None:
        self._pipe, self._left = pipe, int(max_seconds * SAMPLE_RATE)

    def add(self, pcm: Pcm) -> None:
        self._left -= len(pcm)
        if self._left < 0:
            raise AudioTooLong
        write_all(self._pipe, pcm.tobytes())

    def silence(self, samples: int) -> None:
        for start in range(0, samples, SILENCE):
            self.add(np.zeros(min(SILENCE, samples - start), np.int16))

    def finish(self) -> None:
        """All has been given."""


def encode(folder: str, request: str, name: FormName) -> None:
    """Encode standard input. Raises ServiceError."""
    wanted = asked(request)
    with tempfile.TemporaryFile() as complaints:
        encoder = spawn(
            encode_command(ffmpeg_of(wanted), name),
            limits=LIMITS,
            stdin=subprocess.PIPE,
            stdout=sys.stdout.buffer,
            stderr=complaints,
            quick=True,
        )
        whole = False
        try:
            assert encoder.stdin is not None
            with suppress(BrokenPipeError), encoder.stdin as pipe:  # why it ended so early it says itself
                listen(wanted, folder, _Encoder(cast("BinaryIO", pipe), wanted.max_seconds))
                whole = True
            status = encoder.wait()
        finally:
            stop(encoder)
        complaints.seek(0)
        if status or not whole:
            raise encoder_failure(name, complaints.read(), status)


def main(folder: str, request: str, name: FormName) -> None:
    """Encode standard input, or say why that cannot be done."""
    try:
        encode(folder, request, name)
    except ServiceError as error:
        sys.exit(refusal(error))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
