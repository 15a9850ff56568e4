"""Clients of live streams at a running service, what they say, and a wall clock that can be moved."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from benchmarks.words import words
from core.audio.samples import SAMPLE_RATE, Pcm
from testbed import audio_bank
from testbed.service import Api
from tests.worker.live_kit import Client

CLOCK = Path(__file__).with_name("wall_clock.c")


@asynccontextmanager
async def calling(service: Api, **start: Any) -> AsyncIterator[Client]:
    """A connection that has said `start`."""
    address = f"ws{service.url.removeprefix('http')}/api/v1/live"
    async with connect(address, compression=None, close_timeout=2, proxy=None) as socket:
        client = Client(socket)
        await client.say("start", **start)
        yield client


async def send(client: Client, audio: bytes, size: int = 16_000) -> None:
    for at in range(0, len(audio), size):
        await client.socket.send(audio[at : at + size])


def spoken(*numbers: int, pause: float = 1.2) -> Pcm:
    """Sentences of the bank, silence around each."""
    hole = np.zeros(round(pause * SAMPLE_RATE), np.int16)
    return np.concatenate([hole, *(part for n in numbers for part in (audio_bank.sentence(n)[0], hole))])


def truth(*numbers: int) -> list[list[str]]:
    """The words of each sentence."""
    return [words(audio_bank.sentence(n)[1], "en") for n in numbers]


def as_words(*texts: str) -> list[list[str]]:
    """Of those that are not empty."""
    return [found for text in texts if (found := words(text, "en"))]


class WallClock:
    """What time it is for all processes that are started with `env`: moved by some seconds, at once. None without a C compiler."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "moved", folder / "wall_clock.so"
        self.env: dict[str, str] = {}
        if (compiler := shutil.which("cc")) is None:
            return
        self.move(0)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, CLOCK, "-ldl"], check=True)
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self._file)}

    def move(self, seconds: int) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))
