"""How loud a file is, measured by a program of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from api.audio.programs import Request, running

PER_SECOND = 20
"""Values a second: enough to see words."""

LOUDEST = 255
"""What a sample of full scale is measured as."""


def measure(request: Request, source: BinaryIO | Path, *, folder: Path | None = None, nice: int = 10) -> bytes:
    """The loudest sample of each twentieth of a second, one byte each. Raises what `running` raises."""
    with running("api.audio.loudness", request, source=source, folder=folder, nice=nice) as program:
        assert program.stdout is not None
        return program.stdout.read()  # it writes when it has read all


def reduced(values: bytes, points: int) -> Sequence[int]:
    """At most so many of them, each the loudest of its share."""
    count = len(values)
    if points >= count:
        return values
    return [max(values[n * count // points : (n + 1) * count // points]) for n in range(points)]
