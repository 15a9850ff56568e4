from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config.settings import Settings
from parascribe import Client
from parascribe.client.calls import polling
from tests.api import serving
from tests.api.test_sources import origins
from tests.parascribe.both import KINDS
from tests.parascribe.fake_service import FakeService


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A service that is running; PARASCRIBE_URL names it. It moves with each look, and is looked at often."""
    monkeypatch.setattr(polling, "POLL_FIRST", 0.02)
    service = FakeService()
    monkeypatch.setenv("PARASCRIBE_URL", service.start())
    yield service
    service.stop()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[serving.Service]:
    """The real API, which may fetch addresses; PARASCRIBE_URL names it, and the current folder is `tmp_path`."""
    with serving.service(tmp_path / "service", origins=origins()) as started:
        monkeypatch.setenv("PARASCRIBE_URL", f"http://127.0.0.1:{started.port}")
        monkeypatch.chdir(tmp_path)
        yield started


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of this test alone: no .env, no parascribe.toml, no variables of the caller."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_DIR", str(tmp_path / "engine"))


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """Makes a client: `Client`, and `AsyncClient` with the same face."""
    return request.param


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., Path]:
    """Make a file to upload; its content says what its job will do."""

    def make(content: bytes = b"ok", name: str = "talk.mp3") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make
