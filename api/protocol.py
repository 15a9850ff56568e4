"""uvicorn's quick parser of HTTP/1.1, with a bound on the head of a request, which it has none of itself."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
"""Request line and headers. As h11, uvicorn's other parser, has it; browsers send 2 KB, proxies allow 8 to 32."""


class BoundedHttp(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`. A head that goes on and on gets a 400 and ends the connection."""

    _in_head = True
    _head = 0

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.send_400_response(f"The request's head is longer than {HEAD_BYTES} bytes.")
