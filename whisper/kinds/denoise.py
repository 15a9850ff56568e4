"""Speech without noise, by DeepFilterNet, in forked workers of which each cleans one block."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE
from core.errors import EngineUnavailable, ModelInvalid
from whisper.wire.kind import BadInput, Model, Op, Reply, Request, Setup

if TYPE_CHECKING:
    from whisper.enhance.deepfilter import DeepFilter

_LONGEST = SAMPLE_BYTES * 30 * SAMPLE_RATE
SECONDS = 120.0
"""Of the first request: 12 s of sound take 2 to 4 s of one core (measured on a Xeon)."""


class DenoiseKind:
    """Files: network and library, as `whisper.enhance.package.installed` has them. Devices: the CPU.

    The payload is mono PCM at 16 kHz as s16le, and so is the reply's, sample for sample.
    """

    name = "denoise"
    ops: Mapping[str, Op] = {"clean": Op(payload=_LONGEST, reply_payload=_LONGEST, seconds=SECONDS)}
    forks = True

    def worker_mb(self, files: Sequence[Path]) -> int:
        return 40  # 30 s at 48 kHz, three times over, and the network's memory

    def prepare(self, files: Sequence[Path], setup: Setup) -> dict[str, str]:
        return {}

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        from whisper.enhance.deepfilter import DeepFilter

        network, library = files
        if not network.is_file():
            raise ModelInvalid(f"There is no file {network}.")
        try:
            return _Denoise(DeepFilter(network, library))
        except OSError as error:
            raise EngineUnavailable(f"Noise cannot be taken out here: {error}.") from error


class _Denoise(Model):
    version = "deepfilter"

    def __init__(self, deepfilter: DeepFilter) -> None:
        self._deepfilter = deepfilter

    def serve(self, request: Request) -> Reply:
        import numpy as np

        began, payload = time.process_time(), request.payload()
        if len(payload) % SAMPLE_BYTES:
            raise BadInput("the payload is not a whole number of s16 samples")
        found = self._deepfilter.clean(np.frombuffer(payload, "<i2")).astype("<i2").tobytes()
        return Reply(body={"engine_seconds": time.process_time() - began}, payload=found, spent=True)

    def rest(self) -> None:
        """Nothing is kept."""
