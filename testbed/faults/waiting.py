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


def pause(waited: float) -> float:
    """Seconds until one may look again who has waited so long: looking costs, and all who wait share two cores."""
    return min(0.3, 0.02 + waited / 8)


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` returns as soon as it is true."""
    began = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, f"it did not come true within {seconds} s"
        time.sleep(pause(waited))
    return value
