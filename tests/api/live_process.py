"""A live process for tests: it speaks the protocol over a real socket, and says what a script says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed

from api.http.metrics import LiveMetrics
from api.live.relay import RelayLinks
from api.live.scripted import ScriptedLinks, ScriptedStream
from api.live.where import Places
from core.errors import LiveFull, ServiceError
from core.jobs.consumers import ConsumerInfo
from core.live.events import Event, Failure
from core.live.options import Start
from core.live.wire import OWNER_HEADER
from core.store.protocols import ConsumerRow


@dataclass(kw_only=True)
class LiveProcess:
    """One, behind a door of its own; `sessions` stand for the table, which several share.

    full: refuses streams; deaf: reads no audio, so that nothing is acked, until it is set; fragile: dies of each stream
    """

    name: str
    sessions: ScriptedLinks
    path: Path
    token: str = "let-me-in"
    full: bool = False
    fragile: bool = False
    deaf: asyncio.Event | None = None
    #: bytes of audio that have come, over all connections
    bytes: int = 0
    starts: list[dict[str, object]] = field(default_factory=list)
    sockets: set[ServerConnection] = field(default_factory=set)
    server: Server | None = None

    @property
    def row(self) -> ConsumerRow:
        return self._row(f"unix:{self.path}")

    @property
    def row_elsewhere(self) -> ConsumerRow:
        """As of another machine, where it is reached over TCP."""
        assert self.server is not None
        port = next(iter(self.server.sockets)).getsockname()[1]
        return self._row(f"127.0.0.1:{port}")

    def _row(self, address: str) -> ConsumerRow:
        info = ConsumerInfo(live={"address": address, "token": self.token})
        return ConsumerRow(name=self.name, started_at=datetime.now(UTC), silent_seconds=1.0, info=info)

    @asynccontextmanager
    async def running(self, *, tcp: bool = False) -> AsyncIterator[LiveProcess]:
        served = serve(self._serve, "127.0.0.1", 0) if tcp else unix_serve(self._serve, str(self.path))
        async with served as self.server:
            yield self

    def kill(self) -> None:
        """Its connections break at once."""
        for socket in tuple(self.sockets):
            socket.transport.abort()

    async def give_away(self) -> None:
        """It stops, and says so."""
        for socket in tuple(self.sockets):
            await self._say(socket, [Failure(code="handed_back", message="It stops.", resumable=True)])
            await socket.close(1012)

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        if socket.request.headers.get("Authorization") != f"Bearer {self.token}":
            return await socket.close(1008)
        owner = socket.request.headers.get(OWNER_HEADER)
        self.sockets.add(socket)
        try:
            message = json.loads(await socket.recv())
            self.starts.append(message)
            if self.full:
                raise LiveFull
            start = Start.of(message)
            stream = self.sessions.stream(start, None if owner is None else unquote(owner))
            await self._say(socket, stream.begin(start))
            if self.deaf is not None:
                await self.deaf.wait()
            async for said in socket:
                if isinstance(said, bytes) and self.fragile:
                    return socket.transport.abort()
                await self._say(socket, self._heard(stream, said))
                if stream.ended:
                    break
        except ConnectionClosed:
            pass
        except ServiceError as error:
            errors = error.details.get("errors")
            await self._say(socket, [Failure(code=error.code, message=error.message, errors=errors)])
            await socket.close(1008)
        finally:
            self.sockets.discard(socket)
        return None

    def _heard(self, stream: ScriptedStream, said: str | bytes) -> Iterable[Event]:
        if isinstance(said, bytes):
            self.bytes += len(said)
            return stream.feed(said)
        return stream.flush() if json.loads(said)["type"] == "flush" else stream.end()

    async def tell(self, *events: Event) -> None:
        """On all its connections."""
        for socket in tuple(self.sockets):
            await self._say(socket, events)

    @staticmethod
    async def _say(socket: ServerConnection, events: Iterable[Event]) -> None:
        for event in events:
            await socket.send(json.dumps(event.to_dict()))


def relay_to(rows: Callable[[], list[ConsumerRow]], metrics: LiveMetrics, **seconds: float) -> RelayLinks:
    """That looks for processes anew each time."""
    clock = iter(range(10**9))
    places = Places(rows, clock=lambda: next(clock) * 10.0)
    return RelayLinks(places, check=lambda job: None, metrics=metrics, **({"again_seconds": 5.0} | seconds))
