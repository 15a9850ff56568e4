"""The flag by which whoever waits for a long call tells it to give up."""

from __future__ import annotations

from typing import Protocol

from core.errors import Cancelled


class Cancel(Protocol):
    """Looked at again and again by the call. `threading.Event` fits."""

    def is_set(self) -> bool: ...


def raise_if_cancelled(cancel: Cancel | None) -> None:
    """Raises Cancelled once the flag is set; None is never set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled
