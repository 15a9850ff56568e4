"""Streams whose words are known beforehand: for tests of the route, of other people's protocols, and of clients."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.access.identity import Identity
from core.errors import LiveProtocol, LiveSessionEnded, LiveSessionNotFound, ServiceError, refusal
from core.live.events import Ack, End, Event, Final, Partial, Ready, SpeechEnd, SpeechStart, Translation
from core.live.options import Start
from core.live.resuming import frame_bytes
from core.transcript.values import Word

CONTAINER_BYTES_A_SECOND = 4000
"""So long is a container taken to be."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """An utterance, whatever the audio is: when it begins and ends (seconds), and what is said. Words are of equal length."""

    start: float
    end: float
    text: str
    language: str = "en"
    channel: int | None = None
    #: told where `translate_to` was asked for
    translation: str | None = None


@dataclass(kw_only=True)
class ScriptedStream:
    """One session: bytes in, events out. It outlives connections: `begin` is called for each.

    fed: bytes of the stream so far; acked: of those, up to where all is told
    """

    script: Sequence[Line]
    start: Start
    owner: str | None
    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    job: str = field(default_factory=lambda: str(uuid.uuid4()))
    fed: int = 0
    acked: int = 0
    ended: bool = False
    _ends: list[float] = field(default_factory=list)  # of the lines that are final
    _begun: bool = False  # the next one is told of
    _revision: int = 0

    def begin(self, start: Start) -> Iterator[Event]:
        """A connection, the first or another: what has not been final is heard again, and finals behind `from` are told again."""
        self._begun, self._revision = False, 0
        given = start.position * self._frame if start.session else 0
        if given > self.acked:
            raise refusal({"field": "from", "message": "what lies between is missing"})
        self.fed = given
        yield Ready(
            session=self.session,
            position=self.acked // self._frame,
            resumed=start.session is not None,
            model="scripted",
        )
        for number, at in enumerate(self._ends):
            if at > given / self._rate:
                yield from self._final(number, self.script[number], at)

    @property
    def _told(self) -> int:
        return len(self._ends)

    @property
    def _frame(self) -> int:
        return frame_bytes(self.start.stream)

    @property
    def _rate(self) -> float:
        """Bytes a second."""
        options = self.start.stream
        return CONTAINER_BYTES_A_SECOND if options.encoding == "container" else options.sample_rate * self._frame

    def feed(self, audio: bytes) -> Iterator[Event]:
        if self.ended:
            raise LiveProtocol("Nothing may come after `end`.")
        before = max(self.fed, self.acked)
        self.fed += len(audio)
        if self.fed <= before:
            return
        now, silence = self.fed / self._rate, self.start.stream.silence_ms / 1000
        while self._told < len(self.script) and (line := self.script[self._told]).start < now:
            yield from self._hear(line, now)
            if now < line.end + silence:
                return
            yield from self._finish(line, line.end)
        if now - self.acked / self._rate > 1:  # silence is final as soon as it is heard
            yield self._ack(self.fed)

    def flush(self) -> Iterator[Event]:
        """End the utterance that is open."""
        if self._begun:
            yield from self._finish(self.script[self._told], min(self.script[self._told].end, self.fed / self._rate))

    def end(self) -> Iterator[Event]:
        yield from self.flush()
        self.ended = True
        yield self._ack(self.fed)
        yield End(duration=round(self.fed / self._rate, 3), job=self.job if self.start.stream.save else None)

    def _hear(self, line: Line, now: float) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            yield SpeechStart(t=line.start, utterance=self._told, channel=line.channel)
        words = line.text.split()
        heard = min(len(words), int(len(words) * (now - line.start) / (line.end - line.start)))
        if self.start.stream.partials and heard > self._revision:
            self._revision = heard
            yield Partial(
                utterance=self._told,
                revision=heard,
                committed=" ".join(words[: heard - 1]),
                tail=f" {words[heard - 1]}" if heard > 1 else words[0],
                start=line.start,
                end=min(now, line.end),
                channel=line.channel,
            )

    def _finish(self, line: Line, at: float) -> Iterator[Event]:
        number = self._told
        self._begun, self._revision = False, 0
        self._ends.append(at)
        yield SpeechEnd(t=at, utterance=number, channel=line.channel)
        yield from self._final(number, line, at)
        yield self._ack(min(self.fed, max(self.acked, int(at * self._rate))))

    def _final(self, number: int, line: Line, at: float) -> Iterator[Event]:
        said = line.text.split()
        each = (at - line.start) / len(said)
        words = [
            Word(word=word, start=line.start + n * each, end=line.start + (n + 1) * each, probability=0.9)
            for n, word in enumerate(said)
        ]
        yield Final(
            utterance=number,
            start=line.start,
            end=at,
            text=line.text,
            words=words,
            language=line.language,
            confidence=0.9,
            channel=line.channel,
        )
        if line.translation is not None and (wanted := self.start.job.get("translate_to")):
            yield Translation(utterance=number, language=str(wanted), text=line.translation)

    def _ack(self, fed: int) -> Ack:
        self.acked = fed // self._frame * self._frame
        return Ack(samples=int(self.acked / self._rate * 16_000), position=self.acked // self._frame)


class ScriptedLinks:
    """A `api.live.link.LiveLinks` all of whose streams say the same.

    refuse: raised by `open` while it is set
    """

    def __init__(self, script: Sequence[Line] = (), *, refuse: ServiceError | None = None) -> None:
        self.script, self.refuse = tuple(script), refuse
        self.streams: dict[str, ScriptedStream] = {}

    def stream(self, start: Start, owner: str | None) -> ScriptedStream:
        """A new one, or that of the session. Raises LiveSessionNotFound, LiveSessionEnded."""
        if start.session is None:
            made = ScriptedStream(script=self.script, start=start, owner=owner)
            return self.streams.setdefault(made.session, made)
        found = self.streams.get(start.session)
        if found is None or found.owner != owner:
            raise LiveSessionNotFound
        if found.ended:
            raise LiveSessionEnded
        return found

    async def open(self, start: Mapping[str, Any], who: Identity) -> ScriptedLink:
        """As `api.live.link.LiveLinks.open`."""
        if self.refuse is not None:
            raise self.refuse
        wanted = Start.of(start)
        stream = self.stream(wanted, who.owner)
        return ScriptedLink(stream, wanted)


class ScriptedLink:
    """One stream (`api.live.link.LiveLink`)."""

    def __init__(self, stream: ScriptedStream, start: Start) -> None:
        self._stream = stream
        ready, *again = stream.begin(start)
        assert isinstance(ready, Ready)
        self.ready = ready
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()  # as long as the script
        self._tell(again)

    async def send(self, audio: bytes) -> None:
        self._tell(self._stream.feed(audio))

    async def flush(self) -> None:
        self._tell(self._stream.flush())

    async def end(self) -> None:
        if not self._stream.ended:
            self._tell(self._stream.end())
            self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        self._events.put_nowait(None)

    def _tell(self, events: Iterator[Event] | Sequence[Event]) -> None:
        for event in events:
            self._events.put_nowait(event)
