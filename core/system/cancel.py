"""The flag by which whoever waits for a long call tells it to give up."""

from __future__ import annotations

import time
from typing import Protocol

from core.errors import Cancelled


class Cancel(Protocol):
    """Looked at again and again by the call. `threading.Event` fits."""

    def is_set(self) -> bool: ...


_LOOK_SECONDS = 0.1


def raise_if_cancelled(cancel: Cancel | None) -> None:
    """Raises Cancelled once the flag is set; None is never set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled


def wait(seconds: float, cancel: Cancel | None) -> None:
    """Let time pass. Raises Cancelled within a tenth of a second once the flag is set."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        raise_if_cancelled(cancel)
        time.sleep(min(left, _LOOK_SECONDS))
    raise_if_cancelled(cancel)
