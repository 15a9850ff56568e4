"""Where a fault applies to both, its test runs solo (SQLite, a folder, no broker) and in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scripts.servers import Minio, Valkey
from tests.faults.rig import Rig, Servers, rig


@pytest.fixture
def cluster(tmp_path: Path, fresh_postgres: Callable[[], str], minio: Minio) -> Iterator[Callable[..., Rig]]:
    """Starts a cluster; options as for `Rig`."""
    with ExitStack() as stack:

        def start(**options: Any) -> Rig:
            servers = Servers(database_url=fresh_postgres(), minio=minio, valkey=Valkey().start())
            return stack.enter_context(rig(tmp_path, servers, **options))

        yield start


@pytest.fixture
def solo(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Starts a solo service; options as for `Rig`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(rig(tmp_path, **options))


@pytest.fixture(params=["solo", "cluster"])
def either(request: pytest.FixtureRequest) -> Callable[..., Rig]:
    """Both, one after the other."""
    start: Callable[..., Rig] = request.getfixturevalue(request.param)
    return start
