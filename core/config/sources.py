"""The sources of settings, and secrets out of files: where `NAME` is a secret, `NAME_FILE` names a file that holds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, TomlConfigSettingsSource

from core.config.files import ConfigError, expand, read_text, read_toml

SUFFIX = "_file"

FORMER = {"max_workers": "max_parallel_workers"}
"""What a setting is called in older set-ups -> its name."""
FORGOTTEN = {
    "use_process_pool": "engine workers are processes of their own, always",
    "gpu_memory_optimization": "this engine library has no GPU back end",
}
"""Settings of older set-ups of which nothing is left, and why."""


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


class TomlSource(TomlConfigSettingsSource):
    """`parascribe.toml`, its names in any case; an empty value means the default, as in the other sources."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        return {name: value for name, value in read_toml(file_path).items() if value != ""}

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        fill_in(values, self.toml_data, secret_names(self.settings_cls))
        return values


class Variables(PydanticBaseSettingsSource):
    """The environment, or `.env`, and the files that it names."""

    def __init__(self, settings: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings)
        assert isinstance(source, EnvSettingsSource)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = self._source()
        fill_in(values, self.given, secret_names(self.settings_cls))
        return values

    @property
    def given(self) -> dict[str, Any]:
        """All that is there, ours or not, by name in lower case."""
        return {name.lower(): value for name, value in self._source.env_vars.items()}


class FormerNames(PydanticBaseSettingsSource):
    """What the other sources have under a name of older set-ups, the strongest first; the weakest of all, for who has both."""

    def __init__(
        self, settings: type[BaseSettings], environment: Variables, dotenv: Variables, toml: TomlSource
    ) -> None:
        super().__init__(settings)
        self._given = (environment.given, dotenv.given, toml.toml_data)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: [given[former] for given in self._given if given.get(former)] for former, name in FORMER.items()}
        return {name: values[0] for name, values in found.items() if values}


def _types(field: FieldInfo) -> tuple[Any, ...]:
    return (field.annotation, *getattr(field.annotation, "__args__", ()))
