"""The forked side of the engine host: takes one connection at a time, reads its PCM, answers it."""

from __future__ import annotations

import os
import resource
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from setproctitle import setproctitle

from whisper.library.inference import BadChunk, DecodeFailed, Inference, Samples
from whisper.wire.frames import FrameError, FrameType, pack, receive, receive_into
from whisper.wire.process import give_back_memory, keep_memory

CLIENT_SECONDS = 10.0
"""How long a client may take to hand over its samples (2 MB over a local socket), or to take its answer."""

KEPT_SECONDS = 0.5
"""How long an idle worker that does short chunks keeps the memory of the last one for the next."""


def serve(control: socket.socket, inference: Callable[[int], Inference], *, recycle_after: int, rss_cap: int) -> None:
    """Work until the host closes `control` or this process is due for replacement.

    Per chunk the host sends one byte with the client's descriptor and the request; it hears `answering` (from
    then on the client may close without being missed), and `idle` or, as the last word, `retiring`.

    inference: made anew for each chunk, with its number of threads; the model behind it is one and the same
    recycle_after: chunks; rss_cap: bytes
    """
    chunks, sound, keeps = 0, True, False
    called = select.poll()  # select.select refuses descriptors from 1024 on
    called.register(control, select.POLLIN)
    _say(control, "idle")
    while True:
        _title("idle")
        if keeps and not called.poll(KEPT_SECONDS * 1000):
            give_back_memory()
            keeps = False
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        request = receive(control).body
        _title(f"{request.get('job', '')} {request.get('label', '')}")
        short = bool((request.get("options") or {}).get("fit_context"))
        if (
            short != keeps
        ):  # new pages for each state would be a seventh of a short chunk's time, and a full one's are large
            (keep_memory if short else give_back_memory)()
            keeps = short
        with socket.socket(fileno=descriptors[0]) as client:
            sound = _serve_client(control, client, inference(request["threads"]), request)
        chunks += 1
        if not sound or chunks >= recycle_after or resident_bytes() > rss_cap:
            _say(control, "retiring")
            return
        _say(control, "idle")


def _serve_client(control: socket.socket, client: socket.socket, core: Inference, request: dict[str, Any]) -> bool:
    """Returns False when this process had better be replaced."""
    started, sound = time.monotonic(), True
    try:
        kind, body = FrameType.REPLY, _answer(client, core, request)
    except (BadChunk, FrameError) as error:
        kind, body = FrameType.ERROR, {"code": "bad_chunk", "message": str(error)}
    except DecodeFailed as error:
        kind, body, sound = FrameType.ERROR, {"code": "chunk_failed", "message": str(error)}, False
    except (EOFError, OSError):
        return True  # the client has gone or does not send: nobody to answer
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        kind, body, sound = (
            FrameType.ERROR,
            {"code": "chunk_failed", "message": f"{type(error).__name__}: {error}"},
            False,
        )
    _say(control, "answering", seconds=time.monotonic() - started, good=kind is FrameType.REPLY)
    try:
        client.settimeout(CLIENT_SECONDS)
        client.sendall(pack(kind, body))
    except OSError:
        pass  # as above
    return sound


def _answer(client: socket.socket, core: Inference, request: dict[str, Any]) -> dict[str, Any]:
    count, rest = divmod(request["payload"], 4)
    if rest:
        raise BadChunk("the payload is not a whole number of f32 samples")
    samples = Samples(count)
    receive_into(client, samples.bytes(), seconds=CLIENT_SECONDS)
    if request["op"] == "detect":
        return core.detect_language(samples)
    return core.transcribe(samples, request.get("options") or {})


def _title(doing: str) -> None:
    printable = "".join(c if c.isprintable() else "?" for c in doing.strip()[:200])
    setproctitle(f"parascribe whisper worker {printable}")


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


def process_cpu(pid: int) -> tuple[float, bool]:
    """(CPU seconds so far, whether any of its threads is running or waiting for a core); (0, False) where unknown."""
    try:
        states = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/task/{thread}/stat", "rb") as stat:
                states.append(stat.read().rpartition(b")")[2].split()[0])
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0, False
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), b"R" in states


def waited_for_cpu(wall: float, cpu: float, *, threads: int, runnable: bool) -> float:
    """Seconds of `wall` that a worker did not get a core for, as far as can be told.

    A worker that wants to run and got less CPU than time went by is on an overloaded (or throttled) machine. One
    that is not runnable hangs, and one that got its share is merely slow: neither earns more time.
    """
    return max(0.0, wall - cpu / threads) if runnable else 0.0
