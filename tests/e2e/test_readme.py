"""The lines of README and quick start, run as written against a real service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.service import audio, running

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial" / "quick-start.md").read_text("utf-8")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    with running(folder) as service:
        audio(folder, "talk.mp3", minutes=0.2, seed=51)
        yield service


def blocks(language, page=README):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_curl_lines(service):
    if shutil.which("curl") is None:
        pytest.fail("this test needs curl")
    lines = [line for line in blocks("bash")[0].splitlines() if line.startswith("curl")]
    assert len(lines) == 6
    job_id = ""
    for line in lines:
        command = (
            line.replace("http://127.0.0.1:8000", service.url)
            .replace("$ID", job_id)
            .replace("model=base", "model=demo")
        )
        done = subprocess.run(
            command, shell=True, cwd=service.folder, capture_output=True, text=True, check=True, timeout=120
        )
        if not job_id:
            job_id = re.search(r'"id":\s*"([^"]+)"', done.stdout)[1]
            service.wait(job_id)
        elif "format=srt" in line:
            assert done.stdout.startswith("1\n00:00:")
        elif "/cancel" in line or "/retry" in line:
            assert "already_terminal" in done.stdout


def test_python_lines(service):
    code = blocks("python")[0].replace('model="base"', 'model="demo"')
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=service.folder,
        env=service.env | {"PARASCRIBE_URL": service.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"[A-Z][a-z]+ .*\.", done.stdout)


def test_command_lines(service):
    tool = [sys.executable, "-m", "parascribe"]
    env = service.env | {"PARASCRIBE_URL": service.url}
    line = re.search(r"parascribe transcribe talk.mp3 (.*?) +#", README)[1]
    subprocess.run(
        [*tool, "transcribe", "talk.mp3", *line.split(), "--model", "demo"],
        cwd=service.folder,
        env=env,
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert (service.folder / "subtitles" / "talk.srt").read_text().startswith("1\n00:00:")


def test_the_quick_start(service):
    """Its steps with the model that is bundled; what it shows is what comes, as far as it shows it."""
    here = service.folder
    (here / "whisper").symlink_to(ROOT / "whisper")
    (here / ".venv" / "bin").mkdir(parents=True)
    tool = here / ".venv" / "bin" / "parascribe"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m parascribe "$@"\n')
    tool.chmod(0o755)
    shown, several, by_hand = [block for block in blocks("console", TUTORIAL) if "whisper/data/samples/" in block]
    env = service.env | {"PARASCRIBE_URL": service.url}

    def run(command):
        command = command.replace("http://127.0.0.1:8000", service.url)
        return subprocess.run(
            ["bash", "-ec", command], cwd=here, env=env, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    command, *lines = shown.removeprefix("$ ").removesuffix("...\n").splitlines()
    assert run(command).splitlines()[: len(lines)] == lines
    run(several.removeprefix("$ "))
    assert sorted(path.name for path in (here / "out").iterdir()) == ["film.json", "film.txt", "film.vtt"]
    submit, look, fetch = re.findall(r"^\$ (curl .*)$", by_hand, re.MULTILINE)
    job_id = re.search(r'"id":"([^"]+)"', run(submit))[1]
    service.wait(job_id)
    assert '"completed"' in run(f"ID={job_id}; {look}")
    assert run(f"ID={job_id}; {fetch}").strip()
    assert "format=txt" in fetch and 'client.result(job["id"], "txt")' in blocks("python", TUTORIAL)[0]
