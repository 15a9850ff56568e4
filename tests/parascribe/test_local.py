"""`transcribe --local` and `demo`: the real engine on the bundled samples, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.config import Settings
from parascribe.demo import find_samples
from parascribe.wiring import DATA

SAMPLES = DATA / "samples"
TRUTH: dict[str, Any] = json.loads((SAMPLES / "truth.json").read_text("utf-8"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings of this test alone, and a way to the packages from any folder."""
    names = {name.upper() for name in Settings.model_fields}
    packages = os.pathsep.join([str(DATA.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"PYTHONPATH": packages, "WHISPER_MODEL": "demo", "DATA_DIR": str(tmp_path / "data"), "ENGINE_DIR": str(tmp_path / "engine")}
    return {name: value for name, value in os.environ.items() if name not in names} | own


def parascribe(*arguments: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parascribe", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def words(text: str) -> set[str]:
    return set(text.lower().replace(".", "").split())


def test_files_are_transcribed_without_a_service(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "broken.mp3").write_bytes(b"no media at all" * 100)
    (tmp_path / "film.mp4").symlink_to(SAMPLES / "film.mp4")
    done = parascribe("transcribe", "--local", "film.mp4", "broken.mp3", "--json", folder=tmp_path, environment=environment)
    assert done.returncode == 1, done.stderr
    film, broken = json.loads(done.stdout)
    assert film["error"] is None, done.stderr
    truth = words(TRUTH["film.mp4"]["text"])
    assert len(truth & words(film["result"]["text"])) > 0.9 * len(truth)
    assert broken["error"]["code"] == "not_media"
    assert "film.mp4: 25.0 s transcribed in" in done.stderr
    assert "INFO" not in done.stderr
    assert parascribe("transcribe", "--local", "film.mp4", "-m", "nosuch", folder=tmp_path, environment=environment).returncode == 1


def test_demo_shows_all_samples_and_stops_what_it_started(tmp_path: Path, environment: dict[str, str]) -> None:
    # an unusable setting of the caller's must not reach the demo's service
    done = parascribe("demo", folder=tmp_path, environment=environment | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x", "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    for sample in find_samples():
        assert f"==> {sample.name} <==\n[00:" in done.stdout
        assert f"{sample.name}: {TRUTH[sample.name]['duration']} s transcribed in" in done.stderr
    truth = set().union(*(words(TRUTH[sample.name]["text"]) for sample in find_samples()))
    assert len(truth & words(done.stdout)) > 0.9 * len(truth)
    assert "The service has stopped." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["engine"], "only the self-test's verdict stays"


def test_a_demo_that_cannot_start_shows_why(tmp_path: Path, environment: dict[str, str]) -> None:
    done = parascribe("demo", folder=tmp_path, environment=environment | {"LOG_LEVEL": "LOUD"})
    assert done.returncode == 1
    assert "LOUD" in done.stderr
    assert "The end of the service's log:" in done.stderr
