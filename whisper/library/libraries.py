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
    shares_cores: whether its threads let others run while they wait for each other, instead of spinning
    """

    kind: str
    directory: Path
    version: str
    shares_cores: bool = False


def candidates(operator_dir: Path | None, engine_dir: Path | None) -> list[Library]:
    """The operator's directory, then `engine_dir/current` (our own build), then the wheel; those that are there.

    The operator's is listed even when it holds no library, so that the self-test can say so.
    """
    found = []
    if operator_dir is not None:
        directory = operator_dir.expanduser().resolve()
        found.append(_library("operator", directory))
    if engine_dir is not None and find_library(engine_dir / "current"):
        directory = (engine_dir / "current").resolve()  # a later build must not change under a running host
        found.append(_library("own", directory))
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


def _library(kind: str, directory: Path) -> Library:
    """With what the record of its build says, where there is one."""
    try:
        record = dict(json.loads((directory / "record.json").read_text()))
    except (OSError, ValueError, TypeError):
        record = {}
    version = str(record.get("version") or _version_of(directory))
    return Library(kind=kind, directory=directory, version=version, shares_cores=record.get("shares_cores") is True)


def _version_of(directory: Path) -> str:
    """From `libwhisper.so.1.8.5` or `libwhisper.1.8.5.dylib`."""
    names = sorted(path.name for path in directory.glob("libwhisper.*"))
    return next((match[0] for name in names if (match := re.search(r"\d+\.\d+\.\d+", name))), "")
