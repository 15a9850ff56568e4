"""Broadcasts on this machine that break off: a camera (RTSP), a radio (Icecast), a playlist that grows (HLS)."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=a camera\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:one\r\n"
PACKET = 160
"""Bytes of mulaw at 8 kHz: 20 ms."""


class Server(socketserver.ThreadingTCPServer):
    """parts: what each connection that plays is given, one after the other, before it is broken off; then nothing more"""

    allow_reuse_address = daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler], parts: Sequence[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.parts = list(parts)
        self.fetched, self.refused = set[int](), 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: Any) -> None:
        """Who listens may go at any moment."""


@contextmanager
def served(server: socketserver.TCPServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(10)


class Camera(socketserver.StreamRequestHandler):
    """RTSP (RFC 2326) with its packets on the same connection; no recording, so that no length is told."""

    server: Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            head = [line, *iter(self.rfile.readline, b"\r\n")]
            method = head[0].split()[0]
            number = next(one.split()[1] for one in head if one.lower().startswith(b"cseq"))
            body = SDP if method == b"DESCRIBE" else b""
            more = b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n" if method == b"SETUP" else b""
            more += b"Content-Type: application/sdp\r\n" if body else b""
            self.wfile.write(
                b"RTSP/1.0 200 OK\r\nCSeq: %s\r\nPublic: DESCRIBE, SETUP, PLAY\r\n%sContent-Length: %d\r\n\r\n%s"
                % (number, more, len(body), body)
            )
            if method == b"PLAY":
                return self._play(self.server.parts.pop(0) if self.server.parts else b"")
        return None

    def _play(self, sound: bytes) -> None:
        for n, at in enumerate(range(0, len(sound), PACKET)):
            data = sound[at : at + PACKET]
            packet = b"\x80\x00" + n.to_bytes(2, "big") + (n * PACKET).to_bytes(4, "big") + b"\0\0\0\1" + data
            self.wfile.write(b"$\0" + len(packet).to_bytes(2, "big") + packet)


class Radio(http.server.BaseHTTPRequestHandler):
    """As Icecast: no length."""

    server: Server

    def do_GET(self) -> None:
        if not self.server.parts:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        self.send_header("icy-name", "a radio")
        self.end_headers()
        self.wfile.write(self.server.parts.pop(0))
        return None

    def log_message(self, *_: Any) -> None: ...


class Playlist(http.server.BaseHTTPRequestHandler):
    """HLS (RFC 8216): half of the parts, then nobody answers until a player has given up, then the rest up to its end."""

    server: Server
    REFUSALS = 3

    def do_GET(self) -> None:
        parts, fetched, half = self.server.parts, self.server.fetched, len(self.server.parts) // 2
        if self.path.endswith(".ts"):
            number = int(self.path[1:-3])
            fetched.add(number)
            return self._answer("video/mp2t", parts[number])
        if half - 1 in fetched and self.server.refused < self.REFUSALS:
            self.server.refused += 1
            return self.send_error(503)
        first, last = (0, half) if half - 1 not in fetched else (half, len(parts))
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        lines += [f"#EXTINF:1,\n{number}.ts" for number in range(first, last)]
        lines += ["#EXT-X-ENDLIST"] if len(parts) - 1 in fetched else []
        return self._answer("application/vnd.apple.mpegurl", "\n".join(lines).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...
