"""A transcription session: the client's events come, and the conversation's go back."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Never

from fastapi.concurrency import run_in_threadpool

from api.access.identity import Identity
from api.foreign.openai.realtime import told
from api.foreign.openai.realtime.turn import Closing, Items, Turn
from api.foreign.openai.realtime.wanted import asked_of, asked_of_older, changed, settings_of
from api.foreign.tables import unsupported
from api.live.client import Client, StreamOver, both_ways, parsed
from api.live.link import LiveLinks
from core.errors import EmptyUpload, RequestError, ServiceError, refusal

CONVERSATIONS = ("response.", "conversation.item.", "output_audio_buffer.")
"""What those events begin with that a session with answers has."""

MOST_WAITING = 2
"""Stretches of audio whose text is still being told while the next one comes; then the client is not read."""

EVENTS: Mapping[str, frozenset[str]] = {
    "session.update": frozenset({"session"}),
    "transcription_session.update": frozenset({"session"}),
    "input_audio_buffer.append": frozenset({"audio"}),
    "input_audio_buffer.commit": frozenset(),
    "input_audio_buffer.clear": frozenset(),
}
"""What the client may say, and with which fields beside `type` and `event_id`."""


class RealtimeSession:
    """One connection.

    check: raises for options of a job that cannot be; blocks. asked: what its address says already, as `settings_of` takes it
    """

    def __init__(
        self,
        client: Client,
        links: LiveLinks,
        who: Identity,
        *,
        check: Callable[[Mapping[str, Any]], object],
        asked: Mapping[str, Any],
        older: bool,
    ) -> None:
        self._client, self._links, self._who, self._check = client, links, who, check
        self._asked, self._settings = dict(asked), settings_of(asked)
        self._older, self._items = older, Items(older=older)
        self._id = told.new_id("sess")
        self._begin = 0.0
        self._turn: Turn | None = None
        self._waiting: deque[Turn] = deque()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until the client goes. Raises ServiceError for what ends the session, WebSocketDisconnect, TimeoutError."""
        kind = "transcription_session.created" if self._older else "session.created"
        await self._client.say(told.event(kind, session=self._shown()))
        try:
            await both_ways(hear=self._hear(), tell=self._tell(), stay=self._client.stay())
        finally:
            for turn in self._waiting:
                await turn.leave()

    async def _hear(self) -> Never:
        while True:
            message = await self._client.hear()
            given = parsed(message) if isinstance(message, str) else None
            name = (given or {}).get("event_id")
            try:
                await self._take(given)
            except RequestError as error:
                await self._client.say(told.error_event(error, name if isinstance(name, str) else None))

    async def _take(self, given: dict[str, Any] | None) -> None:
        """Raises RequestError, after which the session goes on; StreamOver."""
        if given is None:
            raise refusal({"field": "type", "message": "events are JSON objects; audio is base64 in one of them"})
        kind = given.get("type")
        if not isinstance(kind, str) or kind not in EVENTS:
            if isinstance(kind, str) and kind.startswith(CONVERSATIONS):
                raise unsupported("type", f"{kind}: there are transcription sessions only here: nothing here answers")
            raise refusal({"field": "type", "message": f"must be one of {', '.join(EVENTS)}"})
        if unknown := sorted(given.keys() - EVENTS[kind] - {"type", "event_id"}):
            raise refusal(*({"field": name, "message": "Extra inputs are not permitted"} for name in unknown))
        match kind.rpartition(".")[2]:
            case "update":
                await self._update(given.get("session"), older=kind.startswith("transcription_session"))
            case "append":
                await self._append(_audio(given.get("audio")))
            case "commit":
                if self._turn is None or not self._turn.seconds:
                    raise EmptyUpload("Error committing input audio buffer: no audio has come since the last commit.")
                await self._close("commit")
            case _:
                if self._turn is None:
                    await self._client.say(told.event("input_audio_buffer.cleared"))
                await self._close("clear")

    async def _update(self, session: Any, *, older: bool) -> None:
        asked = changed(self._asked, asked_of_older(session) if older else asked_of(session))
        settings = settings_of(asked)
        await run_in_threadpool(self._check, settings.job)
        if settings.start != self._settings.start:
            await self._close("change")
        self._asked, self._settings = asked, settings
        kind = "transcription_session.updated" if older else "session.updated"
        shown = settings.shown_older(self._id) if older else settings.shown(self._id)
        await self._client.say(told.event(kind, session=shown))

    async def _append(self, audio: bytes) -> None:
        if not audio:
            return
        turn = self._turn or await self._open()
        try:
            await turn.send(audio)
        except ServiceError as error:
            raise StreamOver(error, last_word=True) from error

    async def _open(self) -> Turn:
        while len(self._waiting) >= MOST_WAITING:
            self._changed.clear()
            await self._changed.wait()
        try:
            link = await self._links.open(self._settings.start, self._who)
        except ServiceError as error:
            raise StreamOver(error, last_word=False) from error
        self._turn = Turn(link, self._settings, self._items, begin=self._begin)
        self._waiting.append(self._turn)
        self._changed.set()
        return self._turn

    async def _close(self, why: Closing) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            self._begin += turn.seconds
            for message in await turn.close(why):
                await self._client.say(message)

    async def _tell(self) -> None:
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            turn = self._waiting[0]
            async for message in turn.told():
                await self._client.say(message)
            await turn.leave()
            self._waiting.popleft()
            self._changed.set()

    def _shown(self) -> dict[str, Any]:
        return self._settings.shown_older(self._id) if self._older else self._settings.shown(self._id)


def _audio(given: Any) -> bytes:
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise refusal({"field": "audio", "message": "Input should be audio in base64"}) from None
