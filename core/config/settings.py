"""Every setting of the service, built once in `cmd/` (or the command line) and passed down.

Sources, strongest first: environment, `.env`, `parascribe.toml`, the defaults here. An empty
variable means its default. `.env.example` and docs/reference/configuration.md are made from
these files by `scripts/docs.py`; a test compares them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.config.engine import EngineSettings
from core.config.files import DOTENV, TOML
from core.config.live import LiveSettings
from core.config.service import ServiceSettings, is_loopback
from core.config.sources import FormerNames, TomlSource, Variables, file_names
from core.config.translation import TranslationSettings


class Settings(TranslationSettings, LiveSettings, EngineSettings, ServiceSettings):
    """All variables. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(
        env_file=DOTENV,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
        toml_file=TOML,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment, dotenv = Variables(settings_cls, env_settings), Variables(settings_cls, dotenv_settings)
        toml = TomlSource(settings_cls)
        return init_settings, environment, dotenv, toml, FormerNames(settings_cls, environment, dotenv, toml)

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("holds a NUL character")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.minio_endpoint and not (self.minio_access_key and self.minio_secret_key):
            raise ValueError("MINIO_ENDPOINT needs MINIO_ACCESS_KEY and MINIO_SECRET_KEY")
        if self.metrics_port and self.metrics_port == self.api_port:
            raise ValueError("METRICS_PORT is the API's port too (API_PORT): give it another one")
        if bool(self.translation_openai_url) != bool(self.translation_openai_model):
            raise ValueError("TRANSLATION_OPENAI_URL and TRANSLATION_OPENAI_MODEL need each other")
        if self.ingest_bucket and not self.minio_endpoint:
            raise ValueError("INGEST_BUCKET needs MINIO_ENDPOINT")
        if self.ingest_bucket and self.ingest_bucket == self.minio_bucket:
            raise ValueError("INGEST_BUCKET must not be MINIO_BUCKET, where everybody's jobs lie")
        if self.wyoming_port and not self.allow_open and not is_loopback(self.wyoming_host):
            raise ValueError(
                f"WYOMING_HOST={self.wyoming_host} would let anybody on the network use this service: Wyoming has no keys. "
                "Keep 127.0.0.1, or set ALLOW_OPEN=true if the network is trusted"
            )
        return self

    # what empty means
    @property
    def models_path(self) -> Path:
        return self.whisper_models_dir or self.data_dir / "models"

    @property
    def engine_path(self) -> Path:
        if self.engine_dir:
            return self.engine_dir
        # without HOME and an entry among the users there is no folder of one's own
        homeless = os.path.expanduser("~") == "~" and "XDG_DATA_HOME" not in os.environ
        return (self.data_dir if homeless else user_data_path("parascribe")) / "engine"

    def environment(self) -> dict[str, str]:
        """These settings as variables, for child processes (secrets included; never for ffmpeg or the engine)."""
        # the secrets are read: the children's files are none
        out = {name.upper(): "" for name in file_names(type(self))}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, Path):
                value = value.absolute()
            elif isinstance(value, list):
                value = ",".join(value)
            elif isinstance(value, dict):
                value = json.dumps(value)
            elif isinstance(value, bool):
                value = str(value).lower()
            out[name.upper()] = str(value)
        return out
