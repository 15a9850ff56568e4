"""Asking again: for what may be there a moment later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def retry(
    ask: Callable[[], T],
    *,
    pauses: Iterable[float],
    retryable: Callable[[Exception], bool],
    wait: Callable[[float], object] = time.sleep,
    patience: float = float("inf"),
) -> T:
    """What `ask` returns in the end. What it raises goes up when it is not retryable or no pause is left.

    pauses: seconds before each further try, at least as many as the error's own `retry_after`
    retryable: told of each error but the last one; the place to log it
    wait: passes the time; something true gives up, so the `wait` of a `threading.Event` fits. May raise
    patience: seconds after the first failure from which no further try begins
    """
    failed: float | None = None
    for pause in pauses:
        try:
            return ask()
        except Exception as error:
            failed = failed or time.monotonic()
            if not retryable(error) or time.monotonic() - failed > patience:
                raise
            if wait(max(pause, getattr(error, "retry_after", None) or 0.0)):
                raise
    return ask()


def doubling(first: float, most: float) -> Iterator[float]:
    """Pauses without end, each twice the one before up to `most` seconds."""
    while True:
        yield first
        first = min(most, 2 * first)
