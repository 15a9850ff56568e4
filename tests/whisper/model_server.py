"""A real HTTP server that serves one model file, well or badly."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

from tests.whisper.bad_server import BadHandler, BadServer, serving
from whisper.models.catalogue import ModelInfo

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


class ModelServer(BadServer):
    """modes: ok, no-range, html, wrong (bytes), longer, missing, busy, break, stall, trickle,
    no-such-range, other-range (both where a range is asked for)
    """

    def __init__(self, *modes: str, listening: bool = True) -> None:
        super().__init__(_Handler, *modes, listening=listening)
        self.data = QUANTISED.read_bytes()
        self.ranges: list[str | None] = []  # one entry per request

    @property
    def url(self) -> str:
        return f"{self.address}/models"


class _Handler(BadHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        mode = server.mode()
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
        self.send(body[start:], mode)


def model_server(*modes: str, listening: bool = True) -> AbstractContextManager[ModelServer]:
    return serving(ModelServer(*modes, listening=listening))
