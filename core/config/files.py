"""The files that settings come from, read so that what is wrong with one is said in a line that names it."""

from __future__ import annotations

import codecs
import os
import re
import tomllib
from pathlib import Path
from typing import Any

DOTENV = Path(".env")
TOML = Path("parascribe.toml")

_ASSIGNED = re.compile(r"\s*(?:export\s+)?([^\s=#]+)\s*=")


class ConfigError(ValueError):
    """A setting has a value that cannot be used; the message names the variable, or the file."""


def read_text(path: Path) -> str | None:
    """A settings file's text; None when there is none. A byte order mark of UTF-8 is taken off. Raises ConfigError."""
    try:
        if not path.is_file():
            return None
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    # UTF-16 without its mark would pass as UTF-8 with a NUL beside each letter
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise ConfigError(f"{path} is UTF-16 or no text at all: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """A settings file's values by name in lower case; {} when there is none. Raises ConfigError."""
    try:
        return {name.lower(): value for name, value in tomllib.loads(read_text(path) or "").items()}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error


def dotenv_names(path: Path) -> set[str]:
    """The variables that a `.env` file sets, spelt as there. Raises ConfigError."""
    return {found[1] for line in (read_text(path) or "").splitlines() if (found := _ASSIGNED.match(line))}


def expand(value: str) -> str:
    """A path with `~`, `$NAME` and `${NAME}` filled in, as a shell does.

    A `$` that stands for no variable is part of a name. Raises ValueError where that would make a folder called `~` or `$HOME`.
    """
    path = os.path.expandvars(os.path.expanduser(value))
    if path.startswith(("~", "$")):
        start = path.partition("/")[0]
        raise ValueError(f"{start} stands for nothing here (a folder of that name is ./{start})")
    return path
