"""The default diarizer: `whisper.speakers` over the networks of an engine host, or in this process."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from core.audio.samples import Pcm
from core.system.cancel import raise_if_cancelled
from whisper.engine.host_client import HostClient
from whisper.speakers.diarizer import NO_CHECKPOINTS, Audio, Checkpoints, Diarization
from whisper.speakers.frames import Classes
from whisper.speakers.pipeline import Networks, TurnPipeline
from whisper.speakers.voices import SpeakerBounds
from whisper.types import Call
from whisper.wire.kind import ModelRef

T = TypeVar("T")
R = TypeVar("R")

VERSION = "turns 2"
"""Raised when the same samples give other turns than before."""


QUIET_TIMEOUT = 3600.0
"""Seconds that a window of 50 ms may take where it gets nothing but what others leave."""


class TurnsDiarizer:
    """networks: for one job

    width: windows looked at at once; one fewer while only the cores are free that the words leave, for the words have one
    """

    version = VERSION

    def __init__(self, networks: Callable[[Call, Callable[[], bool]], Networks], *, width: int) -> None:
        self._networks, self._width = networks, width

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
        with ThreadPoolExecutor(self._width, thread_name_prefix="speakers") as pool:

            def each(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
                ahead: deque[Future[R]] = deque()
                try:
                    for thing in things:
                        raise_if_cancelled(call.cancel)
                        ahead.append(pool.submit(contextvars.copy_context().run, work, thing))
                        # one more than there are threads, so that none waits for the next
                        most = max(1, self._width - 1) if quiet() else self._width + 1
                        while len(ahead) >= most or (ahead and ahead[0].done()):
                            yield ahead.popleft().result()
                    while ahead:
                        yield ahead.popleft().result()
                finally:
                    for future in ahead:
                        future.cancel()

            return TurnPipeline(self._networks(call, quiet), each).diarize(audio, bounds, tell, checkpoints)


class HostNetworks:
    """`whisper.speakers.pipeline.Networks` of one job, in the host that its consumer's jobs share. quiet: whether only idle cores may be used, just now"""

    def __init__(self, client: HostClient, files: tuple[Path, ...], call: Call, quiet: Callable[[], bool]) -> None:
        self._client, self._call, self._quiet = client, call, quiet
        self._model = ModelRef(kind="speakers", files=tuple(map(str, files)))

    def classes(self, window: Pcm) -> Classes:
        return np.frombuffer(self._ask("classes", window), np.uint8)

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        return np.frombuffer(self._ask("voice", piece), "<f4")

    def _ask(self, op: str, pcm: Pcm) -> bytearray:
        data = np.ascontiguousarray(pcm, "<i2").tobytes
        quiet = self._quiet()
        call = replace(self._call, timeout=QUIET_TIMEOUT) if quiet else self._call
        return self._client.ask(self._model, op, data, {"quiet": quiet}, call).payload


def own_networks(files: tuple[Path, ...], call: Call, quiet: Callable[[], bool]) -> Networks:
    """Networks in this process, where there is no engine host; `quiet` asks for more than can be done here."""
    return _loaded(files)


@cache
def _loaded(files: tuple[Path, ...]) -> Networks:
    from whisper.speakers.networks import OnnxNetworks  # late: not before a job process has been forked

    return OnnxNetworks(*files)
