"""Live streams without processes around them: a server on a real socket, a scripted pipeline, sessions in memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from core.errors import LeaseLost, LiveSessionEnded, LiveSessionNotFound, OffsetConflict, UnknownModel
from core.live.sessions import NewSession, Session, SessionLease, StoredUtterance
from core.live.wire import OWNER_HEADER
from core.objects.memory import MemoryObjects
from worker.context.figures import Event, LiveCounted
from worker.live.scripted import Script, ScriptedIntake, ScriptedPipeline
from worker.live.serving.admission import Admission
from worker.live.serving.server import LiveServer
from worker.live.serving.stream import Pace, Serving
from worker.live.serving.streams import Streams

TOKEN = "let-me-in"


class MemorySessions:
    """`LiveSessions` that forgets everything with its process. `fails` are raised by the next writes, one each."""

    def __init__(self) -> None:
        self.rows: dict[str, Session] = {}
        self.fences: dict[str, int] = {}
        self.finals: dict[str, list[StoredUtterance]] = {}
        self.stored: dict[str, list[tuple[int, int, str]]] = {}
        self.left: dict[str, float] = {}
        self.fails: list[Exception] = []
        self._lock = threading.RLock()

    def begin_session(self, new: NewSession, *, consumer: str, lease_seconds: float) -> SessionLease:
        row = Session(
            **vars(new),
            acked=0,
            acked_bytes=0,
            utterances=0,
            created_at=datetime.now(UTC),
            consumer=consumer,
            job_id=None,
            ended=False,
        )
        with self._lock:
            self.rows[new.id], self.fences[new.id] = row, 1
            self.finals[new.id], self.stored[new.id] = [], []
        return SessionLease(session=row, fence=1)

    def resume_session(
        self, session_id: str, *, owner: str | None, consumer: str, lease_seconds: float
    ) -> SessionLease:
        with self._lock:
            row = self.rows.get(session_id)
            if row is None or row.owner != owner:
                raise LiveSessionNotFound
            if row.ended:
                raise LiveSessionEnded
            self.fences[session_id] += 1
            self.left.pop(session_id, None)
            return SessionLease(session=row, fence=self.fences[session_id])

    def _held(self, lease: SessionLease) -> Session:
        if self.fails:
            raise self.fails.pop(0)
        row = self.rows[lease.session.id]
        if self.fences[row.id] != lease.fence or row.ended:
            raise LeaseLost
        return row

    def renew_session(self, lease: SessionLease, *, lease_seconds: float) -> None:
        with self._lock:
            self._held(lease)

    def keep_utterances(self, lease: SessionLease, utterances: list[StoredUtterance], *, acked: int) -> SessionLease:
        with self._lock:
            row = self._held(lease)
            assert [one.number for one in utterances] == list(range(row.utterances, row.utterances + len(utterances)))
            assert acked >= row.acked
            self.finals[row.id] += utterances
            self.rows[row.id] = row = replace(row, acked=acked, utterances=row.utterances + len(utterances))
            return SessionLease(session=row, fence=lease.fence)

    def keep_translation(self, lease: SessionLease, number: int, translation: Mapping[str, Any]) -> None:
        with self._lock:
            finals = self.finals[self._held(lease).id]
            finals[number] = replace(finals[number], translation=translation)

    def keep_piece(self, lease: SessionLease, *, start: int, size: int, key: str) -> SessionLease:
        with self._lock:
            row = self._held(lease)
            if start != sum(size for _, size, _ in self.stored[row.id]):
                raise OffsetConflict
            self.stored[row.id].append((start, size, key))
            if row.options.encoding == "container":
                self.rows[row.id] = row = replace(row, acked_bytes=start + size)
            return SessionLease(session=row, fence=lease.fence)

    def utterances(self, session_id: str, *, first: int = 0) -> list[StoredUtterance]:
        with self._lock:
            return self.finals[session_id][first:]

    def pieces(self, session_id: str) -> list[tuple[int, int, str]]:
        with self._lock:
            return [*self.stored[session_id]]

    def leave_session(self, lease: SessionLease, *, seconds: float = 30.0) -> None:
        with self._lock:
            self.left[self._held(lease).id] = seconds

    def end_session(self, lease: SessionLease) -> str | None:
        with self._lock:
            row = self._held(lease)
            job = f"job-of-{row.id}" if row.options.save else None
            self.rows[row.id] = replace(row, ended=True, job_id=job)
            return job

    def sessions(self, owner: str | None, *, all_owners: bool = False) -> list[Session]:
        return [row for row in self.rows.values() if not row.ended and (all_owners or row.owner == owner)]

    def end_left_sessions(self, *, at_most: int = 100) -> list[str]:
        return []


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
    sessions: MemorySessions
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
    sessions: MemorySessions | None = None,
    objects: MemoryObjects | None = None,
    most: int = 100,
    check_room: Callable[[], None] = lambda: None,
    **pace: float,
) -> AsyncIterator[Live]:
    """pace: as in `Pace`, but quick"""
    script, pipelines, told, counts = Script(), list[ScriptedPipeline](), list[Event](), list[int]()
    sessions, objects = sessions or MemorySessions(), objects or MemoryObjects()

    def pipeline(session: Session, sink: Any) -> ScriptedPipeline:
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
