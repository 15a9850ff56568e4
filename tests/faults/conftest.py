"""Two installations, solo (SQLite, a folder, no broker) and a cluster with two consumers, that all rows share.

Each test does its damage, mends it, and the fixture holds the invariants against its jobs; at the end of all,
against everything. Tests that need settings of their own start an installation of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scripts.servers import Minio, Valkey
from testbed.faults.rig import Rig, rig
from testbed.faults.servers import Servers

SHARED: dict[str, Any] = {
    # a job that names no language asks the engine for it, and that kills the process: poison on request
    "script": {"delay": 0.1, "rules": [{"kind": "kill", "label": "language"}]},
    "MAX_AUDIO_HOURS": "0.05",
    "MAX_UPLOAD_MB": "40",
    "MODEL_BASE_URL": "http://127.0.0.1:9/",  # nobody listens on the discard port
    "MODEL_SOURCES": "mirror",
    "WEBHOOK_ALLOW_PRIVATE": "true",
}
AHEAD = 3600
"""Seconds that the clock of the cluster's second consumer is off, in all tests: nothing depends on it (row 26)."""


@pytest.fixture(scope="session")
def shared_solo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("solo")
    flags = {"full_temp": str(folder / "full"), "stop_at_commit": str(folder / "stop")}  # files that tests make
    options = SHARED | {"script": SHARED["script"] | flags}
    with rig(folder, **options, MAX_CONCURRENT_JOBS="3") as shared:
        yield shared
        shared.check_all()


@pytest.fixture(scope="session")
def shared_cluster(
    tmp_path_factory: pytest.TempPathFactory, fresh_postgres: Callable[[], str], minio: Minio
) -> Iterator[Rig]:
    servers = Servers(database_url=fresh_postgres(), minio=minio, valkey=Valkey().start())
    ahead = {2: SHARED["script"] | {"wall_shift": AHEAD}}
    with rig(tmp_path_factory.mktemp("cluster"), servers, consumers=2, scripts=ahead, **SHARED) as shared:
        yield shared
        shared.check_all()


@pytest.fixture
def solo(shared_solo: Rig) -> Iterator[Rig]:
    yield from _used(shared_solo)


@pytest.fixture
def cluster(shared_cluster: Rig) -> Iterator[Rig]:
    yield from _used(shared_cluster)


@pytest.fixture(params=["solo", "cluster"])
def either(request: pytest.FixtureRequest) -> Rig:
    """Both, one after the other."""
    shared: Rig = request.getfixturevalue(request.param)
    return shared


@pytest.fixture
def own_solo(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Starts a solo service; options as for `Rig`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(rig(tmp_path, **options))


@pytest.fixture
def own_cluster(tmp_path: Path, fresh_postgres: Callable[[], str], minio: Minio) -> Iterator[Callable[..., Rig]]:
    """Starts a cluster; options as for `Rig`."""
    with ExitStack() as stack:

        def start(**options: Any) -> Rig:
            servers = Servers(database_url=fresh_postgres(), minio=minio, valkey=Valkey().start())
            return stack.enter_context(rig(tmp_path, servers, **options))

        yield start


def _used(shared: Rig) -> Iterator[Rig]:
    shared.heal()
    shared.begin()
    yield shared
    shared.heal()
    shared.check(stop=False)
