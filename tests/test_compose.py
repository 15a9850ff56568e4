"""docker-compose.yml and the Dockerfiles: the rules they keep, checked without a Docker daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config.settings import Settings
from scripts.servers.minio_build import MINIO_PIN

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
APP = ("api", "consumer")

service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
app = pytest.mark.parametrize("service", [SERVICES[name] for name in APP], ids=APP)


def test_it_has_these_services() -> None:
    ops = {name for name, service in SERVICES.items() if service.get("profiles") == ["ops"]}
    assert ops == {"prometheus", "grafana"}
    assert SERVICES.keys() - ops == {"api", "consumer", "postgres", "valkey", "minio"}


@service
def test_every_container_is_locked_down(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert any(entry.startswith("/tmp:") and "size=" in entry for entry in service["tmpfs"])


@service
def test_nobody_is_root(service: dict[str, Any]) -> None:
    user = service.get("user")
    if user is None:  # then its own Dockerfile says so
        users = re.findall(r"^USER (\S+)", (ROOT / service["build"] / "Dockerfile").read_text(), re.MULTILINE)
        user = users[-1] if users else "root"
    assert str(user).split(":")[0] not in ("root", "0")


@service
def test_every_health_check_uses_what_its_image_has(service: dict[str, Any]) -> None:
    check = service["healthcheck"]
    assert "curl" not in " ".join(check["test"])
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_scaling_works() -> None:
    assert all("container_name" not in service for service in SERVICES.values())
    consumer = SERVICES["consumer"]
    assert "ports" not in consumer
    assert consumer["deploy"]["replicas"] == "${CONSUMER_REPLICAS:-1}"
    shared = [volume for volume in consumer["volumes"] if "source" in volume]
    assert [volume["source"] for volume in shared] == ["models"], "replicas share nothing but the models"


def test_only_the_api_has_a_port_and_only_on_this_machine() -> None:
    assert SERVICES["api"]["ports"] == ["127.0.0.1:${API_PORT:-8000}:8000"]
    assert SERVICES["grafana"]["ports"] == ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api", "grafana"]
    assert COMPOSE["networks"]["backend"]["internal"] is True
    for name in ("postgres", "valkey", "minio", "prometheus"):
        assert SERVICES[name]["networks"] == ["backend"]


@app
def test_the_app_waits_for_healthy_servers(service: dict[str, Any]) -> None:
    assert service["depends_on"] == {name: {"condition": "service_healthy"} for name in ("postgres", "valkey", "minio")}
    assert service["env_file"] == [{"path": ".env", "required": False}]


@app
def test_every_variable_is_a_setting_and_the_service_accepts_them(
    service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: _defaults(value) for name, value in service["environment"].items()}
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert settings.api_host == "0.0.0.0"  # noqa: S104
    assert settings.allow_open
    assert settings.broker is not None
    assert settings.database.startswith("postgresql+psycopg://")
    assert settings.minio_endpoint == "minio:9000"
    assert settings.live_host and settings.live_port, "a consumer takes streams from the api's container"


@app
def test_work_files_and_models_are_on_volumes_not_in_memory(service: dict[str, Any]) -> None:
    targets = [volume["target"] for volume in service["volumes"] if volume["type"] == "volume"]
    for variable in ("DATA_DIR", "WORK_DIR", "WHISPER_MODELS_DIR"):
        folder = service["environment"][variable]
        assert any(folder == target or folder.startswith(target + "/") for target in targets), variable
        assert not any(folder.startswith(entry.split(":")[0]) for entry in service["tmpfs"])


def test_a_consumer_has_time_to_hand_back_its_work() -> None:
    grace = int(SERVICES["consumer"]["stop_grace_period"].removesuffix("s"))
    assert grace >= 90
    assert grace > Settings.model_fields["shutdown_seconds"].default + 30


def test_both_sides_of_each_password_agree() -> None:
    settings = SERVICES["api"]["environment"]
    valkey = SERVICES["valkey"]
    assert settings["MINIO_SECRET_KEY"] == SERVICES["minio"]["environment"]["MINIO_ROOT_PASSWORD"]
    assert settings["MINIO_ACCESS_KEY"] == SERVICES["minio"]["environment"]["MINIO_ROOT_USER"]
    assert f":{SERVICES['postgres']['environment']['POSTGRES_PASSWORD']}@" in settings["DATABASE_URL"]
    assert valkey["command"][-2:] == ["--requirepass", valkey["environment"]["REDISCLI_AUTH"]]
    assert f":{valkey['environment']['REDISCLI_AUTH']}@" in settings["BROKER_URL"]


def test_valkey_forgets_nothing() -> None:
    command = " ".join(SERVICES["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_named_volumes_are_declared_and_used() -> None:
    used = set()
    for service in SERVICES.values():
        for volume in service["volumes"]:
            used.add(volume.get("source") if isinstance(volume, dict) else volume.split(":")[0])
    files = {name for name in used if name and name.startswith("./")}
    assert used - files - {None} == set(COMPOSE["volumes"])
    assert all((ROOT / name).exists() for name in files)


def test_minio_is_the_same_everywhere() -> None:
    assert f"MINIO_PIN={MINIO_PIN}\n" in (ROOT / "scripts/docker/minio/Dockerfile").read_text()
    assert SERVICES["minio"]["image"] == "${MINIO_IMAGE:-parascribe-minio}"


def test_the_image_is_hashed_small_and_not_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    last = dockerfile.rpartition("\nFROM ")[2]
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert re.search(r"^USER 10001", last, re.MULTILINE)
    assert "pip" not in last
    assert "torch" not in (ROOT / "requirements.lock").read_text()
    for path in re.findall(r"^COPY (?!--)(\S+)", dockerfile, re.MULTILINE):
        assert (ROOT / path).exists(), path


def test_the_build_context_holds_what_the_image_needs_and_no_data() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    packages = {"api", "core", "parascribe", "whisper", "worker"}
    assert packages | {"cmd", "pyproject.toml", "requirements.lock"} <= allowed
    assert not allowed & {".env", ".git", "data", "tests"}


def test_docker_accepts_the_file() -> None:
    """Where the compose plugin is installed; the rules above do not need it."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return
    subprocess.run([docker, "compose", "-f", str(ROOT / "docker-compose.yml"), "config", "-q"], check=True)


def _defaults(value: str) -> str:
    """A value as compose makes it when .env is empty."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
