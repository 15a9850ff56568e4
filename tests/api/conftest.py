"""One service per test, or per module where the tests leave each other alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from api.live.scripted import ScriptedLinks
from tests.api.serving import Service, service
from tests.skipping import skip_on_a_laptop

NODE = Path(__file__).parent / "node"
"""The client and its exact version."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service with other parts than the usual ones: `serve(objects=..., settings={...})`."""
    with ExitStack() as stack:
        yield lambda **parts: stack.enter_context(service(tmp_path, **parts))


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a module, for the tests that leave nothing behind."""
    with service(tmp_path_factory.mktemp("unchanged")) as started:
        yield started


@pytest.fixture
def running(serve: Callable[..., Any]) -> Service:
    """A service of the test's own."""
    started: Service = serve()
    return started


@pytest.fixture
def talking(served: tuple[Service, ScriptedLinks]) -> Service:
    """The service of a module that has one with scripted streams as its fixture `served`."""
    return served[0]


@pytest.fixture
def links(served: tuple[Service, ScriptedLinks]) -> Iterator[ScriptedLinks]:
    """Its streams; those of other tests are forgotten."""
    links = served[1]
    links.streams.clear()
    yield links
    links.refuse = None


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with OpenAI's client for Node in it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        skip_on_a_laptop("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(NODE, folder, dirs_exist_ok=True)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        skip_on_a_laptop(f"npm could not fetch OpenAI's client: {done.stderr.strip()}")
    return folder
