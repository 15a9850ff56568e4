"""Settings written into a `.env` file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dotenv

from core.errors import ServiceError
from core.system.disk import disk_full


def write_settings(path: Path, values: Mapping[str, object]) -> None:
    """Set these variables in a file, which may be missing; its other lines, its permissions and a link stay as they are.

    Raises DiskFull, ServiceError.
    """
    try:
        with disk_full(f"There is no space left for {path}."):
            # latin-1 keeps whatever bytes are in it
            there = dotenv.dotenv_values(path, interpolate=False, encoding="latin-1")
            for name, value in values.items():
                for spelled in {key for key in there if key.upper() == name} or {name}:  # settings know no case
                    dotenv.set_key(
                        path, spelled, str(value), quote_mode="never", encoding="latin-1", follow_symlinks=True
                    )
    except OSError as error:
        raise ServiceError(f"{path} cannot be written: {error.strerror}") from error
