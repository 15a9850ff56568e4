"""What the parts of a live stream agree on: intake, pipeline, and where it all goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from core.audio.samples import Pcm
from core.live.events import Event, Translation
from core.live.sessions import StoredUtterance


class Intake(Protocol):
    """Bytes as they come to samples at 16 kHz, shape (n, channels), int16; n may be 0.

    Raises LiveProtocol for what is no audio of the kind that was said.
    """

    async def feed(self, data: bytes) -> Pcm: ...

    async def finish(self) -> Pcm:
        """The rest: nothing more comes."""
        ...

    async def close(self) -> None: ...


class Sink(Protocol):
    """Where a pipeline's findings go. Whatever it raises ends the stream."""

    async def tell(self, event: Event) -> None:
        """To the client, in order; waits while it does not read."""
        ...

    async def keep(self, utterances: Sequence[StoredUtterance], *, acked: int) -> None:
        """Store what is final (or nothing) and how far everything is; called before it is told."""
        ...

    async def settled(self, acked: int) -> None:
        """All finals before that sample are kept and told."""
        ...

    async def keep_translation(self, translation: Translation) -> None: ...


class Pipeline(Protocol):
    """From samples to finals: one stream, all of its channels. Times count from the stream's first sample."""

    async def feed(self, pcm: Pcm) -> None:
        """The next samples, shape (n, channels); waits while too much is waiting. Raises LiveBehind, and what the engine does."""
        ...

    async def flush(self) -> None:
        """End the utterance that is open, as if silence had come."""
        ...

    async def finish(self) -> None:
        """Nothing more comes: returns when everything is final, kept and told."""
        ...

    async def close(self) -> None:
        """Stop at once; what is not final is left."""
        ...

    def waiting(self) -> dict[str, int]:
        """How much waits in each stage, by its name."""
        ...

    @property
    def behind(self) -> float:
        """Seconds of audio that have come and are neither final nor silence."""
        ...
