from __future__ import annotations

import pytest

from tests.worker.kit import talk


@pytest.fixture(scope="session")
def minute(tmp_path_factory) -> bytes:
    """A minute of sentences as a WAV file: eight chunks or so of 8 s."""
    return talk(tmp_path_factory.mktemp("talk"))
