"""The enhancer of a service: DeepFilterNet in an engine host, whose crash is not the job's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.audio.samples import Pcm
from whisper.engine.host_client import HostClient
from whisper.enhance.blocks import BEFORE, STEP
from whisper.enhance.enhancer import Cleaned
from whisper.enhance.package import version
from whisper.types import Call
from whisper.wire.kind import ModelRef


class HostEnhancer:
    """files: as `whisper.enhance.package.installed` has them"""

    def __init__(self, client: HostClient, files: tuple[Path, ...]) -> None:
        self.version = f"denoise 1, {version()}, blocks of {STEP} behind {BEFORE}"
        self._client = client
        self._model = ModelRef(kind="denoise", files=tuple(map(str, files)))

    def clean(self, pcm: Pcm, call: Call) -> Cleaned:
        data = np.ascontiguousarray(pcm, "<i2").tobytes
        answer = self._client.ask(self._model, "clean", data, call=call)
        return Cleaned(pcm=np.frombuffer(answer.payload, "<i2"), engine_seconds=answer.body["engine_seconds"])
