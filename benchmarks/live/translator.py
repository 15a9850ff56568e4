"""A LibreTranslate server that takes its time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class SleepingTranslator(ThreadingHTTPServer):
    """From English into German, in so many seconds for each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seconds = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: SleepingTranslator

    def do_GET(self) -> None:
        self._answer([{"code": "en", "name": "English", "targets": ["de"]}, {"code": "de", "name": "German"}])

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["q"]
        time.sleep(self.server.seconds)
        self._answer({"translatedText": texts})

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def sleeping_translator() -> Iterator[SleepingTranslator]:
    with SleepingTranslator() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
