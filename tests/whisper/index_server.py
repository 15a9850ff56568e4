"""A package index as pip asks it (PEP 503), with wheels made here, that serves well or badly."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from tests.whisper.bad_server import BadHandler, BadServer, serving
from whisper.download.packages import Wheel


class IndexServer(BadServer):
    """modes: of requests for wheels: ok, break, trickle, wrong (other bytes)"""

    def __init__(self, *modes: str) -> None:
        super().__init__(_Handler, *modes)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []  # wheels, by project

    @property
    def url(self) -> str:
        return f"{self.address}/simple"

    def add(self, project: str, **members: bytes) -> Wheel:
        """A wheel with these files in it, deflated; `__` in a name stands for a dot."""
        data = _wheel(project, *members.items())
        self.files[f"{project.replace('-', '_')}-1.0-py3-none-any.whl"] = data
        return Wheel(project=project, version="1.0", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


@cache
def _wheel(project: str, *members: tuple[str, bytes]) -> bytes:
    """Made once: deflating a model takes as long as all else that most tests do with it."""
    folder = project.replace("-", "_")
    info = f"{folder}-1.0.dist-info"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        for name, data in members:
            wheel.writestr(f"{folder}/data/{name.replace('__', '.')}", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return held.getvalue()


class _Handler(BadHandler):
    server: IndexServer

    def do_GET(self) -> None:
        server = self.server
        name = self.path.rstrip("/").rpartition("/")[2]
        if name not in server.files:
            links = [
                f'<a href="/files/{file}">{file}</a>'
                for file in server.files
                if file.startswith(name.replace("-", "_") + "-")
            ]
            self._answer(
                200 if links else 404,
                "text/html",
                f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode(),
            )
            return
        mode = server.mode()
        server.asked.append(re.split(r"-\d", name)[0].replace("_", "-"))
        body = server.files[name]
        if mode == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self._answer(200, "application/octet-stream", body, mode)

    def _answer(self, status: int, kind: str, body: bytes, mode: str = "ok") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.send(body, mode)


def pip_environment(url: str) -> dict[str, str]:
    """pip asks this index alone, and remembers nothing of the others."""
    return {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": url,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_DEFAULT_TIMEOUT": "600",
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def index_server(monkeypatch: Any, *modes: str) -> Iterator[IndexServer]:
    """An index that pip is told to use for the time of the test."""
    server = IndexServer(*modes)
    for name, value in pip_environment(server.url).items():
        monkeypatch.setenv(name, value)
    with serving(server):
        yield server
