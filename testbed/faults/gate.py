"""Jobs that are held in the middle, so that a test finds them there however slow the machine is."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from core.errors import ChunkTimeout
from core.system.cancel import raise_if_cancelled


class Gated:
    """An engine that takes so many chunks of each job as a file says, and keeps the others waiting while it is there."""

    hears_languages = False

    def __init__(self, inner: Any, gate: Path) -> None:
        self._inner, self._gate = inner, gate
        self._taken: Counter[str] = Counter()
        self.detect_language, self.close = inner.detect_language, inner.close

    def transcribe(self, model: str, pcm: Any, options: Any, call: Any) -> Any:
        self._taken[call.job] += 1
        number, began = self._taken[call.job], time.monotonic()
        while number > self._most():
            raise_if_cancelled(call.cancel)
            if call.timeout is not None and time.monotonic() - began > call.timeout:
                raise ChunkTimeout("held at the gate")
            time.sleep(0.02)
        return self._inner.transcribe(model, pcm, options, call)

    def _most(self) -> float:
        try:
            return int(self._gate.read_text() or 0)
        except FileNotFoundError:
            return float("inf")
