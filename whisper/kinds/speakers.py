"""The two networks that tell speakers apart, by onnxruntime, in threads of one process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE
from core.errors import EngineUnavailable
from whisper.wire.kind import BadInput, Model, Op, Reply, Request, Setup

if TYPE_CHECKING:
    from whisper.speakers.networks import OnnxNetworks

SECONDS = 60.0
"""Of the first request: a window takes 50 ms of one core (measured on a Xeon), a quiet thread may wait for a free core."""
_WINDOW = 10 * SAMPLE_RATE
_QUIET_THREADS = 64
"""They only wait for the kernel to find them an idle core; the host hands out no more requests than it has threads."""


class SpeakersKind:
    """Files: segmentation and embedding, as `whisper.speakers.networks` has them. Devices: the CPU.

    The payload is mono PCM at 16 kHz as s16le. `classes` answers with one byte per frame, `voice` with float32 numbers.
    Option `quiet`: only on cores that nobody else wants.
    """

    name = "speakers"
    ops: Mapping[str, Op] = {
        "classes": Op(payload=SAMPLE_BYTES * _WINDOW, reply_payload=1024, seconds=SECONDS),
        "voice": Op(payload=SAMPLE_BYTES * _WINDOW, reply_payload=4096, seconds=SECONDS),
    }
    forks = False  # onnxruntime's sessions do not survive it

    def worker_mb(self, files: Sequence[Path]) -> int:
        return 0

    def prepare(self, files: Sequence[Path], setup: Setup) -> dict[str, str]:
        return {}

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        try:
            from whisper.speakers.networks import OnnxNetworks
        except ImportError as error:
            raise EngineUnavailable(f"Speakers cannot be told apart here: {error}.") from error
        segmentation, embedding = files
        return _Speakers(OnnxNetworks(segmentation, embedding))


class _Speakers(Model):
    def __init__(self, networks: OnnxNetworks) -> None:
        from whisper.speakers.networks import VERSION

        self.version = VERSION
        self._networks = networks
        self._quiet = ThreadPoolExecutor(_QUIET_THREADS, thread_name_prefix="quiet", initializer=_idle_class)

    def serve(self, request: Request) -> Reply:
        import numpy as np

        payload = request.payload()
        if len(payload) % SAMPLE_BYTES:
            raise BadInput("the payload is not a whole number of s16 samples")
        pcm = np.frombuffer(payload, "<i2")

        def work() -> bytes:
            found = self._networks.classes(pcm) if request.op == "classes" else self._networks.voice(pcm)
            return found.tobytes()

        try:
            found = self._quiet.submit(work).result() if request.options.get("quiet") else work()
        except ValueError as error:
            raise BadInput(str(error)) from error
        return Reply(payload=found)

    def rest(self) -> None:
        """Nothing is kept."""


def _idle_class() -> None:
    """The thread computes only where a core would be idle. Not everywhere: elsewhere it is a thread like the others."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
