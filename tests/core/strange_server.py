"""A real HTTP server of a stranger, which answers as its path says: well, badly, slowly or without an end."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

BODY = bytes(range(256)) * 1000


class StrangeServer(ThreadingHTTPServer):
    """Paths: /file, /nothing, /status/N, /to/URL (a redirect), /loop, and those of `_Handler.do_GET`.

    POST: the answer is as long as the path says (/N). What has been received is in `requests`
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "http" if tls is None else "https"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.body = BODY
        """Of /file."""
        self.lead = b""
        """Before what /short, /slow and /endless send."""
        self.released, self.reached = threading.Event(), threading.Event()

    def url(self, path: str, host: str = "files.test") -> str:
        return f"{self.scheme}://{host}:{self.server_address[1]}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up here: that is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StrangeServer

    def do_GET(self) -> None:
        path = self.path
        self.server.requests.append((path, {k.lower(): v for k, v in self.headers.items()}, b""))
        self.server.reached.set()
        match path.partition("?")[0].split("/", 2)[1:]:
            case ["status", number]:
                self._head(int(number), {"Content-Length": "0"})
            case ["to", target]:
                self._head(302, {"Location": unquote(target), "Content-Length": "0"})
            case ["loop"]:
                self._head(307, {"Location": "/loop", "Content-Length": "0"})
            case ["file"]:
                self._head(200, {"Content-Length": str(len(self.server.body)), "Set-Cookie": "a=b"})
                self.wfile.write(self.server.body)
            case ["short"]:  # than it says
                self._head(200, {"Content-Length": str(len(self.server.lead + BODY) * 2)})
                self.wfile.write(self.server.lead + BODY)
            case ["longer"]:  # than it says
                self._head(200, {"Content-Length": "10"})
                self.wfile.write(BODY)
            case ["endless"]:
                self._head(200, {})
                self.wfile.write(self.server.lead)
                while not self.server.released.is_set():
                    self.wfile.write(BODY)
            case ["silent"]:
                self._head(200, {"Content-Length": "100"})
                self.server.released.wait(30)
            case ["slow"]:  # a byte now and then
                self._head(200, {"Content-Length": "1000000"})
                self.wfile.write(self.server.lead)
                while not self.server.released.wait(0.02):
                    self.wfile.write(b"x")
            case ["slow-head"]:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not self.server.released.wait(0.02):
                    self.wfile.write(b"x")
            case ["large-head"]:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n")
            case ["packed"]:
                self._head(200, {"Content-Encoding": "gzip", "Content-Length": "3"})
                self.wfile.write(b"abc")
            case ["nonsense"]:
                self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            case ["declared"]:
                self._head(200, {"Content-Length": "99999999999"})
            case _:
                self._head(404, {"Content-Length": "0"})
        self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        size = int(self.path.removeprefix("/"))
        self._head(201, {"Content-Length": str(size), "Location": "http://169.254.169.254/"})
        self.wfile.write(b"x" * size)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def strange_server(tls: ssl.SSLContext | None = None) -> Iterator[StrangeServer]:
    server = StrangeServer(tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
