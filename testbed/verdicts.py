"""Where the engine's self-tests are remembered: each costs as much as all that most tests have decoded."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def engine_dir() -> Path:
    """ENGINE_DIR for all that this process starts, without a build; gone with it."""
    folder = tempfile.mkdtemp(prefix="parascribe-engine-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
