"""Settings read from all their sources, and what is odd about them, in words."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from core.config.files import DOTENV, TOML, ConfigError, dotenv_names, read_text, read_toml
from core.config.settings import Settings
from core.config.sources import FORGOTTEN, FORMER, file_names


def load(**overrides: Any) -> Settings:
    """Read all sources. Raises ConfigError naming each bad variable, or the file, in words."""
    read_text(DOTENV)  # what is wrong with it
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]).upper() if problem["loc"] else ""
            message = problem["msg"].removeprefix("Value error, ")
            shown = (
                ""
                if "KEY" in name or "URL" in name or not name
                else f" (it is {problem.get('input')!r}{_origin(name)})"
            )
            lines.append(f"{name}: {message}{shown}" if name else message)
        raise ConfigError("\n".join(lines)) from None


def _origin(name: str) -> str:
    """Where a variable that is not in the environment was set."""
    if name in map(str.upper, os.environ):
        return ""
    named = {DOTENV: dotenv_names(DOTENV), TOML: set(read_toml(TOML))}
    if not any(name in map(str.upper, names) for names in named.values()):
        former = next((old.upper() for old, new in FORMER.items() if new.upper() == name), None)
        return f", set as {former}" if former and former in map(str.upper, _given()) else ""
    return next((f", in {path}" for path, names in named.items() if name in map(str.upper, names)), "")


def _given() -> set[str]:
    """The names of all that is set, ours or not."""
    return set(os.environ) | dotenv_names(DOTENV) | set(read_toml(TOML))


def misspelt(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that look like ours but are none -> the nearest real name. environment: None = this one, and the files."""
    names = [name.upper() for name in (*Settings.model_fields, *sorted(file_names(Settings)))]
    given = _given() if environment is None else set(environment)
    found = {}
    for name in sorted(name for name in given if name.upper() not in names):
        close = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.87)
        if close:
            found[name] = close[0]
    return found


def remarks(settings: Settings) -> list[str]:
    """What somebody has set and nothing comes of it, a line each. Raises ConfigError."""
    wrong = misspelt()
    given = {name.lower() for name in _given()}
    lines = [f"{name} is no setting; did you mean {right}?" for name, right in wrong.items()]
    lines += [
        f"{old.upper()} is called {new.upper()} here" + (", which is set too and comes first" if new in given else "")
        for old, new in FORMER.items()
        if old in given
    ]
    lines += [f"{name.upper()} has no effect: {why}" for name, why in FORGOTTEN.items() if name in given]
    lines += [
        f"{name} in {TOML} is no setting"
        for name in read_toml(TOML)
        if name not in {*Settings.model_fields, *file_names(Settings), *wrong, *FORMER, *FORGOTTEN}
    ]
    lines += [f"{path} is a folder: no settings are read from it" for path in (DOTENV, TOML) if path.is_dir()]
    lines += [
        f"{path} is a link to nothing: no settings are read from it"
        for path in (DOTENV, TOML)
        if path.is_symlink() and not path.exists()
    ]
    lines += [
        f"{name}: this engine library has no GPU back end; the CPU is used"
        for name in ("USE_GPU", "GPU_DEVICES")
        if getattr(settings, name.lower())
    ]
    return lines
