"""What the sending end of a stream keeps, so that a connection that breaks costs nothing: the API's relay, and the client."""

from __future__ import annotations

from dataclasses import replace
from typing import Final as Const
from typing import Literal

from core.live.events import Ack, Event, Final, Partial, Ready, SpeechEnd, SpeechStart, Translation
from core.live.options import StreamOptions

SAMPLE_BYTES: Const = {"s16le": 2, "f32le": 4, "mulaw": 1, "alaw": 1}

KEPT_SECONDS = 60.0
"""So much audio may be sent and not acked. An utterance is 15 s at most, so that more is a process that does not keep up."""

KEPT_CONTAINER_BYTES = 8 << 20
"""The same of a container: a minute of a megabit a second."""

PIECE_BYTES = 1 << 16
"""Most that is sent at once."""

_Spoken = tuple[int, int | None]
"""An utterance's number, and its channel."""


def frame_bytes(options: StreamOptions) -> int:
    """Bytes of what positions count: one sample of every channel, or one byte of a container."""
    return SAMPLE_BYTES.get(options.encoding, 1) * (1 if options.encoding == "container" else options.channels)


def kept_bytes(options: StreamOptions) -> int:
    """How much is kept at most."""
    if options.encoding == "container":
        return KEPT_CONTAINER_BYTES
    return int(KEPT_SECONDS * options.sample_rate) * frame_bytes(options)


class Backlog:
    """Audio that is not acked, with the flushes between it. Positions as `Ack.position` counts them.

    position: of the first byte that will be added
    """

    def __init__(self, options: StreamOptions, position: int = 0) -> None:
        self._frame, self._most = frame_bytes(options), kept_bytes(options)
        self._kept = bytearray()
        self._first = self._sent = position * self._frame  # both in bytes
        self._flushes: list[int] = []
        self._flushed = 0  # how many of those are sent

    @property
    def full(self) -> bool:
        return len(self._kept) >= self._most

    @property
    def all_sent(self) -> bool:
        return self._sent == self._first + len(self._kept)

    @property
    def position(self) -> int:
        """Up to where everything is acked: where a new connection begins."""
        return self._first // self._frame

    def add(self, audio: bytes) -> None:
        self._kept += audio

    def add_flush(self) -> None:
        end = self._first + len(self._kept)
        if self._flushes[-1:] != [end]:
            self._flushes.append(end)

    def drop(self, position: int) -> None:
        """What lies before is acked."""
        until = min(position * self._frame, self._first + len(self._kept))
        if until <= self._first:
            return
        del self._kept[: until - self._first]
        self._first, self._sent = until, max(self._sent, until)
        gone = sum(1 for flush in self._flushes if flush <= until)
        self._flushes, self._flushed = self._flushes[gone:], max(0, self._flushed - gone)

    def rewind(self) -> None:
        """Nothing of it is sent: the connection is a new one."""
        self._sent, self._flushed = self._first, 0

    def next(self) -> bytes | Literal["flush"] | None:
        """What is to be sent next, which then counts as sent; None: that was all, or more has to be acked first."""
        end = self._first + len(self._kept)
        if self._flushed < len(self._flushes) and (end := self._flushes[self._flushed]) <= self._sent:
            self._flushed += 1
            return "flush"
        # the other end keeps as much: it would stop reading, and a connection that is not read answers no ping
        if end <= self._sent or self._sent - self._first >= self._most:
            return None
        piece = bytes(self._kept[self._sent - self._first : min(end, self._sent + PIECE_BYTES) - self._first])
        self._sent += len(piece)
        return piece


class Told:
    """What has been told of a stream; a new connection begins its utterance anew and may tell finals of before. It may also
    number those of two channels the other way round, so what is not final goes by the channel too."""

    def __init__(self) -> None:
        self.final = -1  # the number of the last one
        self._position = -1
        self._ready = False
        self._begun: set[_Spoken] = set()
        self._ended: set[_Spoken] = set()
        self._partials: dict[_Spoken, Partial] = {}
        self._translated: set[tuple[int, str]] = set()

    def news(self, event: Event) -> Event | None:
        """The event as it is to be told; None for what has been told, or would take something back."""
        match event:
            case Ready():
                first, self._ready = not self._ready, True
                return event if first else None
            case Ack():
                if event.position <= self._position:
                    return None
                self._position = event.position
            case Final():
                if event.utterance <= self.final:
                    return None
                self.final = event.utterance
                self._forget(event.utterance)
            case SpeechStart():
                return self._once(event, self._begun)
            case SpeechEnd():
                return self._once(event, self._ended)
            case Partial():
                return self._partial(event)
            case Translation():
                if (key := (event.utterance, event.language)) in self._translated:
                    return None
                self._translated.add(key)
                self._translated = {kept for kept in self._translated if kept[0] > event.utterance - 1000}
        return event

    def _once(self, event: SpeechStart | SpeechEnd, told: set[_Spoken]) -> Event | None:
        spoken = event.utterance, event.channel
        if event.utterance <= self.final or spoken in told:
            return None
        told.add(spoken)
        return event

    def _partial(self, event: Partial) -> Partial | None:
        if event.utterance <= self.final:
            return None
        spoken = event.utterance, event.channel
        if before := self._partials.get(spoken):
            if not event.committed.startswith(before.committed):
                return None
            event = replace(event, revision=max(event.revision, before.revision + 1))
        self._partials[spoken] = event
        return event

    def _forget(self, utterance: int) -> None:
        self._begun = {spoken for spoken in self._begun if spoken[0] > utterance}
        self._ended = {spoken for spoken in self._ended if spoken[0] > utterance}
        self._partials = {spoken: one for spoken, one in self._partials.items() if spoken[0] > utterance}
