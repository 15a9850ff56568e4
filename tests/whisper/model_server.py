"""A real HTTP server that serves one model file, well or badly."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from whisper.catalogue import ModelInfo

DATA = Path(__file__).parents[1] / "data"
QUANTISED = DATA / "ggml-demo-q8_0.bin"

INFO = ModelInfo(
    name="demo-q8_0",
    bytes=10_803_593,
    sha256="de9651f3036dac66d33d5ff6d2ec64cee2224358358c4bcdd59c052905b33afd",
    multilingual=True,
    translates=True,
)
CATALOGUE = {INFO.name: INFO}


class ModelServer(ThreadingHTTPServer):
    """modes: how each request in turn is answered; the last one stays.

    ok, no-range, break (ends after half of what is asked), html, wrong (bytes), longer, missing, busy, stall, trickle,
    no-such-range, other-range (both where a range is asked for)
    listening: else connections are refused until `server_activate` is called
    """

    daemon_threads = True

    def __init__(self, *modes: str, listening: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server_bind()
        if listening:
            self.server_activate()
        self.modes = list(modes)
        self.data = QUANTISED.read_bytes()
        self.ranges: list[str | None] = []  # one entry per request
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        mode = server.modes.pop(0) if len(server.modes) > 1 else server.modes[0]
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        self.close_connection = True
        if mode == "busy":
            self.send_error(503)
            return
        if mode == "missing" or self.path != "/models/ggml-demo-q8_0.bin":
            self.send_error(404)
            return
        if mode == "no-such-range" and wanted:
            self.send_error(416)
            return
        body, kind = server.data, "application/octet-stream"
        if mode == "html":
            body, kind = b"<!doctype html><title>Sign in</title>", "text/html; charset=utf-8"
        elif mode == "wrong":
            body = body[:5_000_000] + bytes([body[5_000_000] ^ 1]) + body[5_000_001:]
        elif mode == "longer":
            body += b"more"
        start = 0
        if wanted and mode != "no-range":
            start = 0 if mode == "other-range" else int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if mode == "break":
            body = body[: len(body) // 2]
        elif mode == "stall":
            self.wfile.write(body[:100_000])
            server.released.wait(30)
            return
        elif mode == "trickle":
            for position in range(0, len(body), 10_000):
                if server.released.is_set():
                    return
                self.wfile.write(body[position : position + 10_000])
                time.sleep(0.05)
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass


@contextmanager
def model_server(*modes: str, listening: bool = True) -> Iterator[ModelServer]:
    server = ModelServer(*(modes or ("ok",)), listening=listening)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
