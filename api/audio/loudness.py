"""The program that measures: the file on its standard input, how loud it is on its standard output.

python -m api.audio.loudness FOLDER REQUEST < file > values

See `api.audio.programs`, which runs it.
"""

from __future__ import annotations

import sys

import numpy as np

from api.audio.listening import asked, listen
from api.audio.measuring import PER_SECOND
from api.audio.programs import refusal
from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import ServiceError

BLOCK = SAMPLE_RATE // PER_SECOND
SILENCE = 60 * SAMPLE_RATE
"""Samples of silence that are measured at once."""


class Loudness:
    """Where samples go (`core.audio.decoding.Sink`): measured, not kept. values: one byte for each block so far."""

    def __init__(self) -> None:
        self.values = bytearray()
        self._rest = np.empty(0, np.int16)

    def add(self, pcm: Pcm) -> None:
        """Samples in order."""
        pcm = np.concatenate([self._rest, pcm])
        whole = len(pcm) // BLOCK * BLOCK
        self._rest = pcm[whole:].copy()
        loudest = np.abs(pcm[:whole].astype(np.int32)).reshape(-1, BLOCK).max(axis=1)
        self.values += np.minimum(loudest >> 7, 255).astype(np.uint8).tobytes()

    def silence(self, samples: int) -> None:
        """So many samples of nothing."""
        for start in range(0, samples, SILENCE):
            self.add(np.zeros(min(SILENCE, samples - start), np.int16))

    def finish(self) -> None:
        """The last block may not be full. More than once is fine."""
        if len(self._rest):
            self.add(np.zeros(BLOCK - len(self._rest), np.int16))


def main(folder: str, request: str) -> None:
    """Measure standard input."""
    loudness = Loudness()
    try:
        listen(asked(request), folder, loudness)
    except ServiceError as error:
        sys.exit(refusal(error))
    loudness.finish()
    sys.stdout.buffer.write(loudness.values)


if __name__ == "__main__":
    main(*sys.argv[1:])
