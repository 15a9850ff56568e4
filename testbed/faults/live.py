"""A talk that is streamed to a live process which dies at any moment, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from typing import Any

import numpy as np
import psutil
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from core.audio.samples import SAMPLE_RATE
from core.objects.store import ObjectStore
from core.store.sql import SqlStore
from testbed.faults.rig import Rig

BLOCK = 3200
"""Bytes of a message: a tenth of a second."""

SPEED = 8.0
"""So many times faster than it is spoken."""


class Talk:
    """One client: it sends from the last ack again, and remembers what it was told. Finals are known by their numbers."""

    def __init__(self, rig: Rig, *, seed: int, seconds: float) -> None:
        rng, parts = np.random.default_rng(seed), list[np.ndarray[Any, Any]]()
        while sum(map(len, parts)) < seconds * SAMPLE_RATE:
            parts.append(rng.integers(-3000, 3000, int(rng.integers(10, 60)) * 512).astype(np.int16))
            parts.append(np.zeros(int(rng.integers(14, 25)) * 512, np.int16))
        self.audio = np.concatenate(parts).tobytes()
        self.rig, self.session, self.job, self.refused = rig, "", None, ""
        self.acked = 0
        self.finals: dict[int, str] = {}
        self.closed: list[int | None] = []
        self.repeated = 0
        self._moved = asyncio.Event()

    async def through(self) -> None:
        """All of it, however often the connection breaks."""
        while self.job is None and not self.refused:
            try:
                await self.go()
            except (OSError, WebSocketException, EOFError):
                await asyncio.sleep(0.05)

    async def go(self, *, vanish: float | None = None) -> None:
        """One connection. vanish: break it off after so many seconds"""
        door = await asyncio.to_thread(self.rig.live_door)
        options: dict[str, Any] = {
            "additional_headers": {"Authorization": f"Bearer {door['token']}"},
            "close_timeout": 0.5,
            "compression": None,
        }
        path = door["address"].removeprefix("unix:")
        opening = unix_connect(path, "ws://localhost/", **options)
        async with opening if path != door["address"] else connect(f"ws://{path}/", **options) as socket:
            start = {"type": "start"} | ({"session": self.session, "from": self.acked} if self.session else {})
            await socket.send(json.dumps(start))
            sending = asyncio.create_task(self._send(socket))
            try:
                with contextlib.suppress(TimeoutError, ConnectionClosed):
                    async with asyncio.timeout(vanish):
                        async for message in socket:
                            self._told(json.loads(message))
                if vanish is not None:
                    socket.transport.abort()
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        self.closed.append(socket.close_code)

    async def heard(self, finals: int) -> None:
        """Until so many finals have been told."""
        while len(self.finals) < finals:
            self._moved.clear()
            await asyncio.wait_for(self._moved.wait(), 30)

    async def _send(self, socket: Any) -> None:
        for at in range(self.acked * 2, len(self.audio), BLOCK):
            await socket.send(self.audio[at : at + BLOCK])
            await asyncio.sleep(BLOCK / 2 / SAMPLE_RATE / SPEED)
        await socket.send('{"type": "end"}')

    def _told(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "ready":
                self.session = event["session"]
            case "ack":
                self.acked = max(self.acked, event["position"])
            case "final":
                number = event["utterance"]
                self.repeated += number in self.finals
                assert self.finals.get(number, event["text"]) == event["text"], "what is final does not change"
                assert number in self.finals or event["end"] * SAMPLE_RATE > self.acked, "an ack goes behind its finals"
                assert number == len(self.finals) or number in self.finals, "in order, none left out"
                self.finals[number] = event["text"]
            case "error" if not event.get("resumable"):
                self.refused = event["code"]
            case "end":
                self.job = event["job"]
        self._moved.set()

    def check(self, store: SqlStore, objects: ObjectStore) -> None:
        """No sample lost or twice, in what was told and in what is stored."""
        assert self.job is not None, self.refused
        expected = spoken(self.audio)
        assert list(self.finals.values()) == expected
        source = store.get(self.job).source
        if source.origin is None:  # its job has brought it already
            with objects.open(source.key) as data:
                assert data.read()[44:] == self.audio
        else:
            assert b"".join(_read(objects, key) for _, _, key in store.pieces(self.session)) == self.audio
            assert [one.final["text"] for one in store.utterances(self.session)] == expected


def _read(objects: ObjectStore, key: str) -> bytes:
    with objects.open(key) as data:
        return data.read()


def spoken(audio: bytes) -> list[str]:
    """What `worker.live.scripted` hears in it, whatever happens on the way."""
    frames = np.abs(np.frombuffer(audio, np.int16).astype(np.int32)).reshape(-1, 512).max(axis=1) > 500
    found, begin, last = list[str](), None, 0
    for n, loud in enumerate([*frames, *([False] * 20)]):
        if loud:
            begin, last = n if begin is None else begin, n + 1
        elif begin is not None and (n + 1 - last) * 512 >= 0.4 * SAMPLE_RATE:
            found.append(f"{begin * 512} to {last * 512}")
            begin = None
    return found


async def kills(talk: Talk, *, count: int, seed: int = 0) -> int:
    """Stream all of it while the live process is killed so often, at random moments; returns how often it was."""
    rng, killed = random.Random(seed), 0
    going = asyncio.create_task(talk.through())
    while killed < count and not going.done():
        await asyncio.sleep(rng.uniform(0.15, 0.5))
        for process in await asyncio.to_thread(talk.rig.processes, "live_main"):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                killed += 1
        heard = len(talk.finals)
        with contextlib.suppress(TimeoutError):  # so that it gets on, however often it dies
            await asyncio.wait_for(asyncio.wait({going}, timeout=0), 0.1)
            await asyncio.wait_for(talk.heard(heard + 1), 8)
    await going
    return killed
