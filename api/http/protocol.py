"""uvicorn's quick parser of HTTP/1.1, with bounds on the head of a request, which it has none of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
"""Request line and headers. As h11, uvicorn's other parser, has it; browsers send 2 KB, proxies allow 8 to 32."""


class BoundedHttp(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`. A head that goes on and on gets a 400 and ends the connection; so do trailers, which
    nobody reads.

    What takes long finds in the scope `when_stopping`, a list of what is called when the server stops, and `abort`, which
    breaks the connection without waiting for what has not been taken.

    head_seconds: for how long a client may be connected, or have begun a request, without having sent a whole head;
        then the connection is closed (uvicorn's own timer runs between two requests only)
    """

    head_seconds = 60.0
    _in_head = True
    #: bytes since the last that made a request, or were some of its body
    _idle = 0
    _late: asyncio.TimerHandle | None = None
    _when_stopping: list[Callable[[], None]] | tuple[()] = ()

    def shutdown(self) -> None:
        for stop in [*self._when_stopping]:
            stop()
        super().shutdown()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(self.head_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head, self._idle = True, 0
        if self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self.transport.close)
        super().on_message_begin()
        self._when_stopping = []
        self.scope |= {"when_stopping": self._when_stopping, "abort": self.transport.abort}  # type: ignore[misc]

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes behind a body is no header of a request that is being answered
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._idle = False, 0
        self._in_time()
        super().on_headers_complete()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def on_body(self, body: bytes) -> None:
        self._idle = 0
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        self._idle += len(data)
        super().data_received(data)
        if self._idle > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"There are more than {HEAD_BYTES} bytes of headers.")
