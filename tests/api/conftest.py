"""One service per test, or per module where the tests leave each other alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Service, service


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service with other parts than the usual ones: `serve(objects=..., settings={...})`."""
    with ExitStack() as stack:
        yield lambda **parts: stack.enter_context(service(tmp_path, **parts))


@pytest.fixture
def running(serve: Callable[..., Any]) -> Service:
    """A service of the test's own."""
    started: Service = serve()
    return started
