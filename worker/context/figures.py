"""What happens in a consumer's processes, of jobs and of live streams, told to the one process that keeps figures of it (`worker.metrics`)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

SEND_SECONDS = 0.2
"""Longest wait for a listener that is busy; then the event is dropped."""

EVENT_BYTES = 4096
"""No event is larger."""


@dataclass(frozen=True, kw_only=True)
class EngineAnswered:
    """waited: seconds from the request until a worker began with it; worked: from then on"""

    model: str
    waited: float
    worked: float


@dataclass(frozen=True, kw_only=True)
class ChunkEnded:
    """outcome: done, failed. audio_seconds: how much of the recording it covers; engine_seconds: CPU"""

    outcome: str
    audio_seconds: float
    engine_seconds: float


@dataclass(frozen=True, kw_only=True)
class JobBegan:
    """waited: seconds since it was made. Told of a job's first attempt alone."""

    waited: float


@dataclass(frozen=True, kw_only=True)
class JobLeft:
    """One claim's work is over.

    outcome: completed, failed, cancelled, or how it was let go; code: of a failed one, else empty
    seconds: since the claim; audio_seconds: of the whole file, 0 where that is not known or only a part of it was done here
    """

    outcome: str
    code: str
    seconds: float
    audio_seconds: float


@dataclass(frozen=True, kw_only=True)
class JobProcessDied:
    """While it held a job."""


@dataclass(frozen=True, kw_only=True)
class LiveCounted:
    """Of live streams. what: begin, resume, partial, final, ack, refusal, failure; code: of the last two, else empty"""

    what: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class StageDone:
    """One piece of work of a stage of a live stream is done.

    waited: seconds in the stage's queue; worked: seconds from then on
    """

    stage: str
    waited: float
    worked: float


@dataclass(frozen=True, kw_only=True)
class LiveSeen:
    """How the live process stands, every few seconds.

    streams: those with a client; behind: seconds of the one furthest behind; waiting: of all streams, by stage
    """

    streams: int
    behind: float
    waiting: Mapping[str, int]


Event = EngineAnswered | ChunkEnded | JobBegan | JobLeft | JobProcessDied | LiveCounted | StageDone | LiveSeen
Tell = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


def nobody(event: Event) -> None:
    """Figures are not wanted."""


class Sender:
    """Tells a `Listener` in another process; one that is not there, or does not keep up, is no reason to wait or to fail."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SEND_SECONDS)

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(json.dumps([type(event).__name__, asdict(event)]).encode(), self._path)

    def close(self) -> None:
        self._socket.close()


class Listener:
    """Hears the events that are sent to `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.fspath(path))

    def events(self) -> Iterator[Event]:
        """Until `close`."""
        while data := self._receive():
            name, values = json.loads(data)
            yield _KINDS[name](**values)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in `events`
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(EVENT_BYTES)
        except OSError:
            return b""
