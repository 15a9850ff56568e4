"""What the engine's tests share: paths, a chunk of speech, a raw client of the host, looks at /proc."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from testbed import audio_bank
from whisper import DEMO_MODEL
from whisper.library.libraries import candidates
from whisper.wire.frames import FrameType, pack, receive
from whisper.wire.process import engine_environment, python_command

ROOT = Path(__file__).parents[2]
MODEL = DEMO_MODEL
WHEEL = next(c for c in candidates(None, None) if c.kind == "wheel")
QUICK: dict[str, Any] = {"language": "en", "fit_context": True}
"""The same text for a third of the work."""


@cache
def chunk(seed: int = 3, lang: str = "en", minutes: float = 0.1) -> tuple[NDArray[np.int16], str]:
    """(samples, what is said)."""
    pcm, truth = audio_bank.speech(minutes, seed, lang)
    return pcm, truth["text"]


def wait_for(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """What `condition` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    """Ended, or a zombie that its parent has not asked for yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Asked:
    """A request on its way, all of it but the last `keep` bytes: without these nothing is decoded."""

    def __init__(self, sock: socket.socket, data: bytes, keep: int = 0) -> None:
        self._sock, self._data, self._rest = sock, data[: len(data) - keep], data[len(data) - keep :]
        self._sender = threading.Thread(target=self._send)
        self._sender.start()

    @property
    def sent(self) -> bool:
        """Whether all of it has left here; the last 0.2 MB may still be in the socket."""
        return not self._sender.is_alive()

    def answer(self) -> dict[str, Any]:
        """Sends what was kept back."""
        if self._rest:
            self._sender.join()
            self._sock.sendall(self._rest)
        with self._sock:
            try:
                return receive(self._sock).body
            finally:
                self._sender.join()

    def hang_up(self) -> None:
        with self._sock:
            self._sock.shutdown(socket.SHUT_RDWR)
            self._sender.join()

    def _send(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: the answer says why
            self._sock.sendall(self._data)


class HostClient:
    """One engine host and raw requests to it."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.process, self.path = process, path
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        """What a failed test left open would fail another one, later."""
        for sock in self._sockets:
            sock.close()

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        self._sockets.append(sock)
        sock.settimeout(30)
        sock.connect(str(self.path))
        return sock

    def send(self, pcm: NDArray[Any], op: str = "transcribe", keep: int = 0, **request: Any) -> Asked:
        """Ask for a chunk; the samples are sent as the worker takes them, the last `keep` bytes with `answer`."""
        if op == "transcribe":
            request = {"options": QUICK, **request}
        payload = (pcm.astype(np.float32) / np.float32(32768)).tobytes()
        return Asked(self.connect(), pack(FrameType.REQUEST, {"op": op, **request}, len(payload)) + payload, keep)

    def transcribe(self, pcm: NDArray[Any], **request: Any) -> dict[str, Any]:
        return self.send(pcm, **request).answer()

    def status(self) -> dict[str, Any]:
        return Asked(self.connect(), pack(FrameType.REQUEST, {"op": "status"})).answer()

    def grow(self, workers: int) -> list[int]:
        """Give it so much to do at once that it has that many workers; their pids."""

        def grown() -> list[int] | None:
            with ThreadPoolExecutor(2 * workers) as pool:
                list(pool.map(lambda n: self.transcribe(chunk()[0], job=str(n)), range(2 * workers)))
            return pids if len(pids := self.worker_pids()) == workers else None

        return list(wait_for(grown, 60))

    def worker_pids(self) -> list[int]:
        """Once all are ready."""
        workers = wait_for(lambda: (w := self.status()["workers"]) and all(x["idle"] for x in w) and w)
        return [worker["pid"] for worker in workers]


@contextmanager
def running_host(
    folder: Path, *, workers: int = 1, arguments: tuple[str, ...] = (), model: Path = MODEL, kind: str = "whisper"
) -> Iterator[HostClient]:
    ready, tell = os.pipe()
    path = folder / "h.sock"
    command = python_command(
        "whisper.host.main",
        "--kind",
        kind,
        "--file",
        str(model),
        "--prepared",
        json.dumps({"directory": str(WHEEL.directory)}),
        "--socket",
        str(path),
        "--ready-fd",
        str(tell),
        "--parent",
        str(os.getpid()),
        "--workers",
        str(workers),
        *arguments,
    )
    process = subprocess.Popen(command, pass_fds=[tell], env=engine_environment(), stdin=subprocess.DEVNULL)
    os.close(tell)
    with os.fdopen(ready) as lines:
        said = json.loads(lines.readline())
    assert said.keys() == {"version"}, said
    client = HostClient(process, path)
    try:
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(5)


def text_of(reply: dict[str, Any]) -> str:
    return " ".join(s["text"] for s in reply["segments"])


def timeless(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply without what may differ between two runs."""
    return {k: v for k, v in reply.items() if not k.endswith("_seconds")}
