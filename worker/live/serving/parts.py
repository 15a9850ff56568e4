"""What the streams of a process share, and what each has at its other end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from core.live.events import Event
from core.live.options import StreamOptions
from core.live.sessions import RESUME_SECONDS, LiveSessions, Session, StoredUtterance
from core.objects.store import ObjectStore
from worker.context.figures import Tell, nobody
from worker.live.parts import Intake, Pipeline, Sink
from worker.live.serving.queues import Command


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds.

    idle: LIVE_IDLE_SECONDS; slow: how long a message may wait for a client that does not read
    resume: how long a stream waits for a client that is gone; acks: at least so long between two that cover no final
    """

    lease: float = 60.0
    idle: float = 300.0
    resume: float = RESUME_SECONDS
    slow: float = 10.0
    stats: float = 3.0
    acks: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What the streams of a process share.

    intake: makes what reads a stream's audio
    pipeline: makes what hears it, from `session.acked` on, its utterances numbered from `session.utterances` on; given the
        last finals too; in a thread
    threads: for database and object store
    check_room: raises InsufficientStorage where too little is left for recordings
    tell: told what happens, for the consumer's figures; heard: told of seconds of audio; both at once, on the event loop
    """

    sessions: LiveSessions
    objects: ObjectStore
    intake: Callable[[StreamOptions], Intake]
    pipeline: Callable[[Session, Sequence[StoredUtterance], Sink], Pipeline]
    threads: Executor
    consumer: str
    pace: Pace = Pace()
    check_room: Callable[[], None] = lambda: None
    tell: Tell = nobody
    heard: Callable[[float], None] = lambda seconds: None


class Client(Protocol):
    """The other end, whichever protocol it speaks. Raises ClientGone."""

    async def receive(self) -> bytes | Command:
        """Raises LiveProtocol too."""
        ...

    async def send(self, event: Event) -> None: ...


class ClientGone(Exception):
    """There is nobody any more to be told anything."""
