"""The inside of a worker process: takes one connection at a time (or one per thread), reads its payload, answers it."""

from __future__ import annotations

import os
import resource
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from setproctitle import setproctitle

from core.errors import ServiceError
from whisper.wire.frames import FrameType, pack, receive, receive_into
from whisper.wire.kind import BadInput, Bytes, Kind, Model, Request, WorkFailed

CLIENT_SECONDS = 10.0
"""How long a client may take to hand over its payload (2 MB over a local socket), or to take its answer."""
REST_SECONDS = 0.5
"""Of idleness after which a model is told to rest."""


class _ClientGone(Exception):
    """It has hung up or does not send: there is nobody to answer."""


@dataclass(frozen=True, kw_only=True)
class WorkerRun:
    """One worker process's life: load, then work until the host closes the control sockets or it is due for replacement.

    load: gives the model; where the kind forks it is there already
    recycle_after: requests, rss_cap: bytes, after which it is to be replaced

    On each control socket the host sends, per request, one byte with the client's descriptor and the request. It hears
    `loaded` or `failed` (once), `answering` (from then on the client may close without being missed), and `idle` or, as
    the last word, `retiring`.
    """

    kind: Kind
    load: Callable[[], Model]
    recycle_after: int
    rss_cap: int

    def __call__(self, controls: Sequence[socket.socket]) -> None:
        """One thread per socket; ends with the first of them."""
        self._title("")
        try:
            model = self.load()
        except ServiceError as error:
            _say(controls[0], "failed", code=error.code, message=error.message)
            return
        _say(controls[0], "loaded", version=model.version)
        for control in controls[1:]:
            threading.Thread(target=self._thread, args=(control, model), daemon=True).start()
        self._serve(controls[0], model)

    def _thread(self, control: socket.socket, model: Model) -> None:
        """One of several; what ends it ends the process."""
        try:
            self._serve(control, model)
        except Exception:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(1)

    def _serve(self, control: socket.socket, model: Model) -> None:
        called = select.poll()  # select.select refuses descriptors from 1024 on
        called.register(control, select.POLLIN)
        _say(control, "idle")
        requests = 0
        while True:
            self._title("idle")
            if requests and not called.poll(REST_SECONDS * 1000):
                model.rest()
            data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not data:
                return
            request = receive(control).body
            self._title(f"{request.get('job', '')} {request.get('label', '')}")
            with socket.socket(fileno=descriptors[0]) as client:
                sound = self._answer(control, client, model, request)
            requests += 1
            due = not sound or requests >= self.recycle_after or resident_bytes() > self.rss_cap
            _say(control, "retiring" if due else "idle")

    def _answer(self, control: socket.socket, client: socket.socket, model: Model, request: dict[str, Any]) -> bool:
        """Returns False when this process had better be replaced."""
        started, good, sound = time.monotonic(), False, True
        try:
            answer, spent = self._reply(client, model, request)
            good, sound = True, not spent
        except _ClientGone:
            return True
        except BadInput as error:
            answer = [_error("bad_chunk", str(error))]
        except WorkFailed as error:
            answer, sound = [_error("chunk_failed", str(error))], False
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            answer, sound = [_error("chunk_failed", f"{type(error).__name__}: {error}")], False
        _say(control, "answering", seconds=time.monotonic() - started, good=good)
        try:
            client.settimeout(CLIENT_SECONDS)
            for part in answer:
                client.sendall(part)
        except OSError:
            pass  # gone
        return sound

    def _reply(self, client: socket.socket, model: Model, request: dict[str, Any]) -> tuple[list[Bytes], bool]:
        """What goes to the client, and whether this process has done its work with that."""

        def read(buffer: memoryview) -> None:
            try:
                receive_into(client, buffer, seconds=CLIENT_SECONDS)
            except (EOFError, OSError) as error:
                raise _ClientGone from error

        hung_up = select.poll()
        hung_up.register(client, 0)
        reply = model.serve(
            Request(
                op=request["op"],
                options=request.get("options") or {},
                length=request["payload"],
                threads=request["threads"],
                read=read,
                abandoned=lambda: bool(hung_up.poll(0)),
            )
        )
        if len(reply.payload) > (most := self.kind.ops[request["op"]].reply_payload):
            raise WorkFailed(f"the reply has {len(reply.payload)} bytes of payload, {most} are allowed")
        return [pack(FrameType.REPLY, reply.body, len(reply.payload)), reply.payload], reply.spent

    def _title(self, doing: str) -> None:
        """Of a process that does one thing at a time; one with threads is told by its kind alone."""
        if self.kind.forks or not doing:
            printable = "".join(c if c.isprintable() else "?" for c in doing.strip()[:200])
            setproctitle(f"parascribe {self.kind.name} worker {printable}".rstrip())


def _error(code: str, message: str) -> bytes:
    return pack(FrameType.ERROR, {"code": code, "message": message})


def _say(control: socket.socket, event: str, **details: Any) -> None:
    control.sendall(pack(FrameType.EVENT, {"event": event, **details}))


def resident_bytes() -> int:
    """Resident memory of this process, shared weights included."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
