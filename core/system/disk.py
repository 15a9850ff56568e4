"""A disk without space, told apart from whatever else can go wrong with a file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import DiskFull


def is_full(error: BaseException) -> bool:
    """No space left, or none of this user's quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_full(message: str | None = None, **details: Any) -> Iterator[None]:
    """Raises DiskFull (with this message) for an error that means so; others pass."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFull(message, **details) from error
        raise
