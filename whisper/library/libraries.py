"""Where a libwhisper may be found, in order of preference."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from whisper.library.libwhisper import find_library

WHEEL = "pywhispercpp"
"""Carries a libwhisper; its own Python code is never imported."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """A directory with a libwhisper. Whether it works on this machine is the self-test's matter.

    kind: `operator` (WHISPER_LIBRARY), `own` (built here) or `wheel`
    version: as far as file names and records tell; empty when they do not
    """

    kind: str
    directory: Path
    version: str


def candidates(operator_dir: Path | None, engine_dir: Path | None) -> list[Library]:
    """The operator's directory, then `engine_dir/current` (our own build), then the wheel; those that are there.

    The operator's is listed even when it holds no library, so that the self-test can say so.
    """
    found = []
    if operator_dir is not None:
        directory = operator_dir.expanduser().resolve()
        found.append(Library(kind="operator", directory=directory, version=_version_of(directory)))
    if engine_dir is not None and find_library(engine_dir / "current"):
        directory = (engine_dir / "current").resolve()  # a later build must not change under a running host
        found.append(
            Library(kind="own", directory=directory, version=_recorded_version(directory) or _version_of(directory))
        )
    if wheel := _wheel_directory():
        found.append(Library(kind="wheel", directory=wheel, version=_version_of(wheel)))
    return found


@cache
def _wheel_directory() -> Path | None:
    """Looked for once: it reads the list of the package's files, and what is installed does not move under a process."""
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name.startswith("libwhisper."):
            directory = Path(str(file.locate())).resolve().parent
            if find_library(directory):
                return directory
    return None


def _recorded_version(directory: Path) -> str:
    try:
        return str(json.loads((directory / "record.json").read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _version_of(directory: Path) -> str:
    """From `libwhisper.so.1.8.5` or `libwhisper.1.8.5.dylib`."""
    names = sorted(path.name for path in directory.glob("libwhisper.*"))
    return next((match[0] for name in names if (match := re.search(r"\d+\.\d+\.\d+", name))), "")
