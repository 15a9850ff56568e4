"""One connection: what a client says, and the text of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioChunkConverter, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong

from api.access.identity import Identity
from api.deps import Parts
from api.foreign.streaming import Growing, Whole
from api.foreign.wyoming.about import info_of
from api.foreign.wyoming.wire import read_event
from api.live.client import STALL_SECONDS
from api.live.closing import error_of
from api.live.link import LiveLink
from core.errors import LiveIdle, LiveProtocol, ServiceError, refusal
from core.keys import JOBS
from core.live.events import Failure, Final
from core.transcript.languages import joined

ANYBODY = Identity(owner=None, scopes=frozenset({JOBS}))
"""The protocol has no keys: who can reach the port may use it."""

RATES = (8_000, 48_000)
"""Of streams; what has another rate is resampled here."""


class Conversation:
    """idle: seconds without an event after which it is closed"""

    def __init__(
        self, parts: Parts, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, idle: float
    ) -> None:
        self._parts, self._reader, self._writer, self._idle = parts, reader, writer, idle
        self._asked = Transcribe()
        self._link: LiveLink | None = None
        self._collecting: asyncio.Task[None] | None = None
        self._finals: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
        self._sound: tuple[int, int, int] | None = None
        self._whole, self._convert = Whole(1), AudioChunkConverter()
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """Until the client goes, or an error has been told: clients wait for a transcript, and for the connection's end."""
        try:
            while (event := await self._next()) is not None:
                await self._take(event)
        except ServiceError as error:
            await self._say(Error(text=error.message, code=error.code))
        finally:
            await self._close()

    async def _next(self) -> Event | None:
        try:
            async with asyncio.timeout(self._idle):
                return await read_event(self._reader)
        except TimeoutError:
            raise LiveIdle from None

    async def _take(self, event: Event) -> None:
        """What is not known is left alone, as the protocol has it. Raises ServiceError."""
        try:
            if Describe.is_type(event.type):
                await self._say(await asyncio.to_thread(info_of, self._parts.deps))
            elif Ping.is_type(event.type):
                await self._say(Pong(text=Ping.from_event(event).text))
            elif Transcribe.is_type(event.type):
                self._asked = Transcribe.from_event(event)
            elif AudioStart.is_type(event.type):
                start = AudioStart.from_event(event)
                await self._open(start.rate, start.width, start.channels)
            elif AudioChunk.is_type(event.type):
                await self._hear(AudioChunk.from_event(event))
            elif AudioStop.is_type(event.type):
                await self._tell()
        except (KeyError, TypeError, AttributeError) as error:
            raise LiveProtocol(f"{event.type}: its data are not as the protocol has them ({error}).") from None

    async def _open(self, rate: int, width: int, channels: int) -> None:
        if self._link is not None:
            raise LiveProtocol("audio-start: the audio before has no audio-stop.")
        if width not in (1, 2, 3, 4) or channels not in (1, 2) or not 1_000 <= rate <= 384_000:
            raise refusal({"field": "audio-start", "message": "1 to 4 bytes, 1 or 2 channels, 1,000 to 384,000 Hz"})
        own = rate if RATES[0] <= rate <= RATES[1] else 16_000
        self._sound = (rate, width, channels)
        self._whole = Whole(width * channels)
        self._convert = AudioChunkConverter(rate=own, width=2, channels=1)
        self._link = await self._parts.live.open(self._start(own), ANYBODY)
        self._finals = asyncio.Queue()
        self._collecting = asyncio.create_task(self._collect(self._link, self._finals))

    def _start(self, rate: int) -> dict[str, Any]:
        asked = self._asked
        words = [*(asked.transcript_names or ()), *(asked.transcript_terms or ())]
        options = {"model": asked.name, "language": asked.language, "vocabulary": words}
        start = {name: value for name, value in options.items() if value}
        return start | {"encoding": "s16le", "sample_rate": rate, "partials": False, "save": False}

    async def _hear(self, chunk: AudioChunk) -> None:
        if self._link is None:
            await self._open(chunk.rate, chunk.width, chunk.channels)
        if (chunk.rate, chunk.width, chunk.channels) != self._sound:
            raise LiveProtocol("audio-chunk: it sounds otherwise than the audio before.")
        assert self._link is not None
        chunk.audio = self._whole.of(chunk.audio or b"")
        if chunk.audio:
            await self._link.send(self._convert.convert(chunk).audio)

    async def _tell(self) -> None:
        """The whole text, and each part of it as soon as it is final, for who reads that."""
        if self._link is None or self._collecting is None:
            raise LiveProtocol("audio-stop: there was no audio.")
        growing, text, language = Growing(), "", self._asked.language
        await self._link.end()
        await self._say(TranscriptStart(language=language))
        while (final := await self._finals.get()) is not None:
            text = joined((text, final[0]), final[1])
            language = language or final[1]
            if more := growing.more(text):
                await self._say(TranscriptChunk(text=more))
        await self._collecting
        await self._say(Transcript(text=text, language=language))
        await self._say(TranscriptStop())
        self._asked = Transcribe()
        await self._close()

    @staticmethod
    async def _collect(link: LiveLink, finals: asyncio.Queue[tuple[str, str] | None]) -> None:
        """Texts and their languages, while there still is audio: a stream that is not read stands still after some minutes."""
        try:
            async for event in link.events():
                if isinstance(event, Failure):
                    raise error_of(event)
                if isinstance(event, Final):
                    finals.put_nowait((event.text, event.language))
        finally:
            finals.put_nowait(None)

    async def _close(self) -> None:
        link, self._link = self._link, None
        collecting, self._collecting = self._collecting, None
        if collecting is not None:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
        if link is not None:
            await link.close()

    async def _say(self, message: Eventable) -> None:
        with contextlib.suppress(ConnectionError):  # the next read finds the end
            async with asyncio.timeout(STALL_SECONDS):
                await async_write_event(message.event(), self._writer)
