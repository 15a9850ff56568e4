"""Settings of the service around the engine: addresses, keys, where state lives, limits, reliability, logs."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from core.config.units import Folder, Hours, Megabytes, Seconds
from core.jobs.params import JobParams
from core.jobs.turns import AGE_SECONDS
from core.keys import Key, KeyLimits, keys_in
from core.options import read

Options = Annotated[dict[str, Any], NoDecode]


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's own."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class ServiceSettings(BaseSettings):
    """The first half of `Settings`."""

    # --- addresses
    api_host: str = Field(
        "127.0.0.1", description="Address the API listens on. A non-loopback address needs keys, or ALLOW_OPEN=true."
    )
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 picks a free one.")
    allow_open: bool = Field(False, description="Allow a non-loopback API_HOST without keys: everybody may use it.")
    forwarded_allow_ips: str = Field(
        "127.0.0.1",
        description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses and networks, with commas; * believes everybody.",
    )

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
    data_dir: Folder = Field(
        Path("data"),
        description="Folder for everything this installation keeps: database, objects, models, work files.",
    )
    work_dir: Folder | None = Field(
        None,
        description="Folder for the decoded audio of running jobs (115 MB an hour each, twice that with enhance). Empty: DATA_DIR/work. On a disk, not tmpfs.",
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

    # --- limits
    max_upload_mb: Megabytes = Field(4096.0, gt=0, description="Largest upload.")
    max_audio_hours: Hours = Field(24.0, gt=0, description="Longest audio.")
    max_queued_jobs: int = Field(
        0, ge=0, description="Beyond so many waiting jobs uploads are refused with 429. 0: no limit."
    )
    sync_wait_seconds: Seconds = Field(
        600.0, gt=0, description="How long requests of other people's interfaces (/v1/audio) wait for their job to end."
    )
    max_audio_conversions: int = Field(
        2,
        ge=0,
        le=64,
        description="So many files at most does one API process make playable at once (GET /jobs/{id}/audio?format=mp3). 0: none.",
    )
    min_free_disk_mb: Megabytes = Field(
        200.0, ge=0, description="Uploads are refused with 507 when less space than this is left."
    )

    # --- jobs
    job_defaults: Options = Field(
        {},
        description='JSON object of options that jobs have where nothing is asked for, such as {"word_timestamps": true, "language": "de"}. What is asked for comes first. The model is WHISPER_MODEL\'s.',
    )
    priority_age_seconds: Seconds = Field(
        AGE_SECONDS,
        ge=1,
        description="A waiting job moves into the next class of priority (bulk, normal, interactive) after so long, so that none waits for ever.",
    )

    # --- webhooks
    webhook_allow_private: bool = Field(
        False,
        description="Send webhooks to this machine and to private networks too (never to link-local addresses, where clouds keep secrets). Whoever may make jobs can then reach what listens there.",
    )

    # --- files from elsewhere
    url_ingest: bool = Field(
        False, description='Jobs may name an address ({"url": ...}) from which this service fetches their file.'
    )
    url_ingest_allow_private: bool = Field(
        False,
        description="Such addresses may lead into private networks and to this machine too. Never to link-local ones or a cloud's metadata.",
    )
    ingest_bucket: str | None = Field(
        None,
        min_length=3,
        description='Bucket at MINIO_ENDPOINT out of which jobs may name files ({"object": ...}); whoever may make jobs may read all of it. Another than MINIO_BUCKET. Empty: none.',
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

    # --- what can be seen
    tracing: bool = Field(
        False,
        description="Send OpenTelemetry traces of requests, jobs and chunks; needs the extra `otel`. Where to: OTEL_EXPORTER_OTLP_ENDPOINT and the like, as OpenTelemetry has them.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of a consumer's own figures for Prometheus, at /metrics. 0: none. Consumers on one machine need one each; the API has its own at API_PORT.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of METRICS_PORT. There is no key: give it another one only where monitoring alone can reach it.",
    )
    log_level: str = Field(
        "INFO", description="TRACE, DEBUG, INFO, WARNING or ERROR; also per module: INFO,worker=DEBUG."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines as text or JSON.")

    @field_validator("log_level")
    @classmethod
    def _levels(cls, value: str) -> str:
        for part in value.split(","):
            level = part.rpartition("=")[2].strip().upper()
            if level not in {"TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
                raise ValueError(f"unknown log level {level!r}")
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _proxies(cls, value: str) -> str:
        for part in filter(None, map(str.strip, value.split(","))):
            if part != "*":
                ip_network(part)
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

    @field_validator("job_defaults", mode="before")
    @classmethod
    def _job_defaults(cls, value: object) -> object:
        given = value
        if isinstance(value, str):
            try:
                given = json.loads(value)
            except ValueError as error:
                raise ValueError(f"expected a JSON object: {error}") from None
        if not isinstance(given, dict):
            raise ValueError("expected a JSON object")  # noqa: TRY004 pydantic turns ValueError into its own
        if "model" in given:
            raise ValueError("model: name it in WHISPER_MODEL")
        if given.get("enhance") == "vocals":
            raise ValueError("enhance: vocals is not available")
        if "known_speakers" in given:
            raise ValueError("known_speakers: voices belong to those whose jobs they are")
        values, errors = read(JobParams, given)
        if errors:
            raise ValueError("; ".join(f"{error['field']}: {error['message']}" for error in errors))
        return values

    @field_validator("api_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        keys_in(value.get_secret_value() if value else "")
        return value

    # what empty means
    @property
    def loopback(self) -> bool:
        """Whether the API can be reached from this machine only."""
        return is_loopback(self.api_host)

    @property
    def work_path(self) -> Path:
        return self.work_dir or self.data_dir / "work"

    @property
    def objects_path(self) -> Path:
        return self.data_dir / "objects"

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
