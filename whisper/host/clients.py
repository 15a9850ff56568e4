"""A host's clients: one connection per request, of which the header alone is read here."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whisper.types import Urgency
from whisper.wire.frames import Frame, FrameError, FrameReader, FrameType, pack
from whisper.wire.kind import Op

HEADER_SECONDS = 10.0
"""A connection that has not sent its request by then is closed."""
MAX_CONNECTIONS = 512
STATUS = "status"
"""The op that the host itself answers, whatever its kind."""


@dataclass(eq=False)
class Connection:
    """One request's: its header is being read, then it waits in the queue, then a worker has it."""

    sock: socket.socket
    born: float
    reader: FrameReader = field(default_factory=FrameReader)
    #: the header, once it is read, with the payload's length
    request: dict[str, Any] | None = None

    @property
    def job(self) -> str:
        return str((self.request or {}).get("job", ""))

    @property
    def owner(self) -> str:
        return str((self.request or {}).get("owner", ""))

    @property
    def urgency(self) -> Urgency:
        return Urgency((self.request or {}).get("urgency", Urgency.JOB))


class Clients:
    """All connections. None of its sockets ever blocks.

    listener: bound and listening; poll: where the sockets are watched; ops: what may be asked
    """

    def __init__(self, listener: socket.socket, poll: select.poll, ops: Mapping[str, Op]) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._poll = poll
        self._ops = ops
        self._connections: dict[int, Connection] = {}
        self._listening = False

    def listen(self) -> None:
        """Accept more, or wait until there are fewer."""
        wanted = len(self._connections) < MAX_CONNECTIONS
        if wanted and not self._listening:
            self._poll.register(self._listener, select.POLLIN)
        elif self._listening and not wanted:
            self._poll.unregister(self._listener)
        self._listening = wanted

    def at(self, fd: int) -> Connection | None:
        """The connection of a descriptor. One that the listener has is accepted, and none yet."""
        if fd == self._listener.fileno():
            self._accept()
        return self._connections.get(fd)

    def read(self, connection: Connection) -> bool:
        """What has come of the header; True when it is complete and asks for something that workers do."""
        try:
            frame = connection.reader.feed(connection.sock)
        except FrameError as error:
            self.refuse(connection, "bad_request", str(error))
            return False
        except (EOFError, OSError):
            self.forget(connection)
            return False
        if frame is None:
            return False
        if wrong := self._fault(frame):
            self.refuse(connection, *wrong)
            return False
        connection.request = {**frame.body, "payload": frame.payload_len}
        if frame.body["op"] in self._ops:
            self._poll.modify(connection.sock, 0)  # hang-ups alone: what may be read now is the worker's
        return frame.body["op"] in self._ops

    def answer(self, connection: Connection, kind: FrameType, body: dict[str, Any]) -> None:
        """Nothing was sent to this client before, so a small frame fits into its socket's buffer whole."""
        try:
            connection.sock.send(pack(kind, body))
        except OSError:
            pass  # gone: there is nobody to tell
        self.forget(connection)

    def refuse(self, connection: Connection, code: str, message: str, **details: Any) -> None:
        self.answer(connection, FrameType.ERROR, {"code": code, "message": message, **details})

    def forget(self, connection: Connection) -> None:
        """Close our copy: the client is gone, or a worker has answered it."""
        del self._connections[connection.sock.fileno()]
        self._poll.unregister(connection.sock)
        connection.sock.close()

    def end_mute(self) -> None:
        """Refuse those whose request does not come."""
        latest = time.monotonic() - HEADER_SECONDS
        for connection in [c for c in self._connections.values() if c.request is None and c.born < latest]:
            self.refuse(connection, "bad_request", "the request did not come")

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # the client has gone again, or there are no descriptors left
            return
        sock.setblocking(False)
        self._connections[sock.fileno()] = Connection(sock, time.monotonic())
        self._poll.register(sock, select.POLLIN)

    def _fault(self, frame: Frame) -> tuple[str, str] | None:
        """(code, message) of what is wrong with a request's header, if anything is."""
        request, op = frame.body, frame.body.get("op")
        if frame.type is not FrameType.REQUEST or op not in (*self._ops, STATUS):
            return "bad_request", f"unknown request {op!r}"
        timeout = request.get("timeout")
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            return "bad_request", "timeout must be a number of seconds above 0"
        if request.get("urgency", Urgency.JOB) not in tuple(Urgency):
            return "bad_request", f"urgency must be one of {', '.join(Urgency)}"
        if op in self._ops and frame.payload_len > (most := self._ops[op].payload):
            return "bad_chunk", f"{frame.payload_len} bytes are more than the {most} that can be worked on at once"
        return None
