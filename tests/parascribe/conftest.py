from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parascribe import Client
from parascribe.client import client as client_module
from tests.parascribe.fake_service import FakeService


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A service that is running; PARASCRIBE_URL names it. It moves with each look, and is looked at often."""
    monkeypatch.setattr(client_module, "POLL_FIRST", 0.02)
    service = FakeService()
    monkeypatch.setenv("PARASCRIBE_URL", service.start())
    yield service
    service.stop()


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., Path]:
    """Make a file to upload; its content says what its job will do."""

    def make(content: bytes = b"ok", name: str = "talk.mp3") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make
