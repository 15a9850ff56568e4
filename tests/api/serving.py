"""A real uvicorn over real parts for the tests; run as a module it serves a folder until it is ended."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.access.identity import Authenticator, Open
from api.app import create_app
from api.deps import ApiDeps
from api.http.protocol import BoundedHttp
from core.config.settings import Settings
from core.objects.local import LocalObjects
from core.objects.memory import MemoryObjects
from core.objects.store import ObjectStore
from core.outbound.client import Outbound
from core.outbound.values import Rules
from core.store.database import open_database
from core.store.sql import SqlStore
from core.submission.origins import Origins
from testbed.service import PLAIN
from whisper import DATA
from whisper.models.store import ModelStore

BUNDLED = DATA / "models"


@dataclass(kw_only=True)
class Service:
    """What a test needs of a running service."""

    store: SqlStore
    objects: ObjectStore
    hints: list[str]
    client: httpx.Client = field(default_factory=httpx.Client)
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def keys(self) -> list[str]:
        return list(self.objects.keys("jobs/"))

    def submit(
        self, content: bytes | None = None, *, name: str = "talk.wav", key: str | None = None, **fields: str
    ) -> httpx.Response:
        files = {"file": (name, wav() if content is None else content)}
        return self.client.post(
            "/api/v1/jobs", data=fields, files=files, headers={"Idempotency-Key": key} if key else {}
        )


def wav(size: int = 1000, fill: bytes = b"\x01") -> bytes:
    """What looks like a recording to everybody who only looks at the beginning."""
    head = b"RIFF\xff\xff\xff\x00WAVEfmt "
    return head + fill * (size - len(head))


def make_app(
    folder: Path,
    store: SqlStore,
    *,
    settings: dict[str, Any] | None = None,
    authenticator: Authenticator | None = None,
    **parts: Any,
) -> FastAPI:
    made: dict[str, Any] = {
        "settings": Settings(_env_file=None, data_dir=folder, **(settings or {})),
        "objects": MemoryObjects(),
        "models": ModelStore(folder / "models", BUNDLED),
        "notify": lambda job_id: None,
        "system": lambda: {"cores": 2.0},
        "checks": {"database": store.ping},
        "version": "0.0.1",
    }
    return create_app(ApiDeps(**(made | parts)), store, authenticator or Open())


class Quick(uvicorn.Server):
    """Stops when it is told to: uvicorn looks ten times a second whether it shall."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._end, self._loop, tick = asyncio.Event(), asyncio.get_running_loop(), 0
        while not await self.on_tick(tick % 10):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), 0.1)
            tick += 1

    def end(self) -> None:
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended before
                self._loop.call_soon_threadsafe(self._end.set)


@contextmanager
def serving(app: FastAPI, *, port: int = 0) -> Iterator[int]:
    """Run the app, on a free port unless one is given; gives the port."""
    server = Quick(
        uvicorn.Config(app, http=BoundedHttp, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    assert server.started
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.end()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def service(
    folder: Path, *, store: SqlStore | None = None, around: Callable[[FastAPI], Any] = lambda app: app, **parts: Any
) -> Iterator[Service]:
    """around: what a test puts around the app, below uvicorn"""
    hints: list[str] = []
    store = store or SqlStore.in_memory()
    objects = parts.setdefault("objects", MemoryObjects())
    with (
        serving(around(make_app(folder, store, **({"notify": hints.append} | parts)))) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False, verify=PLAIN) as client,
    ):
        yield Service(store=store, objects=objects, hints=hints, client=client, port=port)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    database = open_database(f"sqlite:///{where}/jobs.db")
    database.migrate()
    files = LocalObjects(where / "objects")
    named = Origins(web=Outbound(Rules(max_bytes=10**6)), objects=files)
    uvicorn.run(
        make_app(where, SqlStore(database), objects=files, origins=named), port=int(sys.argv[2]), log_level="warning"
    )
