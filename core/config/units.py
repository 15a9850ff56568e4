"""Durations and sizes as people write them: `30s`, `5min`, `24h`, `1GB`; a bare number has the setting's own unit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from core.config.files import expand

SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {
    "b": 1,
    "k": 1024,
    "kb": 1024,
    "kib": 1024,
    "m": 1024**2,
    "mb": 1024**2,
    "mib": 1024**2,
    "g": 1024**3,
    "gb": 1024**3,
    "gib": 1024**3,
    "t": 1024**4,
    "tb": 1024**4,
    "tib": 1024**4,
}
_QUANTITY = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*$")


def quantity(value: Any, units: dict[str, float] | dict[str, int], own: float) -> float:
    """Convert to the setting's own unit, which is `own` of the table's base unit. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("expected a number, perhaps with a unit")  # noqa: TRY004 pydantic turns ValueError into its own
    if isinstance(value, int | float):
        return float(value)
    found = _QUANTITY.match(str(value))
    if not found or (found[2] and found[2].lower() not in units):
        raise ValueError(f"expected a number, perhaps with a unit ({', '.join(units)}), not {str(value)!r}")
    number, unit = float(found[1]), found[2].lower()
    return number * units[unit] / own if unit else number


def _duration(own: float) -> BeforeValidator:
    return BeforeValidator(lambda v: quantity(v, SECONDS, own))


Folder = Annotated[Path, BeforeValidator(lambda v: expand(v) if isinstance(v, str) else v)]
Seconds = Annotated[float, _duration(1.0)]
Hours = Annotated[float, _duration(3600.0)]
Megabytes = Annotated[float, BeforeValidator(lambda v: quantity(v, BYTES, 1024.0**2))]
