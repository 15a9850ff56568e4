"""Live streams without processes around them: a server on a real socket, a scripted pipeline, sessions in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from core.errors import UnknownModel
from core.live.memory import MemorySessions
from core.live.sessions import RESUME_SECONDS, Session, SessionLease, StoredUtterance
from core.live.wire import OWNER_HEADER
from core.objects.memory import MemoryObjects
from worker.context.figures import Event, LiveCounted
from worker.live.scripted import Script, ScriptedIntake, ScriptedPipeline
from worker.live.serving.admission import Admission
from worker.live.serving.parts import Pace, Serving
from worker.live.serving.server import LiveServer
from worker.live.serving.streams import Streams

TOKEN = "let-me-in"


class Sessions(MemorySessions):
    """Also to be looked into. `fails` are raised by the next writes, one each."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: list[Exception] = []
        self.left: dict[str, float] = {}
        self.rows, self.stored = self._sessions, self._pieces

    def finals(self, session: str) -> list[StoredUtterance]:
        return self.utterances(session)

    def keep_utterances(self, lease: SessionLease, utterances: list[StoredUtterance], *, acked: int) -> SessionLease:
        if self.fails:
            raise self.fails.pop(0)
        row = self.rows[lease.session.id]
        if self._fences[row.id] == lease.fence:
            assert [one.number for one in utterances] == list(range(row.utterances, row.utterances + len(utterances)))
            assert acked >= row.acked
        return super().keep_utterances(lease, utterances, acked=acked)

    def leave_session(self, lease: SessionLease, *, seconds: float = RESUME_SECONDS) -> None:
        self.left[lease.session.id] = seconds
        super().leave_session(lease, seconds=seconds)


def check(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if given.get("model", "demo") != "demo":
        raise UnknownModel(models=["demo"])
    return {"model": "demo", **given}, []


@dataclass
class Live:
    """One live process, without a process."""

    path: Path
    server: LiveServer
    streams: Streams
    serving: Serving
    sessions: Sessions
    objects: MemoryObjects
    script: Script
    pipelines: list[ScriptedPipeline]
    told: list[Event]
    counts: list[int]

    def counted(self, what: str) -> list[str]:
        """Codes."""
        return [event.code for event in self.told if isinstance(event, LiveCounted) and event.what == what]

    @asynccontextmanager
    async def client(self, owner: str | None = None, token: str = TOKEN, **start: Any) -> AsyncIterator[Client]:
        """A connection that has sent `start`, or nothing for `start=None`."""
        headers = {"Authorization": f"Bearer {token}"} | ({OWNER_HEADER: quote(owner)} if owner is not None else {})
        options: dict[str, Any] = {"additional_headers": headers, "compression": None, "close_timeout": 1}
        async with unix_connect(str(self.path), "ws://localhost/", **options) as socket:
            client = Client(socket)
            if start != {"start": None}:
                await client.say("start", **start)
            yield client


class Client:
    """What a client does; `got` is all that it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.got: list[dict[str, Any]] = []

    async def say(self, kind: str, **more: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **more}))

    async def until(self, kind: str, count: int = 1, seconds: float = 20.0) -> dict[str, Any]:
        """The n-th message of that type from now on."""
        async with asyncio.timeout(seconds):
            while count:
                message = json.loads(await self.socket.recv())
                self.got.append(message)
                count -= message["type"] == kind
        return self.got[-1]

    async def closed(self, seconds: float = 20.0) -> int:
        """The close code, once the rest is read."""
        async with asyncio.timeout(seconds):
            try:
                while True:
                    self.got.append(json.loads(await self.socket.recv()))
            except ConnectionClosed:
                pass
        assert self.socket.close_code is not None
        return self.socket.close_code

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.got if message["type"] == kind]

    def texts(self) -> list[str]:
        return [message["text"] for message in self.of("final")]


@asynccontextmanager
async def live(
    folder: Path,
    *,
    sessions: Sessions | None = None,
    objects: MemoryObjects | None = None,
    most: int = 100,
    check_room: Callable[[], None] = lambda: None,
    **pace: float,
) -> AsyncIterator[Live]:
    """pace: as in `Pace`, but quick"""
    script, pipelines, told, counts = Script(), list[ScriptedPipeline](), list[Event](), list[int]()
    sessions, objects = sessions or Sessions(), objects or MemoryObjects()

    def pipeline(session: Session, before: Any, sink: Any) -> ScriptedPipeline:
        pipelines.append(ScriptedPipeline(session, sink, script))
        return pipelines[-1]

    with ThreadPoolExecutor(4) as threads:
        serving = Serving(
            sessions=sessions,
            objects=objects,
            intake=ScriptedIntake,
            pipeline=pipeline,
            threads=threads,
            consumer="here",
            pace=Pace(**{"resume": 0.3, "acks": 0.05, "stats": 0.2, **pace}),
            check_room=check_room,
            tell=told.append,
        )
        streams = Streams(serving, check, Admission(most=most, workers=1), changed=counts.append)
        server = LiveServer(streams, TOKEN, tell=told.append)
        path = folder / "live"
        await server.listen(path)
        try:
            yield Live(path, server, streams, serving, sessions, objects, script, pipelines, told, counts)
        finally:
            await server.stop()


def speech(*pattern: float) -> bytes:
    """s16le at 16 kHz: so many seconds of noise, of silence, of noise, ... in whole frames of 32 ms."""
    rng, parts = np.random.default_rng(1), list[bytes]()
    for index, seconds in enumerate(pattern):
        samples = round(seconds * 16_000 / 512) * 512
        noise = rng.integers(-3000, 3000, samples).astype(np.int16)
        parts.append((noise if index % 2 == 0 else np.zeros(samples, np.int16)).tobytes())
    return b"".join(parts)


async def eventually(true: Callable[[], Any], seconds: float = 10.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := true()):  # noqa: ASYNC110 (what is meant has no event)
            await asyncio.sleep(0.005)
    return found
