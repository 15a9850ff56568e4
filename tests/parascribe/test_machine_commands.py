"""Commands that look at this machine: doctor, plan, config, models."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.loading import load
from parascribe.cli import main
from parascribe.run.wiring.stores import open_store
from parascribe.tools import engines
from parascribe.tools.doctor import check_database, check_port, filesystem, run_checks
from whisper import DATA

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _any_port(own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "0")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens that is not Parascribe."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def states(capsys: Capture) -> dict[str, str]:
    return {check["name"]: check["state"] for check in json.loads(capsys.readouterr().out)}


def test_doctor_finds_a_sound_machine_sound(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("WHISPER_MODEL", "demo")
    monkeypatch.setenv("MAX_AUDIO_HOURS", "0.1")
    assert main(["doctor", "--json"]) == 0
    found = states(capsys)
    assert list(found) == [
        "settings",
        "workers",
        "ffmpeg",
        "engine",
        "model",
        "translation",
        "storage",
        "work folder",
        "database",
        "broker",
        "port",
    ]
    assert {found[name] for name in ("ffmpeg", "engine", "model", "database", "broker", "port")} == {"ok"}
    assert not Path("data", "parascribe.db").exists(), "doctor only looks"


def test_doctor_names_what_is_broken_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taken: int, capsys: Capture
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ggml-tiny.bin").write_bytes(b"<html>not found</html>")
    (tmp_path / "library").mkdir()
    for name, value in {
        "WHISPER_MODEL": "tiny",
        "WHISPER_MODELS_DIR": str(tmp_path / "models"),
        "WHISPER_LIBRARY": str(tmp_path / "library"),
        "BROKER_URL": "redis://127.0.0.1:9",
        "MINIO_ENDPOINT": "127.0.0.1:9",
        "MINIO_ACCESS_KEY": "access",
        "MINIO_SECRET_KEY": "very-secret",
        "DATABASE_URL": "postgresql://user:very-secret@127.0.0.1:9/x",
        "API_PORT": str(taken),
        "MAX_PARALEL_WORKERS": "3",
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["doctor", "--json"]) == 1
    out = capsys.readouterr().out
    checks = {check["name"]: check for check in json.loads(out)}
    failed = {name for name, check in checks.items() if check["state"] == "fail"}
    assert failed == {"model", "storage", "database", "broker", "port"}
    assert all(checks[name]["advice"] for name in failed)
    assert "MAX_PARALLEL_WORKERS" in checks["settings"]["found"]
    assert (checks["engine"]["state"], "wheel" in checks["engine"]["found"]) == ("warn", True)
    assert "very-secret" not in out


def test_engines_are_listed_with_what_the_last_build_gave(tmp_path: Path, capsys: Capture) -> None:
    for day, verdict in (("02", "not faster"), ("01", "faster")):
        record = tmp_path / "engine" / f"1.8.5-{day}" / "record.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps({"built_at": f"2026-11-{day}", "verdict": f"The own build is {verdict}"}))
    assert main(["engine", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(library["kind"], library["in_use"]) for library in found["libraries"]] == [("wheel", True)]
    assert found["last_build"]["verdict"] == "The own build is not faster"
    assert main(["doctor"]) in (0, 1)
    assert "last build: The own build is not faster" in capsys.readouterr().out


def test_builds_are_compared_on_speech() -> None:
    speech = engines.speech()
    assert (speech.dtype.name, len(speech) // 16_000) == ("int16", 30)
    assert abs(speech.astype(float)).mean() > 100


def test_doctor_knows_the_schema_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load()
    store = open_store(settings)
    try:
        assert check_database(settings).state == "ok"
        with store.database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from_the_future'")
    finally:
        store.close()
    found = check_database(settings)
    assert (found.state, "newer version" in found.found) == ("fail", True)


def test_doctor_refuses_an_open_address() -> None:
    assert check_port(load(api_host="0.0.0.0")).state == "fail"
    assert check_port(load(api_host="0.0.0.0", allow_open=True)).state == "ok"
    assert check_port(load(api_host="0.0.0.0", api_keys=f"anna:psk_{'a' * 8}_{'a' * 32}")).state == "ok"


def test_doctor_warns_of_a_work_folder_in_memory() -> None:
    assert filesystem(Path("/dev/shm/not/there/yet")) == "tmpfs"
    check = next(c for c in run_checks(load(work_dir="/dev/shm/work")) if c.name == "work folder")
    assert (check.state, "WORK_DIR" in check.advice) == ("warn", True)


def test_plan_and_settings(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("MAX_PARALLEL_WORKERS", "3")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:very-secret@host/x")
    monkeypatch.setenv("JOB_DEFAULTS", '{"language": "deu", "workers": 2}')
    monkeypatch.setenv("MODEL_BASE_URL", "https://user:very-secret@mirror.example/models,https://second.example")
    assert main(["plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["workers"], "MAX_PARALLEL_WORKERS=3 as given" in plan["reasons"]) == (3, True)
    assert plan["pool"][0] == "1 to 3 workers: one more when a chunk waits, one fewer after 60 s without work"
    assert "memory pressure is 10 % or more" in plan["pool"][1]
    assert main(["config", "--changed"]) == 0
    out = capsys.readouterr().out
    assert "MAX_PARALLEL_WORKERS=3\n" in out
    assert 'JOB_DEFAULTS={"language": "de", "workers": 2}\n' in out
    assert "MODEL_BASE_URL=https://mirror.example/models,https://second.example\n" in out
    assert "DATABASE_URL=**********\n" in out
    assert "CHUNK_STRATEGY" not in out
    assert "very-secret" not in out


def test_bad_settings_are_a_usage_error(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("CHUNK_DURATION", "soon")
    assert main(["plan"]) == 2
    assert "CHUNK_DURATION" in capsys.readouterr().err


def test_models_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("WHISPER_MODELS_DIR", str(folder))
    shutil.copy(DATA / "models" / "ggml-demo.bin", folder / "ggml-mine.bin")
    (folder / "ggml-tiny.bin").write_bytes(b"half a download")
    assert main(["models", "list", "--here", "--json"]) == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert set(listed) == {"demo", "tiny", "local:mine"}
    assert (listed["tiny"]["verified"], listed["local:mine"]["pinned"]) == (False, False)
    assert [listed[name]["sources"] for name in ("demo", "tiny", "local:mine")] == [["bundled"], ["hub"], []]
    monkeypatch.setenv("MODEL_SOURCES", "packages,mirror,hub")
    monkeypatch.setenv("MODEL_BASE_URL", "http://127.0.0.1:9")
    assert main(["models", "list"]) == 0
    assert re.search(
        r"^base-q8_0 .* packages, mirror, hub *$", capsys.readouterr().out.replace("\t", " "), re.MULTILINE
    )
    assert main(["models", "verify", "--json"]) == 1
    assert {v["name"]: v["ok"] for v in json.loads(capsys.readouterr().out)} == {
        "demo": True,
        "tiny": False,
        "local:mine": True,
    }
    assert main(["models", "remove", "tiny"]) == 0
    assert not (folder / "ggml-tiny.bin").exists()
    assert main(["models", "verify"]) == 0
    assert main(["models", "pull", "nosuch", "demo"]) == 1
    err = capsys.readouterr().err
    assert "parascribe: nosuch: " in err
    assert "demo: verified" in err
    (folder / "ggml-tiny.bin").write_bytes(b"half a download")
    assert main(["models", "remove", "nosuch", "tiny"]) == 1
    assert not (folder / "ggml-tiny.bin").exists()
    assert main(["models", "remove", "demo"]) == 1
    assert "comes with the program" in capsys.readouterr().err
