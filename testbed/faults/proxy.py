"""A TCP proxy that misbehaves on request, between the service and one of its servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Literal, Self

Mode = Literal["pass", "delay", "reset", "blackhole", "half-close"]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


class FaultProxy:
    """Listens on a loopback port and passes bytes to `host:port`, in a thread of its own.

    pass: as if it were not there. delay: each piece waits `seconds`. reset: open connections are reset, new
    ones too. blackhole: connections open and nothing ever comes or goes. half-close: the server's side is shut
    towards the client, what the client sends is still passed on.

    A connection that lost bytes stays silent after the fault, as a half-open one does: only the client's own time
    limits end it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode: Mode = "pass"
        self._seconds = 0.0
        self._open: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.accepted = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set(self, mode: Mode, seconds: float = 0.0) -> None:
        """From now on, for open and for new connections; returns when it holds."""
        self._call(self._set(mode, seconds))

    def close(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _set(self, mode: Mode, seconds: float) -> None:
        self._mode, self._seconds = mode, seconds
        for link in list(self._open):
            if mode == "reset":
                link.reset()
            elif mode == "half-close":
                link.half_close()

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._open):
            link.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(writer)
        self._open.add(link)
        try:
            if self._mode == "reset":
                link.reset()
                return
            try:
                back, forth = await asyncio.open_connection(*self._target)
            except OSError:
                link.reset()
                return
            link.far = forth
            if self._mode == "half-close":
                link.half_close()
            await asyncio.gather(self._copy(link, reader, forth), self._copy(link, back, writer))
        finally:
            self._open.discard(link)
            link.reset()

    async def _copy(self, link: _Link, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                if self._mode == "blackhole":
                    link.dead = True
                if link.dead:
                    continue
                if self._mode == "delay":
                    await asyncio.sleep(self._seconds)
                if link.half_closed and target is link.near:
                    continue
                target.write(data)
                await target.drain()
            if not link.dead and target.can_write_eof() and not (link.half_closed and target is link.near):
                target.write_eof()
        except (OSError, RuntimeError):
            if not link.dead:
                link.reset()  # both sides hear of it, as without a proxy


class _Link:
    """A connection of a client, and ours to the server."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.dead = self.half_closed = False

    def half_close(self) -> None:
        self.half_closed = True
        with contextlib.suppress(OSError, RuntimeError):
            self.near.write_eof()

    def reset(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
