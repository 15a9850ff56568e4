"""Is this machine fit to run the service as it is set up? One small check per part; none changes anything."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from core.audio.samples import SAMPLE_BYTES, SAMPLE_RATE
from core.config.loading import remarks
from core.config.settings import Settings
from core.errors import ModelInvalid, ServiceError, UnknownModel
from parascribe.screen.render import size

State = Literal["ok", "warn", "fail"]

PCM_BYTES_PER_HOUR = SAMPLE_BYTES * SAMPLE_RATE * 3600
"""What one hour of decoded audio takes in WORK_DIR."""

ANSWER_SECONDS = 3.0
"""How long another machine may take to answer a check."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the table. advice: what to do; empty when there is nothing to do."""

    name: str
    state: State
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run_checks(settings: Settings) -> list[Check]:
    """All checks, in the order a file takes through the service. A check that breaks is a failed check."""
    checks: list[Check] = []
    for name, check in CHECKS.items():
        try:
            checks += [check(settings)]
        except ServiceError as error:
            checks.append(Check(name=name, state="fail", found=error.message, advice=ADVICE.get(name, "")))
        except Exception as error:  # doctor must get to the end on a broken machine: that is what it is for
            found = f"{type(error).__name__}: {error}"
            checks.append(Check(name=name, state="fail", found=found, advice=ADVICE.get(name, "")))
    return checks


def check_settings(settings: Settings) -> Check:
    without_effect = remarks(settings)
    if without_effect:
        return Check(
            name="settings",
            state="warn",
            found="; ".join(without_effect),
            advice="correct what has no effect, or remove it",
        )
    return Check(name="settings", state="ok", found="all known and in range")


def check_plan(settings: Settings) -> Check:
    from parascribe.run.wiring.engine import plan_of

    plan = plan_of(settings)
    found = f"{plan.workers} x {plan.threads} threads on {plan.cores:g} cores, {plan.memory_mb} MB"
    advice = "; ".join(plan.warnings)
    return Check(name="workers", state="warn" if advice else "ok", found=found, advice=advice)


def check_ffmpeg(_: Settings) -> Check:
    from core.audio import ffmpeg

    program = ffmpeg.find()
    return Check(name="ffmpeg", state="ok", found=f"{program.version} ({program.path}), decodes")


def check_engine(settings: Settings) -> Check:
    from parascribe.tools import engines

    if settings.whisper_executable is not None:
        program = shutil.which(settings.whisper_executable)
        if program is None:
            found = f"WHISPER_EXECUTABLE={settings.whisper_executable} is no program"
            return Check(name="engine", state="fail", found=found, advice="correct the path, or leave it empty")
        return Check(name="engine", state="ok", found=f"the program {program}")
    here, record = engines.find(settings, fresh=True), engines.last_build(settings)
    found = f"{here.chosen.kind} libwhisper {here.chosen.version or '?'}, decodes with {here.model.info.name}"
    found += f" ({here.chosen.directory})"
    first = here.libraries[0]
    if here.chosen != first:
        words = f"the {first.kind} library in {first.directory} does not work here"
        return Check(name="engine", state="warn", found=f"{found}; {words}", advice=ADVICE["engine"])
    if record:
        return Check(name="engine", state="ok", found=f"{found}; last build: {record['verdict']}")
    advice = "parascribe engine build makes one for this CPU, often twice as fast" if first.kind == "wheel" else ""
    return Check(name="engine", state="ok", found=found, advice=advice)


def check_model(settings: Settings) -> Check:
    from parascribe.run.wiring.models import open_downloader, open_models
    from parascribe.run.wiring.stores import open_objects

    store, name = open_models(settings), settings.whisper_model
    try:
        path = store.path(name)
        if path is None:
            here = (
                ", ".join(model.info.name for model in store.list() if model.installed and model.verified is not False)
                or "none"
            )
            sources = open_downloader(settings, store, open_objects(settings)).sources_of(store.info(name))
            advice = f"it is fetched when first needed ({', '.join(sources)}); or now: parascribe models pull {name}"
            if not sources:
                advice = f"no source of MODEL_SOURCES has it: put ggml-{name}.bin into {store.folder}"
            return Check(name="model", state="warn", found=f"{name} is not here (here: {here})", advice=advice)
        valid = store.validate(name)
    except (UnknownModel, ModelInvalid) as error:
        return Check(
            name="model", state="fail", found=error.message, advice="set WHISPER_MODEL, or fetch the model anew"
        )
    pinned = "checksum right" if valid.info.sha256 else "unpinned: no published checksum"
    return Check(name="model", state="ok", found=f"{name}, {size(path.stat().st_size)}, {pinned}")


def check_translation(settings: Settings) -> Check:
    """Who translates (translate_to), with the pairs and licences of models."""
    from parascribe.run.translators import missing, wanted
    from whisper.models.translation import translation_models

    found: list[str] = []
    wrong: list[str] = []
    named = settings.translation_providers
    for name in wanted(settings):
        why = missing(settings, name)
        if why is None:
            found.append(name)
        elif name in named or (name == "ctranslate2" and settings.translation_models_dir is not None):
            wrong.append(f"{name}: {why}")
    for one in translation_models(settings.translation_models_dir):
        if isinstance(one, ModelInvalid):
            wrong.append(one.message)
        else:
            found.append(f"{one.source} to {one.target} ({one.name}, licence: {one.licence or 'not stated'})")
    told = "; ".join([", ".join(found) or "nobody", *wrong])
    if wrong:
        return Check(name="translation", state="warn", found=told, advice="see docs/how-to/translate.md")
    return Check(name="translation", state="ok", found=told)


def check_storage(settings: Settings) -> Check:
    from parascribe.run.wiring.stores import open_objects

    if settings.minio_endpoint:
        open_objects(settings).ping()
        found = f"bucket {settings.minio_bucket} at {settings.minio_endpoint}: can be written"
        return Check(name="storage", state="ok", found=found)
    return _folder("storage", settings.data_dir, settings.min_free_disk_mb * 1024**2 + 10**9, "DATA_DIR")


def check_work_dir(settings: Settings) -> Check:
    path = settings.work_path
    kind = filesystem(path)
    if kind in ("tmpfs", "ramfs"):
        return Check(
            name="work folder",
            state="warn",
            found=f"{path} is on {kind}: decoded audio would fill the memory",
            advice="set WORK_DIR to a folder on a disk",
        )
    needed = PCM_BYTES_PER_HOUR * settings.max_audio_hours * settings.max_concurrent_jobs
    return _folder("work folder", path, needed, "WORK_DIR")


def check_database(settings: Settings) -> Check:
    if settings.database_url is None and not (settings.data_dir / "parascribe.db").exists():
        return Check(name="database", state="ok", found="SQLite, made at the first start")
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from core.store import migrations
    from core.store.database import open_database

    database = open_database(settings.database)
    try:
        with database.read() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            kind = "PostgreSQL" if database.postgres else "SQLite"
    finally:
        database.close()
    scripts = ScriptDirectory.from_config(migrations.config())
    head = scripts.get_current_head()
    if current == head:
        return Check(name="database", state="ok", found=f"{kind}, schema {head}")
    if current in {None, *(script.revision for script in scripts.walk_revisions())}:
        return Check(
            name="database",
            state="ok",
            found=f"{kind}, schema {current or 'empty'}: brought to {head} at the next start",
        )
    return Check(
        name="database",
        state="fail",
        found=f"{kind}, schema {current} is of a newer version of this program",
        advice="run that version, or restore a backup made before the upgrade",
    )


def check_broker(settings: Settings) -> Check:
    if settings.broker is None:
        return Check(name="broker", state="ok", found="none: consumers look for jobs in the database")
    import redis

    broker = redis.Redis.from_url(settings.broker, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
    try:
        broker.ping()
        version = broker.info("server").get("redis_version", "?")
    except redis.RedisError as error:
        return Check(name="broker", state="fail", found=f"does not answer: {error}", advice=ADVICE["broker"])
    finally:
        broker.close()
    return Check(name="broker", state="ok", found=f"answers (Redis protocol {version})")


def check_port(settings: Settings) -> Check:
    host, port = settings.api_host, settings.api_port
    if not settings.loopback and not settings.allow_open and not _has_keys(settings):
        return Check(
            name="port",
            state="fail",
            found=f"API_HOST={host} would be open to others, and there are no keys",
            advice="make one (parascribe keys create NAME), use API_HOST=127.0.0.1, or ALLOW_OPEN=true where nobody else can reach it",
        )
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if port and _is_parascribe(host, port):
            return Check(name="port", state="ok", found=f"{host}:{port}: the service is running there")
        return Check(
            name="port",
            state="fail",
            found=f"{host}:{port} cannot be used: {error.strerror}",
            advice="stop what listens there, or choose another API_PORT",
        )
    return Check(name="port", state="ok", found=f"{host}:{port} is free")


def _has_keys(settings: Settings) -> bool:
    """Also False where the database is away or not made: another check says so."""
    if settings.known_keys:
        return True
    if settings.database_url is None and not (settings.data_dir / "parascribe.db").exists():
        return False
    from sqlalchemy.exc import SQLAlchemyError

    from parascribe.run.wiring.stores import open_store

    with contextlib.closing(open_store(settings, migrate=False)) as store:
        try:
            return store.has_keys()
        except (ServiceError, SQLAlchemyError):  # the latter: it has no such table yet
            return False


def filesystem(path: Path) -> str:
    """The kind of file system a path is (or will be) on, "" when unknown."""
    place = _existing(path).resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[folder] for folder in (place, *place.parents) if folder in mounts), "")


def _folder(name: str, path: Path, wanted: float, variable: str) -> Check:
    """Writable, and with as much free space as `wanted` bytes."""
    place = _existing(path)
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(
            name=name,
            state="fail",
            found=f"{place} cannot be written",
            advice=f"give this user the folder, or set {variable}",
        )
    free = shutil.disk_usage(place).free
    found = f"{path}, {size(free)} free"
    if free < wanted:
        return Check(
            name=name, state="warn", found=found, advice=f"{size(wanted)} may be needed: make room, or set {variable}"
        )
    return Check(name=name, state="ok", found=found)


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _is_parascribe(host: str, port: int) -> bool:
    import httpx

    try:
        answer = httpx.get(f"http://{host}:{port}/version", timeout=ANSWER_SECONDS, trust_env=False)
        return answer.is_success and "parascribe" in answer.text.lower()
    except httpx.HTTPError:
        return False


CHECKS: dict[str, Callable[[Settings], Check]] = {
    "settings": check_settings,
    "workers": check_plan,
    "ffmpeg": check_ffmpeg,
    "engine": check_engine,
    "model": check_model,
    "translation": check_translation,
    "storage": check_storage,
    "work folder": check_work_dir,
    "database": check_database,
    "broker": check_broker,
    "port": check_port,
}

ADVICE = {
    "ffmpeg": "install ffmpeg 6 or later, or the package imageio-ffmpeg",
    "engine": "parascribe engine build makes a library for this machine; WHISPER_LIBRARY names one of your own",
    "storage": "check MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY, and that the server runs",
    "database": "check DATABASE_URL, and that the server runs",
    "broker": "check BROKER_URL, and that the server runs",
}
