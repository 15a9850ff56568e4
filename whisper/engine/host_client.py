"""A client of the engine manager and, per model, of an engine host, whatever kind of model it serves."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from core.errors import ChunkFailed, ChunkTimeout, EngineUnavailable, ModelInvalid
from core.system.cancel import Cancel, raise_if_cancelled
from whisper.types import Call
from whisper.wire.frames import FrameError, FrameReader, FrameType, pack
from whisper.wire.kind import Bytes, ModelRef

POLL_SECONDS = 0.1
"""How often a waiting call looks at its `cancel`."""
STATUS_SECONDS = 5.0
"""How long the manager may take to say how it is; it waits 2 s for a host that does not answer."""
_LOST_HOSTS = 3
"""How many hosts may be lost under one request before it is given back: as many as open the manager's circuit."""


@dataclass(frozen=True, eq=False)
class _Lease:
    """A reference to a model's host: lasts as long as the connection to the manager is open."""

    connection: socket.socket
    info: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model made of a request."""

    body: dict[str, Any]
    payload: bytearray
    #: what runs the model: the kind's own words, and "version"
    host: dict[str, str]


class HostClient:
    """The hosts of one manager.

    Connections are opened on first use, one to the manager per model and one to a host per request in flight; a
    forked child drops its copies of them and opens its own.
    """

    def __init__(self, manager_socket: Path) -> None:
        self._manager = manager_socket
        self._reset()
        if hasattr(os, "register_at_fork"):
            reset = weakref.WeakMethod(self._forget_parents)
            os.register_at_fork(after_in_child=lambda: (method := reset()) and method())

    def ask(
        self,
        model: ModelRef,
        op: str,
        payload: Callable[[], Bytes] = bytes,
        options: dict[str, Any] | None = None,
        call: Call = Call(),
    ) -> Answer:
        """Have a model work on a payload, which is made when it is sent and need not stay while the model works.

        Raises what `whisper.types.Engine` does.
        """
        told = {"job": call.job, "owner": call.owner, "label": call.label, "timeout": call.timeout}
        request = {"op": op, **told, "urgency": call.urgency, "options": options}
        for _ in range(_LOST_HOSTS):
            lease = self._lease(model, call.cancel)
            try:
                body, received = self._exchange(lease.info["socket"], request, payload, call.cancel)
                return Answer(body=body, payload=received, host=lease.info)
            except (OSError, EOFError) as error:  # unloaded as idle, or dead: the request itself never kills a host
                lost = error
                self._drop(model, lease)
        raise EngineUnavailable(f"The engine host for {Path(model.files[0]).name} was lost: {lost}") from lost

    def load(self, model: ModelRef, cancel: Cancel | None = None) -> None:
        """Have a model in memory before anything is asked of it; returns when it is. Raises as `ask`."""
        lease = self._lease(model, cancel)
        try:
            with self._connection(lease.info["socket"]):
                pass
        except OSError:  # unloaded as idle
            self._drop(model, lease)
            self._lease(model, cancel)

    def status(self, *, seconds: float = STATUS_SECONDS) -> dict[str, Any]:
        """The manager's report: hosts, workers, queues. Raises EngineUnavailable, at the latest after `seconds`."""
        sock, report = self._ask_manager({"op": "status"}, None, seconds)
        self._shut(sock)
        return report

    def close(self) -> None:
        """Give back the references held by this process. The engine may be used again."""
        with self._lock:
            for lease in self._leases.values():
                self._shut(lease.connection)
            self._leases.clear()

    # -- hosts

    def _exchange(
        self, path: str, request: dict[str, Any], payload: Callable[[], Bytes], cancel: Cancel | None
    ) -> tuple[dict[str, Any], bytearray]:
        """Send a request and wait for its answer. Raises OSError and EOFError when the host is lost."""
        pending = _message(request, payload())
        with self._connection(path) as sock:
            reader, answer, received, rest = FrameReader(), None, bytearray(), memoryview(b"")
            poll = select.poll()
            poll.register(sock, select.POLLIN | select.POLLOUT)
            while answer is None or rest:
                raise_if_cancelled(cancel)  # closing the connection stops the worker
                events = poll.poll(POLL_SECONDS * 1000)
                if not events:
                    continue
                if pending and events[0][1] & select.POLLOUT:
                    try:
                        pending = _unsent(pending, sock.send(pending[0]))
                    except (BrokenPipeError, ConnectionResetError):
                        pending = []  # refused before it was all sent: the answer says why
                    if not pending:
                        poll.modify(sock, select.POLLIN)
                elif answer is not None:
                    if not (got := sock.recv_into(rest)):
                        raise EOFError("the connection was closed inside the payload")
                    rest = rest[got:]
                elif (answer := reader.feed(sock)) is not None:
                    if answer.type is not FrameType.REPLY:
                        _raise(answer.body)
                    received = bytearray(answer.payload_len)
                    rest = memoryview(received)
            return answer.body, received

    def _lease(self, model: ModelRef, cancel: Cancel | None) -> _Lease:
        with self._lock:  # never held for long: a model that takes its time to load keeps nobody else waiting
            loading = self._loading.setdefault(model, threading.Lock())
        while not loading.acquire(timeout=POLL_SECONDS):
            raise_if_cancelled(cancel)
        try:
            if (lease := self._leases.get(model)) is None:
                request = {"op": "acquire", "kind": model.kind, "files": model.files, "device": model.device}
                lease = _Lease(*self._ask_manager(request, cancel))
                with self._lock:
                    self._leases[model] = lease
            return lease
        finally:
            loading.release()

    def _drop(self, model: ModelRef, lease: _Lease) -> None:
        with self._lock:
            if self._leases.get(model) is lease:
                del self._leases[model]
                self._shut(lease.connection)

    # -- the manager

    def _ask_manager(
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
                raise_if_cancelled(cancel)
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
        self._loading: dict[ModelRef, threading.Lock] = {}
        self._leases: dict[ModelRef, _Lease] = {}
        self._sockets: set[socket.socket] = set()

    def _forget_parents(self) -> None:
        """In a forked child: close the copies, or the parent's hang-ups would go unnoticed; and a lock may be held by nobody."""
        for sock in self._sockets:
            sock.close()
        self._reset()


def _message(request: dict[str, Any], payload: Bytes) -> list[memoryview]:
    """What goes over the socket. Raises ChunkFailed."""
    try:
        head = pack(FrameType.REQUEST, request, len(payload))
    except FrameError as error:
        raise ChunkFailed(
            f"The chunk is not one that can be sent to the engine: {error}", reason="bad_chunk"
        ) from error
    return [memoryview(part) for part in (head, payload) if part]


def _unsent(pending: list[memoryview], sent: int) -> list[memoryview]:
    """What is left when so many bytes of the first part have gone."""
    return [pending[0][sent:], *pending[1:]] if sent < len(pending[0]) else pending[1:]


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
