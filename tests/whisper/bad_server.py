"""What servers that answer badly have in common: a real HTTP server whose answers to requests in turn are chosen."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar


class BadServer(ThreadingHTTPServer):
    """modes: how each request in turn is answered; the last one stays.

    listening: else connections are refused until `server_activate` is called
    """

    daemon_threads = True

    def __init__(self, handler: type[BadHandler], *modes: str, listening: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), handler, bind_and_activate=False)
        self.server_bind()
        if listening:
            self.server_activate()
        self.modes = list(modes or ["ok"])
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def mode(self) -> str:
        """That of the next request."""
        return self.modes.pop(0) if len(self.modes) > 1 else self.modes[0]


class BadHandler(BaseHTTPRequestHandler):
    """Quiet, also when the client hangs up."""

    server: BadServer

    def send(self, body: bytes, mode: str) -> None:
        """mode: break (ends after half of it), stall and trickle (until the server is released); all of it for any other"""
        if mode == "stall":
            self.wfile.write(body[:100_000])
            self.server.released.wait(30)
        elif mode == "trickle":
            for position in range(0, len(body), 100_000):
                if self.server.released.wait(0.05):
                    return
                self.wfile.write(body[position : position + 100_000])
        else:
            self.wfile.write(body[: len(body) // 2] if mode == "break" else body)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass


Server = TypeVar("Server", bound=BadServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def black_hole() -> Iterator[int]:
    """A port whose connections are neither made nor refused: its queue is full."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]
