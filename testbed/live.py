"""A pipeline of a live stream without a server around it: an engine, a sink that remembers, audio that is fed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from core.audio.samples import SAMPLE_RATE, Pcm
from core.jobs.params import JobParams
from core.live.events import Event, Final, Partial, Translation
from core.live.options import StreamOptions
from core.live.sessions import StoredUtterance
from testbed.verdicts import engine_dir
from whisper import DATA, VAD_MODEL
from whisper.download.downloader import ModelDownloader
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.engine.transcriber import WhisperTranscriber
from whisper.models.store import ModelStore
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad
from worker.live.pipeline import LivePipeline


@dataclass
class MemorySink:
    """Remembers what it was told, when (monotonic seconds), and how far everything was."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    kept: list[StoredUtterance] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)
    settled_at: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    async def tell(self, event: Event) -> None:
        if isinstance(event, Final):
            assert event.utterance in [one.number for one in self.kept], "told before it was kept"
        self.events.append((time.monotonic(), event))

    async def keep(self, utterances: Sequence[StoredUtterance], *, acked: int) -> None:
        self.kept += utterances
        self.acked.append(acked)

    async def settled(self, acked: int) -> None:
        self.settled_at.append(acked)

    async def keep_translation(self, translation: Translation) -> None:
        self.kept = [
            replace(one, translation=translation.to_dict()) if one.number == translation.utterance else one
            for one in self.kept
        ]

    @property
    def finals(self) -> list[Final]:
        return [event for _, event in self.events if isinstance(event, Final)]

    @property
    def partials(self) -> list[Partial]:
        return [event for _, event in self.events if isinstance(event, Partial)]

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals if final.text)


class Streams:
    """Pipelines over one transcriber."""

    def __init__(self, transcriber: WhisperTranscriber, executor: ThreadPoolExecutor, *, model: str) -> None:
        self.transcriber, self.executor, self.model = transcriber, executor, model
        self._vad = SileroModel.read(VAD_MODEL)

    def pipeline(
        self,
        sink: MemorySink,
        *,
        params: dict[str, Any] | None = None,
        stream: dict[str, Any] | None = None,
        **more: Any,
    ) -> LivePipeline:
        return LivePipeline(
            options=StreamOptions(**stream or {}),
            params=JobParams(**{"model": self.model} | (params or {})),
            transcriber=self.transcriber,
            vad=partial(SileroVad, self._vad),
            executor=self.executor,
            sink=sink,
            **more,
        )

    async def play(
        self, pcm: Pcm, *, block: int = SAMPLE_RATE // 10, patient: bool = False, finish: bool = True, **how: Any
    ) -> MemorySink:
        """What comes of some audio, fed in blocks of so many samples. patient: each when the partial before it is there"""
        sink = MemorySink()
        pipeline = self.pipeline(sink, **how)
        sink.began = time.monotonic()
        try:
            for start in range(0, len(pcm), block):
                await pipeline.feed(pcm[start : start + block])
                async with asyncio.timeout(60):
                    while patient and any(line.recogniser._partial for line in pipeline._lines):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            if finish:
                await pipeline.finish()
        finally:
            await pipeline.close()
        return sink


@contextmanager
def streams(folder: Path, *, model: Path | None = None, workers: int = 2, **engine: Any) -> Iterator[Streams]:
    """Over a real engine of its own. model: a file; None: the demo model"""
    manager = start_manager(folder / "run" / "m.sock", workers=workers, wait=60.0, engine_dir=engine_dir(), **engine)
    store = ModelStore(model.parent if model else folder / "models", DATA / "models")
    transcriber = WhisperTranscriber(HostEngine(folder / "run" / "m.sock"), ModelDownloader(store))
    try:
        with ThreadPoolExecutor(8) as executor:
            yield Streams(transcriber, executor, model=f"local:{model.stem.removeprefix('ggml-')}" if model else "demo")
    finally:
        transcriber.close()
        manager.terminate()
        manager.wait()
