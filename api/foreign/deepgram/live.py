"""A live stream as Deepgram's clients speak with it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Never

from api.foreign.deepgram.answers import Spoken, model_of
from api.foreign.deepgram.live_wanted import LiveWanted
from api.foreign.streaming import Whole
from api.live.client import Client, StreamOver, both_ways, parsed
from api.live.closing import error_of
from api.live.link import LiveLink
from core.errors import ServiceError
from core.live.events import Ack, End, Event, Failure, Final, Partial, SpeechEnd, SpeechStart

RATE = 16_000
"""Of what `Ack.samples` counts."""


class LiveListen:
    """One connection. request_id: what the client is told to name it by"""

    def __init__(self, client: Client, link: LiveLink, want: LiveWanted, request_id: str) -> None:
        self._client, self._link, self._want, self._id = client, link, want, request_id
        self._created = datetime.now(UTC)
        self._hash = hashlib.sha256()
        self._whole = Whole(want.frame) if want.frame else None
        self._fed = 0
        self._finalized: float | None = None
        self._open: set[int] = set()
        self._ended: set[int] = set()
        self._last_word: dict[int, float] = {}  # by channel, until its UtteranceEnd is told
        self._model, self._info = model_of(link.ready.model)

    async def run(self) -> None:
        """Until all is told, or the client goes. Raises ServiceError, WebSocketDisconnect, TimeoutError."""
        await both_ways(hear=self._hear(), tell=self._tell(), stay=self._client.stay())

    # --- what the client says
    async def _hear(self) -> Never:
        ended = False
        while True:
            message = await self._client.hear()
            try:
                if message == b"" and not ended:  # as older clients close a stream
                    ended = True
                    await self._link.end()
                elif isinstance(message, str):
                    ended = await self._take(message, ended=ended)
                elif ended:
                    await self._client.say(_error("DATA-0000", "Nothing may come after CloseStream.", ""))
                else:
                    await self._feed(message)
            except ServiceError as error:
                raise StreamOver(error, last_word=True) from error

    async def _feed(self, audio: bytes) -> None:
        self._hash.update(audio)
        audio = self._whole.of(audio) if self._whole else audio
        self._fed += len(audio)
        if audio:
            await self._link.send(audio)

    async def _take(self, message: str, *, ended: bool) -> bool:
        """Whether the stream has been ended. Raises ServiceError when it takes no more."""
        match parsed(message):
            case {"type": "KeepAlive"}:
                pass  # that it has come is all there is to it: nobody is thrown out for saying nothing
            case {"type": "Finalize"}:
                if not ended:
                    self._finalized = self._seconds
                    await self._link.flush()
            case {"type": "CloseStream"}:
                if not ended:
                    await self._link.end()
                return True
            case {"type": "Configure"}:
                await self._client.say(
                    {
                        "type": "ConfigureFailure",
                        "request_id": self._id,
                        "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                        "description": "A stream is what it was begun as; begin another one.",
                    }
                )
            case _:
                words = "must be a JSON object with a type: KeepAlive, Finalize, CloseStream or Configure"
                await self._client.say(_error("SchemaError", words, message[:1000]))
        return ended

    @property
    def _seconds(self) -> float:
        """How much audio has come; of a container that is not known."""
        frame = self._want.frame
        return self._fed / frame / (self._want.query.sample_rate or RATE) if frame else float("inf")

    # --- what it is told
    async def _tell(self) -> None:
        async for event in self._link.events():
            if isinstance(event, Failure):
                raise error_of(event)
            async for message in self._told(event):
                await self._client.say(message)

    async def _told(self, event: Event) -> AsyncIterator[dict[str, Any]]:
        query = self._want.query
        match event:
            case SpeechStart():
                for message in self._utterance_ends(event.t, channel=event.channel or 0):
                    yield message
                self._open.add(event.channel or 0)
                if query.vad_events:
                    yield {
                        "type": "SpeechStarted",
                        "channel": self._channel(event.channel),
                        "timestamp": round(event.t, 3),
                    }
            case SpeechEnd():
                self._ended.add(event.utterance)
            case Partial():
                text = (event.committed + event.tail).strip()
                if text and query.interim_results:
                    yield self._results(event, text, [], 0.0)
            case Final():
                words = [
                    Spoken(
                        text=word.word.strip(),
                        start=event.start if word.start is None else word.start,
                        end=event.end if word.end is None else word.end,
                        confidence=word.probability or 0.0,
                    )
                    for word in event.words
                    if word.word.strip()
                ]
                yield self._results(event, event.text, words, event.confidence or 0.0)
                self._open.discard(event.channel or 0)
                if words:
                    self._last_word[event.channel or 0] = words[-1].end
            case Ack():
                for channel in [*self._last_word]:
                    if channel not in self._open:
                        for message in self._utterance_ends(event.samples / RATE, channel=channel):
                            yield message
            case End():
                for channel in [*self._last_word]:
                    for message in self._utterance_ends(event.duration, channel=channel):
                        yield message
                yield self._metadata(event)

    def _utterance_ends(self, t: float, *, channel: int) -> list[dict[str, Any]]:
        """Once it has been silent for long enough since the last word."""
        last, wanted = self._last_word.get(channel), self._want.query.utterance_end_ms
        if wanted is None or last is None or t - last < wanted / 1000:
            return []
        del self._last_word[channel]
        return [{"type": "UtteranceEnd", "channel": self._channel(channel), "last_word_end": round(last, 3)}]

    def _results(self, event: Partial | Final, text: str, words: list[Spoken], confidence: float) -> dict[str, Any]:
        final = isinstance(event, Final)
        by_request = False
        if final and self._finalized is not None:
            by_request, self._finalized = event.start < self._finalized, None
        ended = event.utterance in self._ended
        if final:
            self._ended.discard(event.utterance)
        alternative = {"transcript": text, "confidence": confidence, "words": [word.to_dict() for word in words]}
        return {
            "type": "Results",
            "channel_index": self._channel(event.channel),
            "start": round(event.start, 3),
            "duration": round(event.end - event.start, 3),
            "is_final": final,
            "speech_final": final and ended and self._want.query.endpointing != 0,
            "from_finalize": by_request,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": self._id, "model_info": self._info, "model_uuid": self._model},
        }

    def _channel(self, channel: int | None) -> list[int]:
        """Which one, and of how many."""
        return [channel or 0, self._want.query.channels if self._want.frame else 1]

    def _metadata(self, end: End) -> dict[str, Any]:
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._id,
            "sha256": self._hash.hexdigest(),
            "created": self._created.isoformat().replace("+00:00", "Z"),
            "duration": end.duration,
            "channels": self._channel(None)[1],
            "models": [self._model],
            "model_info": {self._model: self._info},
            **self._want.common.metadata,
        }


def _error(variant: str, description: str, message: str) -> dict[str, Any]:
    return {"type": "Error", "variant": variant, "description": description, "message": message}


def error_message(error: ServiceError) -> dict[str, Any]:
    """What is told before a stream that has failed is closed."""
    return _error(error.code, error.message, "")
