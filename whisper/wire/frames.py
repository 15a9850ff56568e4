"""Frames on the sockets between clients, engine host and workers: a fixed prefix, JSON, raw payload.

    magic u32 | version u16 | type u16 | json_len u32 | payload_len u32 | json | payload

Little-endian. The payload of a request is mono PCM at 16 kHz as f32le: the client converts (half a
millisecond with numpy, 23 ms without it in the worker, which stays free of numpy's memory).
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from core.audio.samples import SAMPLE_RATE

MAGIC = 0x4D524650  # "PFRM"
VERSION = 1
PREFIX = struct.Struct("<IHHII")
MAX_JSON = 1 << 20
MAX_REQUEST_JSON = 1 << 16
"""A request's header is handed on inside one socket buffer (about 200 KB on Linux), so it is kept far below."""
MAX_PAYLOAD = 4 * 31 * SAMPLE_RATE
"""30 s of f32le and a little."""


class FrameError(ValueError):
    """What came over the socket is not a frame of this protocol."""


class FrameType(IntEnum):
    REQUEST = 1
    REPLY = 2
    ERROR = 3
    EVENT = 4


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame's type and JSON; payload_len bytes follow it on the socket."""

    type: FrameType
    body: dict[str, Any]
    payload_len: int = 0


def pack(kind: FrameType, body: dict[str, Any], payload_len: int = 0) -> bytes:
    """Everything of a frame but its payload. Raises FrameError when a cap is exceeded."""
    data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(data) > (MAX_REQUEST_JSON if kind is FrameType.REQUEST else MAX_JSON) or payload_len > MAX_PAYLOAD:
        raise FrameError(f"a frame of {len(data)} bytes of JSON and {payload_len} of payload is too large")
    return PREFIX.pack(MAGIC, VERSION, kind, len(data), payload_len) + data


def unpack_prefix(data: bytes | bytearray) -> tuple[FrameType, int, int]:
    """(type, json_len, payload_len). Raises FrameError unless it is ours and within the caps."""
    magic, version, kind, json_len, payload_len = PREFIX.unpack(data)
    if magic != MAGIC or version != VERSION:
        raise FrameError(f"not a frame of this protocol (magic {magic:#x}, version {version})")
    if kind not in FrameType.__members__.values():
        raise FrameError(f"unknown frame type {kind}")
    limit = MAX_REQUEST_JSON if kind == FrameType.REQUEST else MAX_JSON
    if not 2 <= json_len <= limit or payload_len > MAX_PAYLOAD:
        raise FrameError(f"a frame of {json_len} bytes of JSON and {payload_len} of payload is out of bounds")
    return FrameType(kind), json_len, payload_len


def unpack_json(data: bytes | bytearray) -> dict[str, Any]:
    """Raises FrameError unless it is a JSON object."""
    try:
        body = json.loads(data.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise FrameError(f"the frame's JSON cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise FrameError("the frame's JSON is not an object")
    return body


class FrameReader:
    """Reads exactly one frame's prefix and JSON, in as many steps as the socket takes; never touches the payload."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._wanted = PREFIX.size
        self._head: tuple[FrameType, int] | None = None

    def feed(self, sock: socket.socket) -> Frame | None:
        """Read what is there; None = not complete yet. Works on blocking and non-blocking sockets.

        Raises FrameError (malformed), EOFError (closed in the middle or before), BlockingIOError never.
        """
        while True:
            try:
                piece = sock.recv(self._wanted - len(self._data))
            except BlockingIOError:
                return None
            if not piece:
                raise EOFError("the connection was closed")
            self._data += piece
            if len(self._data) < self._wanted:
                continue
            if self._head is None:
                kind, self._wanted, payload_len = unpack_prefix(self._data)
                self._head = kind, payload_len
                self._data.clear()
            else:
                return Frame(type=self._head[0], body=unpack_json(self._data), payload_len=self._head[1])


def receive(sock: socket.socket) -> Frame:
    """Wait for one frame on a blocking socket. Raises FrameError, EOFError, OSError (TimeoutError included)."""
    reader = FrameReader()
    while (frame := reader.feed(sock)) is None:
        continue
    return frame


def receive_into(sock: socket.socket, buffer: memoryview, *, seconds: float) -> None:
    """Fill the buffer, within so many seconds in all. Raises EOFError when the peer closes first, TimeoutError, OSError."""
    end = time.monotonic() + seconds
    while len(buffer):
        sock.settimeout(max(0.001, end - time.monotonic()))
        got = sock.recv_into(buffer)
        if not got:
            raise EOFError("the connection was closed inside the payload")
        buffer = buffer[got:]
