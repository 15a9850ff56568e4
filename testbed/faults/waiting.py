"""For what happens in other processes: waited for, with a limit, and never slept for."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any


def writable(database: Path) -> bool:
    """Nobody is in the middle of a transaction."""
    try:
        with closing(sqlite3.connect(database, timeout=0.3, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
        return True
    except sqlite3.OperationalError:
        return False


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come true within {seconds} s"
        time.sleep(0.05)
    return value
