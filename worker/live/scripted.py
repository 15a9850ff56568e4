"""Twins of intake and pipeline that follow a simple rule: loud is speech, and its text says which samples it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm, Region
from core.errors import LiveProtocol
from core.live.events import Final, Partial, SpeechEnd, SpeechStart
from core.live.options import StreamOptions
from core.live.sessions import Session, StoredUtterance
from core.speech.chunks import Chunk
from core.transcript.values import Segment, Word
from whisper.types import ChunkTranscript
from worker.live.parts import Sink

FRAME = 512
LOUD = 500
LONGEST = 15 * SAMPLE_RATE // FRAME * FRAME


class ScriptedIntake:
    """Takes all bytes for s16le at 16 kHz, those of a container too; but one that begins with `bad` is none."""

    def __init__(self, options: StreamOptions) -> None:
        self._channels, self._rest, self._begun = options.channels, b"", False

    async def feed(self, data: bytes) -> Pcm:
        if not self._begun and data.startswith(b"bad"):
            raise LiveProtocol("This is no audio.")
        self._begun = True
        data = self._rest + data
        whole = len(data) // (2 * self._channels) * 2 * self._channels
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], np.int16).reshape(-1, self._channels)

    async def finish(self) -> Pcm:
        return np.zeros((0, self._channels), np.int16)

    async def close(self) -> None:
        pass


@dataclass
class Script:
    """What all pipelines of a test have in common: seconds that an utterance takes, and what is done before each is kept."""

    seconds: float = 0.0
    before: Callable[[int], None] = lambda number: None


class ScriptedPipeline:
    """One utterance for each run of frames (32 ms) that are loud, ended by `silence_ms` of others; a partial each second."""

    def __init__(self, session: Session, sink: Sink, script: Script | None = None) -> None:
        self._sink, self._script = sink, script or Script()
        self._silence = session.options.silence_ms * SAMPLE_RATE // 1000
        self._partials = session.options.partials
        self._at = self._settled = session.acked
        self._number = session.utterances
        self._rest = np.zeros((0, session.options.channels), np.int16)
        self._begin: int | None = None
        self._loud = self._partial_at = self._revision = 0
        self.closed = False

    async def feed(self, pcm: Pcm) -> None:
        pcm = np.concatenate([self._rest, pcm])
        whole = len(pcm) // FRAME * FRAME
        self._rest = pcm[whole:]
        for frame in pcm[:whole].reshape(-1, FRAME, pcm.shape[1]):
            await self._frame(bool(np.abs(frame.astype(np.int32)).max() > LOUD))

    async def _frame(self, loud: bool) -> None:
        start, self._at = self._at, self._at + FRAME
        if loud:
            if self._begin is None:
                self._begin = self._partial_at = start
                self._revision = 0
                await self._sink.tell(SpeechStart(t=start / SAMPLE_RATE, utterance=self._number))
            self._loud = self._at
        if self._begin is None:
            if self._at - self._settled >= SAMPLE_RATE:
                await self._keep([])
        elif self._at - self._loud >= self._silence or self._at - self._begin >= LONGEST:
            await self._final()
        elif self._partials and self._at - self._partial_at >= SAMPLE_RATE:
            self._partial_at, self._revision = self._at, self._revision + 1
            await self._sink.tell(
                Partial(
                    utterance=self._number,
                    revision=self._revision,
                    committed=f"from {self._begin}",
                    tail=f"to {self._at}",
                    start=self._begin / SAMPLE_RATE,
                    end=self._at / SAMPLE_RATE,
                )
            )

    async def _final(self) -> None:
        begin, self._begin = self._begin, None
        assert begin is not None
        await self._sink.tell(SpeechEnd(t=self._loud / SAMPLE_RATE, utterance=self._number))
        await asyncio.sleep(self._script.seconds)
        self._script.before(self._number)
        one = utterance(self._number, self._settled, self._at, begin, self._loud)
        self._number += 1
        await self._keep([one])

    async def _keep(self, utterances: list[StoredUtterance]) -> None:
        self._settled = self._at
        await self._sink.keep(utterances, acked=self._at)
        for one in utterances:
            await self._sink.tell(_told(one.number, *one.chunk["regions"][0]))
        await self._sink.settled(self._at)

    async def flush(self) -> None:
        if self._begin is not None:
            await self._final()

    async def finish(self) -> None:
        await self.flush()
        self._at += len(self._rest)
        await self._keep([])

    async def close(self) -> None:
        self.closed = True

    def waiting(self) -> dict[str, int]:
        return {"recogniser": 0}

    @property
    def behind(self) -> float:
        return 0.0 if self._begin is None else (self._at - self._begin) / SAMPLE_RATE


def utterance(number: int, start: int, end: int, begin: int, until: int) -> StoredUtterance:
    """The final of the span [start, end), in which [begin, until) was loud."""
    told = _told(number, begin, until)
    heard = (Region(start=begin, end=until),)
    said = ChunkTranscript(
        segments=(Segment(start=0.0, end=told.end - told.start, text=f" {told.text}", language="en"),),
        language="en",
        no_speech_prob=0.0,
        engine_seconds=0.0,
        wall_seconds=0.0,
        engine={"library": "scripted", "version": "1"},
    )
    chunk = Chunk(index=number, start=start, end=end, regions=heard, speech=heard)
    return StoredUtterance(
        number=number, start=start, end=end, chunk=chunk.to_dict(), said=said.to_dict(), final=told.to_dict()
    )


def _told(number: int, begin: int, until: int) -> Final:
    start, end, text = begin / SAMPLE_RATE, until / SAMPLE_RATE, f"{begin} to {until}"
    words = [Word(word=text, start=start, end=end, probability=1.0)]
    return Final(utterance=number, start=start, end=end, text=text, words=words, language="en", confidence=1.0)
