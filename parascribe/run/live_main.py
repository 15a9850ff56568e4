"""The process that serves live streams: a child (`core.system.program`) with CONSUMER RUNTIME [SOCKET_FD].

It has no model: text comes from the engine hosts of its consumer.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from core.config.loading import load
from core.config.settings import Settings
from core.system import logs
from parascribe.run import live_door
from parascribe.run.live_parts import LiveParts, MakeParts, make_parts, open_streams
from parascribe.run.wiring.stores import open_store
from worker.context.figures import LiveSeen
from worker.live.serving.server import LiveServer
from worker.live.serving.streams import Streams

log = logging.getLogger(__name__)

SEEN_SECONDS = 2.0
"""How often the figures are told how many streams there are."""


async def serve(
    settings: Settings, consumer: str, runtime: Path, sock: socket.socket | None, *, make: MakeParts = make_parts
) -> None:
    """Serve until SIGTERM. make: what a stream is heard with"""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopped)
    with contextlib.ExitStack() as stack:
        store = open_store(settings, migrate=False)
        stack.callback(store.close)
        told = functools.partial(_write, runtime)
        streams, parts = open_streams(stack, settings, runtime, store, consumer=consumer, make=make, changed=told)
        _write(runtime, 0)
        server = LiveServer(streams, (runtime / live_door.LIVE_TOKEN).read_text("utf-8"), tell=parts.tell)
        await server.listen(live_door.live_socket(runtime), sock)
        log.info("Live streams are served%s", f" on {sock.getsockname()[0]}:{sock.getsockname()[1]}" if sock else "")
        measuring = threading.Thread(target=parts.measure, name="measure", daemon=True)
        measuring.start()
        seen = asyncio.create_task(_tell_seen(streams, parts))
        await stopped.wait()
        seen.cancel()
        await server.stop()


def _stop(stopped: asyncio.Event) -> None:
    if stopped.is_set():  # asked twice: hurry
        os._exit(0)
    stopped.set()


async def _tell_seen(streams: Streams, parts: LiveParts) -> None:
    while True:
        there = streams.attended
        waiting: dict[str, int] = {}
        for stream in there:
            for stage, count in stream.waiting().items():
                waiting[stage] = waiting.get(stage, 0) + count
        behind = max((stream.behind for stream in there), default=0.0)
        parts.tell(LiveSeen(streams=len(there), behind=behind, waiting=waiting))
        await asyncio.sleep(SEEN_SECONDS)


def _write(runtime: Path, count: int) -> None:
    """A few bytes into a folder of sockets; whoever reads half of them reads 0."""
    (runtime / live_door.LIVE_STREAMS).write_text(str(count))


def main(consumer: str, runtime: Path, settings: Settings, fd: int | None, *, make: MakeParts = make_parts) -> None:
    """Blocks until SIGTERM. fd: of a socket that listens already"""
    logs.setup(settings.log_level, settings.log_format, role="live")
    sock = None if fd is None else socket.socket(fileno=fd)
    try:
        asyncio.run(serve(settings, consumer, runtime, sock, make=make))
    finally:
        if sock is not None:
            sock.close()


def run(arguments: Sequence[str]) -> None:
    """As a program. arguments: CONSUMER RUNTIME [SOCKET_FD]"""
    consumer, runtime, *fd = arguments
    main(consumer, Path(runtime), load(), int(fd[0]) if fd else None)
