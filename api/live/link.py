"""A stream on its way through the API, as its route and other people's protocols see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from api.access.identity import Identity
from core.live.events import Event, Ready


class LiveLink(Protocol):
    """One stream. A live process that dies costs a pause: what it had not acked is sent to another, and finals come once."""

    ready: Ready

    async def send(self, audio: bytes) -> None:
        """The next audio; waits while the stream does not keep up. Raises ServiceError when the stream has failed."""
        ...

    async def flush(self) -> None:
        """What has been said is an utterance, although there was no silence."""
        ...

    async def end(self) -> None:
        """Nothing more comes: the rest is told, then `End`."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """What is told, in order, up to `End` or a `Failure`."""
        ...

    async def close(self) -> None:
        """The client has gone: the stream waits for it, and ends when it does not come back."""
        ...


class LiveLinks(Protocol):
    async def open(self, start: Mapping[str, Any], who: Identity) -> LiveLink:
        """Begin a stream, or go on with one (`session`, `from`). start: as `core.live.options.Start.of` reads it

        Raises ValidationFailed, UnknownModel and the like, LiveFull, LiveUnavailable, LiveSessionNotFound, LiveSessionEnded.
        """
        ...
