"""The default engine: Whisper in the engine hosts of one manager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.audio.samples import Pcm
from core.system.cancel import Cancel
from whisper.engine.host_client import Answer, HostClient
from whisper.types import Call, ChunkTranscript, LanguageGuess, TranscribeOptions
from whisper.wire.kind import ModelRef


class HostEngine:
    """Engine over a HostClient; all that is said of its connections holds here."""

    hears_languages = True

    def __init__(self, manager_socket: Path) -> None:
        self.client = HostClient(manager_socket)

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        answer = self._ask(model, "transcribe", pcm, options.to_dict(), call)
        engine = {name: answer.host[name] for name in ("library", "version")}
        return ChunkTranscript.from_dict({**answer.body, "engine": engine})

    def detect_language(self, model: str, pcm: Pcm, call: Call = Call()) -> LanguageGuess:
        return LanguageGuess(**self._ask(model, "detect", pcm, {}, call).body)

    def load(self, model: str, cancel: Cancel | None = None) -> None:
        """Have it in memory before anything is asked of it. Raises EngineUnavailable, ModelInvalid and Cancelled."""
        self.client.load(_reference(model), cancel)

    def status(self) -> dict[str, Any]:
        """The manager's report: hosts, workers, queues. Raises EngineUnavailable."""
        return self.client.status()

    def close(self) -> None:
        """Give back the references held by this process. The engine may be used again."""
        self.client.close()

    def _ask(self, model: str, op: str, pcm: Pcm, options: dict[str, Any], call: Call) -> Answer:
        return self.client.ask(_reference(model), op, lambda: _floats(pcm), options, call)


def _reference(model: str) -> ModelRef:
    return ModelRef(kind="whisper", files=(model,))


def _floats(pcm: Pcm) -> bytes:
    """The samples as little-endian float32 in [-1, 1)."""
    import numpy as np  # late: the supervisor only asks for the status

    return np.multiply(pcm, np.float32(1 / 32768), dtype=np.dtype("<f4")).tobytes()
