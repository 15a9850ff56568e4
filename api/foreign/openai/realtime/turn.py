"""A stretch of a session's audio that is one live stream: told as items of a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from api.foreign.openai.realtime import told
from api.foreign.openai.realtime.wanted import SessionSettings
from api.foreign.streaming import Growing, Whole
from api.live.closing import error_of
from api.live.link import LiveLink
from core.errors import ServiceError
from core.live.events import End, Event, Failure, Final, Partial, SpeechEnd, SpeechStart
from core.transcript.languages import joined

Closing = Literal["commit", "clear", "change"]
"""Why nothing more comes: the client has committed it, or thrown it away, or set the session otherwise."""


class Items:
    """The conversation's items, each behind the one before.

    older: whether its client reads events from before the interface was settled
    """

    def __init__(self, *, older: bool) -> None:
        self._older, self._last = older, None if older else ""

    def committed(self, item_id: str) -> list[dict[str, Any]]:
        previous, self._last = self._last or None, item_id
        added = "conversation.item.created" if self._older else "conversation.item.added"
        return [
            told.event("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous),
            told.event(added, item=told.item_of(item_id), previous_item_id=previous),
        ]

    def done(self, item_id: str, text: str) -> list[dict[str, Any]]:
        if self._older:
            return []
        return [
            told.event("conversation.item.done", item=told.item_of(item_id, transcript=text), previous_item_id=None)
        ]


@dataclass(kw_only=True)
class _Item:
    """One that is being heard."""

    id: str = field(default_factory=lambda: told.new_id("item"))
    text: Growing = field(default_factory=Growing)
    committed: bool = False


class Turn:
    """One live stream. begin: where it lies in the session's audio, in seconds"""

    def __init__(self, link: LiveLink, settings: SessionSettings, items: Items, *, begin: float) -> None:
        self.settings = settings
        self.closing: Closing | None = None
        self._link, self._items, self._begin = link, items, begin
        self._whole, self._bytes = Whole(settings.sample_bytes), 0
        self._heard: dict[int, _Item] = {}  # by utterance
        self._own: _Item | None = None  # what the client has committed
        self._finals: list[Final] = []  # without VAD
        self._made = False  # something, since the client's commit

    @property
    def seconds(self) -> float:
        """How much audio it has."""
        return self._bytes / self.settings.sample_bytes / self.settings.rate

    async def send(self, audio: bytes) -> None:
        """Raises ServiceError when the stream takes no more."""
        audio = self._whole.of(audio)
        self._bytes += len(audio)
        if audio:
            await self._link.send(audio)

    async def close(self, why: Closing) -> list[dict[str, Any]]:
        """Nothing more comes. Gives what is to be told at once."""
        self.closing = why
        found = []
        if why == "clear":
            found = [told.event("input_audio_buffer.cleared")]
        elif self.settings.vad is None and why == "commit":
            self._own = _Item(committed=True)
            found = self._items.committed(self._own.id)
        await self._link.end()
        return found

    async def leave(self) -> None:
        """The client has gone."""
        await self._link.close()

    async def told(self) -> AsyncIterator[dict[str, Any]]:
        """What is told, up to its end. Raises what the stream has failed with."""
        tell: Callable[[Event], list[dict[str, Any]]] = self._by_silence if self.settings.vad else self._by_commit
        async for one in self._link.events():
            if isinstance(one, Failure):
                error = error_of(one)
                for message in self._failed(error):
                    yield message
                raise error
            for message in tell(one):
                yield message

    # --- where silence ends an item
    def _by_silence(self, one: Event) -> list[dict[str, Any]]:
        if isinstance(one, SpeechStart | SpeechEnd | Partial | Final) and self._is_cleared(one.utterance):
            return []
        match one:
            case SpeechStart():
                return self._started(one.utterance, one.t)
            case SpeechEnd():
                return [*self._started(one.utterance, one.t), *self._stopped(one.utterance, one.t)]
            case Partial():
                found = self._started(one.utterance, one.start)
                return found + self._grown(self._heard[one.utterance], one.committed)
            case Final():
                found = [*self._started(one.utterance, one.start), *self._stopped(one.utterance, one.end)]
                item = self._heard.pop(one.utterance)
                found += self._grown(item, one.text)
                return found + self._completed(item, one.text, one.end - one.start, [one])
            case End():
                return self._rest()
        return []

    def _is_cleared(self, utterance: int) -> bool:
        """What was committed before is told nevertheless."""
        known = self._heard.get(utterance)
        return self.closing == "clear" and not (known and known.committed)

    def _started(self, utterance: int, t: float) -> list[dict[str, Any]]:
        if utterance in self._heard:
            return []
        item = self._heard[utterance] = _Item()
        return [told.event("input_audio_buffer.speech_started", audio_start_ms=self._ms(t), item_id=item.id)]

    def _stopped(self, utterance: int, t: float) -> list[dict[str, Any]]:
        item = self._heard[utterance]
        if item.committed:
            return []
        item.committed, self._made = True, self.closing is not None
        stopped = told.event("input_audio_buffer.speech_stopped", audio_end_ms=self._ms(t), item_id=item.id)
        return [stopped, *self._items.committed(item.id)]

    def _rest(self) -> list[dict[str, Any]]:
        """Where no words were heard in what had begun; and the item that a commit promises."""
        found = []
        for utterance, item in sorted(self._heard.items()):
            if not self._is_cleared(utterance):
                found += [*self._stopped(utterance, self.seconds), *self._completed(item, "", 0.0, [])]
        self._heard.clear()
        if self.closing == "commit" and not self._made:
            item = _Item(committed=True)
            found += [*self._items.committed(item.id), *self._completed(item, "", 0.0, [])]
        return found

    # --- where the client does
    def _by_commit(self, one: Event) -> list[dict[str, Any]]:
        if isinstance(one, Final):
            self._finals.append(one)
        item = self._own
        if item is None:
            return []
        text = ""
        for final in self._finals:
            text = joined((text, final.text), final.language) if text else final.text
        found = self._grown(item, text)
        return found + self._completed(item, text, self.seconds, self._finals) if isinstance(one, End) else found

    # --- both
    def _grown(self, item: _Item, text: str) -> list[dict[str, Any]]:
        more = item.text.more(text)
        return [told.delta(item.id, more)] if more else []

    def _completed(self, item: _Item, text: str, seconds: float, finals: list[Final]) -> list[dict[str, Any]]:
        logprobs = [one for final in finals for one in told.logprobs_of(final)] if self.settings.logprobs else None
        return [told.completed(item.id, text, seconds, logprobs=logprobs), *self._items.done(item.id, text)]

    def _failed(self, error: ServiceError) -> list[dict[str, Any]]:
        waiting = [item for item in (*self._heard.values(), self._own) if item is not None]
        return [told.failed(item.id, error) for item in waiting]

    def _ms(self, t: float) -> int:
        return round((self._begin + t) * 1000)
