"""The default engine: a client of the engine manager and, per model, of an engine host."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypedDict, Unpack

from core.audio.samples import Pcm
from core.errors import Cancelled, ChunkFailed, ChunkTimeout, EngineUnavailable, ModelInvalid
from core.system.cancel import Cancel
from whisper.types import ChunkTranscript, LanguageGuess, TranscribeOptions
from whisper.wire.frames import FrameError, FrameReader, FrameType, pack
from whisper.wire.process import engine_environment, python_command

POLL_SECONDS = 0.1
"""How often a waiting call looks at its `cancel`."""
STATUS_SECONDS = 5.0
"""How long the manager may take to say how it is; it waits 2 s for a host that does not answer."""
_LOST_HOSTS = 3
"""How many hosts may be lost under one chunk before it is given back: as many as open the manager's circuit."""


@dataclass(frozen=True, eq=False)
class _Lease:
    """A reference to a model's host: lasts as long as the connection to the manager is open."""

    connection: socket.socket
    info: dict[str, str]


class PreforkEngine:
    """Engine over the hosts of one manager.

    Connections are opened on first use, one to the manager per model and one to a host per chunk in flight; a
    forked child drops its copies of them and opens its own.
    """

    hears_languages = True

    def __init__(self, manager_socket: Path) -> None:
        self._manager = manager_socket
        self._reset()
        if hasattr(os, "register_at_fork"):
            reset = weakref.WeakMethod(self._forget_parents)
            os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def transcribe(
        self,
        model: str,
        pcm: Pcm,
        options: TranscribeOptions,
        *,
        job: str = "",
        label: str = "",
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> ChunkTranscript:
        request = {"op": "transcribe", "job": job, "label": label, "timeout": timeout, "options": options.to_dict()}
        body, info = self._call(model, request, pcm, cancel)
        engine = {"library": info["library"], "version": info["version"]}
        return ChunkTranscript.from_dict({**body, "engine": engine})

    def detect_language(
        self, model: str, pcm: Pcm, *, job: str = "", timeout: float | None = None, cancel: Cancel | None = None
    ) -> LanguageGuess:
        request = {"op": "detect", "job": job, "label": "language", "timeout": timeout}
        return LanguageGuess(**self._call(model, request, pcm, cancel)[0])

    def status(self, *, seconds: float = STATUS_SECONDS) -> dict[str, Any]:
        """The manager's report: libraries, hosts, workers, queues. Raises EngineUnavailable, at the latest after `seconds`."""
        sock, report = self._ask({"op": "status"}, None, seconds)
        self._shut(sock)
        return report

    def close(self) -> None:
        """Give back the references held by this process. The engine may be used again."""
        with self._lock:
            for lease in self._leases.values():
                self._shut(lease.connection)
            self._leases.clear()

    # -- hosts

    def _call(
        self, model: str, request: dict[str, Any], pcm: Pcm, cancel: Cancel | None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        try:
            head = pack(FrameType.REQUEST, request, 4 * len(pcm))
        except FrameError as error:
            raise ChunkFailed(
                f"The chunk is not one that can be sent to the engine: {error}", reason="bad_chunk"
            ) from error
        for _ in range(_LOST_HOSTS):
            lease = self._lease(model, cancel)
            try:
                return self._exchange(lease.info["socket"], head, pcm, cancel), lease.info
            except (OSError, EOFError) as error:  # unloaded as idle, or dead: the chunk itself never kills a host
                lost = error
                self._drop(model, lease)
        raise EngineUnavailable(f"The engine host for {Path(model).name} was lost: {lost}") from lost

    def _exchange(self, path: str, head: bytes, pcm: Pcm, cancel: Cancel | None) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises OSError and EOFError when the host is lost."""
        with self._connection(path) as sock:
            reader = FrameReader()
            pending: memoryview | None = _message(head, pcm)
            poll = select.poll()
            poll.register(sock, select.POLLIN | select.POLLOUT)
            while True:
                if cancel is not None and cancel.is_set():
                    raise Cancelled  # closing the connection stops the worker
                events = poll.poll(POLL_SECONDS * 1000)
                if not events:
                    continue
                if pending and events[0][1] & select.POLLOUT:
                    try:
                        pending = pending[sock.send(pending) :]
                    except (BrokenPipeError, ConnectionResetError):
                        pending = None  # refused before it was all sent: the answer says why
                    if not pending:
                        pending = None  # 1.8 MB that need not stay while the engine works
                        poll.modify(sock, select.POLLIN)
                elif (frame := reader.feed(sock)) is not None:
                    if frame.type is FrameType.REPLY:
                        return frame.body
                    _raise(frame.body)

    def _lease(self, model: str, cancel: Cancel | None) -> _Lease:
        while not self._lock.acquire(timeout=POLL_SECONDS):
            if cancel is not None and cancel.is_set():
                raise Cancelled
        try:
            if (lease := self._leases.get(model)) is None:
                lease = self._leases[model] = _Lease(*self._ask({"op": "acquire", "model": model}, cancel))
            return lease
        finally:
            self._lock.release()

    def _drop(self, model: str, lease: _Lease) -> None:
        with self._lock:
            if self._leases.get(model) is lease:
                del self._leases[model]
                self._shut(lease.connection)

    # -- the manager

    def _ask(
        self, request: dict[str, Any], cancel: Cancel | None, seconds: float = float("inf")
    ) -> tuple[socket.socket, dict[str, Any]]:
        """The connection, still open, and the answer. Raises EngineUnavailable, ModelInvalid, Cancelled."""
        deadline = time.monotonic() + seconds
        try:
            sock = self._connect(str(self._manager))
        except OSError as error:
            raise EngineUnavailable(f"The engine manager does not answer: {error}") from error
        try:
            sock.settimeout(POLL_SECONDS)
            sock.sendall(json.dumps(request).encode() + b"\n")
            line = bytearray()
            while not line.endswith(b"\n"):
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer within {seconds:g} s")
                with contextlib.suppress(TimeoutError):
                    piece = sock.recv(65536)
                    if not piece:
                        raise EOFError("it closed the connection")
                    line += piece
            body = json.loads(line)
            if "error" in body:
                _raise(body["error"])
        except (OSError, EOFError) as error:
            self._shut(sock)
            raise EngineUnavailable(f"The engine manager is gone: {error}") from error
        except BaseException:
            self._shut(sock)
            raise
        return sock, body

    # -- sockets

    @contextlib.contextmanager
    def _connection(self, path: str) -> Iterator[socket.socket]:
        sock = self._connect(path)
        try:
            sock.setblocking(False)
            yield sock
        finally:
            self._shut(sock)

    def _connect(self, path: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(10.0)
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        self._sockets.add(sock)
        return sock

    def _shut(self, sock: socket.socket) -> None:
        self._sockets.discard(sock)
        sock.close()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._leases: dict[str, _Lease] = {}
        self._sockets: set[socket.socket] = set()

    def _forget_parents(self) -> None:
        """In a forked child: close the copies, or the parent's hang-ups would go unnoticed; and a lock may be held by nobody."""
        for sock in self._sockets:
            sock.close()
        self._reset()


def _message(head: bytes, pcm: Pcm) -> memoryview:
    """What goes over the socket: the head, then the samples as little-endian float32 in [-1, 1)."""
    import numpy as np  # late: the supervisor only asks for the status

    message = np.empty(len(head) + 4 * len(pcm), np.uint8)
    message[: len(head)] = np.frombuffer(head, np.uint8)
    np.multiply(pcm, np.float32(1 / 32768), out=message[len(head) :].view("<f4"))
    return message.data


def _raise(error: dict[str, Any]) -> NoReturn:
    code, message = error.get("code"), str(error.get("message", "unknown"))
    match code:
        case "chunk_timeout":
            allowed = error["timeout"]
            raise ChunkTimeout(
                f"A chunk took longer than the {allowed:.0f} s it was given: raise CHUNK_TIMEOUT, or use fewer workers or a smaller model.",
                seconds=error["seconds"],
                timeout=allowed,
            )
        case "model_invalid":
            raise ModelInvalid(message)
        case "engine_unavailable":
            raise EngineUnavailable(message, **{k: error[k] for k in ("retry_after",) if k in error})
        case _:
            raise ChunkFailed(f"The engine: {message}", reason=code, **{k: error[k] for k in ("signal",) if k in error})


class ManagerOptions(TypedDict, total=False):
    """The manager's arguments, defaults included, are described by `python -m whisper.host.manager --help`."""

    workers: int
    threads: int
    worker_idle_seconds: float
    memory_pressure: float
    cpu_pressure: float
    lone_threads: int
    max_loaded_models: int
    idle_seconds: float
    library: Path | None
    engine_dir: Path | None
    nice: int
    log_level: str
    log_format: str


def manager_command(manager_socket: Path, **options: Unpack[ManagerOptions]) -> list[str]:
    """argv of an engine manager that is to be a child of this process."""
    given = [
        w for name, value in options.items() if value is not None for w in ("--" + name.replace("_", "-"), str(value))
    ]
    return python_command("whisper.host.manager", "--socket", str(manager_socket), "--parent", str(os.getpid()), *given)


def start_manager(
    manager_socket: Path, *, wait: float = 20.0, **options: Unpack[ManagerOptions]
) -> subprocess.Popen[bytes]:
    """Start an engine manager and wait until it answers. It ends on SIGTERM, and with the *thread* that called this.

    manager_socket: short path in a folder of its own (made if missing, mode 0700)

    Raises EngineUnavailable when it does not come up within `wait` seconds.
    """
    command = manager_command(manager_socket, **options)
    manager_socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    manager_socket.unlink(missing_ok=True)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=engine_environment(), start_new_session=True
    )
    engine, end = PreforkEngine(manager_socket), time.monotonic() + wait
    while True:
        try:
            engine.status()
            return process
        except EngineUnavailable as error:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                process.wait()
                raise EngineUnavailable(f"The engine manager did not start: {error.message}") from error
            time.sleep(0.02)
