"""The service's processes at the end of its life."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from testbed.service import Service


def test_an_upload_that_goes_on_at_the_end_is_cut_and_leaves_nothing(tmp_path: Path) -> None:
    """The API waits for it, then aborts what it has stored of it: it must not be killed in between."""
    service = Service(tmp_path).start()
    address = urlsplit(service.url)
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n\r\nRIFF\0\0\0\0WAVE'
    try:
        with socket.create_connection((str(address.hostname), address.port or 0)) as connection:
            connection.sendall(
                (
                    "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
                    f"Content-Type: multipart/form-data; boundary=x\r\n\r\n{head}"
                ).encode()
                + bytes(100_000)
            )
            unfinished = tmp_path / "data" / "objects" / ".tmp"
            deadline = time.monotonic() + 20
            while not (unfinished.exists() and list(unfinished.iterdir())):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert service.stop() == 0
        assert list(unfinished.iterdir()) == []
        assert "is killed" not in service.log
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()
