"""Secrets out of files: where `NAME` is a secret, `NAME_FILE` names a file that holds it (Docker and systemd give them so)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from core.config.files import ConfigError, expand, read_text

SUFFIX = "_file"


def secret_names(settings: type[BaseSettings]) -> set[str]:
    """Fields that are secrets, and so can come out of a file."""
    return {name for name, field in settings.model_fields.items() if SecretStr in _types(field)}


def file_names(settings: type[BaseSettings]) -> set[str]:
    """The variables that name such files, in lower case."""
    return {name + SUFFIX for name in secret_names(settings)}


def fill_in(values: MutableMapping[str, Any], given: Mapping[str, Any], names: Collection[str]) -> None:
    """Put into `values` what the files named in one source hold. Raises ConfigError for what is given twice there, or no file.

    values: of that source, by the fields' names; given: all of the source, names in lower case
    """
    for name in names:
        path = given.get(name + SUFFIX)
        if not path:
            continue
        variable = f"{name}{SUFFIX}".upper()
        if values.get(name):
            raise ConfigError(f"{name.upper()} and {variable} are both set; set one of them")
        try:
            text = read_text(Path(expand(str(path))))
        except ValueError as error:
            raise ConfigError(f"{variable}: {error}") from error
        if text is None:
            raise ConfigError(f"{variable}: there is no file {path}")
        values[name] = text.strip()


class WithSecretFiles(PydanticBaseSettingsSource):
    """A source, and the files that it names. given: all it holds, names in any case"""

    def __init__(
        self, settings: type[BaseSettings], source: PydanticBaseSettingsSource, given: Mapping[str, Any]
    ) -> None:
        super().__init__(settings)
        self._source, self._given = source, {name.lower(): value for name, value in given.items()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = dict(self._source())
        fill_in(values, self._given, secret_names(self.settings_cls))
        return values


def _types(field: FieldInfo) -> tuple[Any, ...]:
    return (field.annotation, *getattr(field.annotation, "__args__", ()))
