"""The examples of docs/how-to/clients run as they stand, but for the address."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from api.live.scripted import Line, ScriptedLinks
from tests.api.consuming import LINES, TEXT, consuming
from tests.api.serving import Service, wav

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "clients"
ADDRESS = "http://127.0.0.1:8000"
SPOKEN = Line(start=0.5, end=2.0, text="Let us begin.")


@pytest.fixture
def running(serve: Callable[..., Service]) -> Service:
    return serve(live=ScriptedLinks([SPOKEN]))


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (PAGES / f"{page}.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


def run(running: Service, folder: Path, command: list[str], text: str) -> str:
    """What a program says whose text has another address than the page."""
    for name in ("talk.mp3", "other.mp3", "anna.wav"):
        (folder / name).write_bytes(wav())
    (folder / "talk.pcm").write_bytes(bytes(24_000 * 2 * 3))
    assert ADDRESS in text
    source = text.replace(ADDRESS, str(running.client.base_url).rstrip("/"))
    with consuming(running):
        done = subprocess.run(
            [*command, source], cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=60
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


PROGRAMS = [(page.stem, n) for page in sorted(PAGES.glob("*.md")) for n in range(len(blocks(page.stem, "python")))]
COMMANDS = [
    (page.stem, line.removeprefix("$ "))
    for page in sorted(PAGES.glob("*.md"))
    for block in blocks(page.stem, "console")
    for line in block.splitlines()
    if line.startswith("$ ")
]


def test_there_are_examples() -> None:
    assert {page for page, _ in PROGRAMS} == {"openai", "parallel", "python", "realtime", "deepgram"}
    assert {page for page, _ in COMMANDS} == {"openai", "bazarr", "whispercpp", "parallel", "deepgram"}


@pytest.mark.parametrize(("page", "n"), PROGRAMS)
def test_a_program(running: Service, tmp_path: Path, page: str, n: int) -> None:
    said = run(running, tmp_path, [sys.executable, "-c"], blocks(page, "python")[n])
    if page == "openai" and n == 1:
        assert [line.partition(" ")[2] for line in said.splitlines()] == LINES
    elif page == "realtime" or (page == "deepgram" and n == 1):
        assert said == f"{SPOKEN.text}\n"
    elif page == "deepgram":
        assert said == f"{TEXT}\n"
    elif page == "openai":
        assert said.startswith("1\n00:00:00,000 --> ") and said.endswith(TEXT)
    elif page == "python":
        assert [
            all(line in said for line in (*LINES, "00:00:00,000 --> ")),
            said.count(LINES[-1]) == 2 and {"talk.mp3 completed", "other.mp3 completed"} <= {*said.splitlines()},
            said == "job_not_found\n",
        ][n], said
    elif n == 0:
        lines = said.splitlines()
        assert lines[0].startswith(TEXT) and "source_separation" in lines[0]
        assert "100 %" in lines and lines.count(TEXT) == 1
        assert lines[-3].startswith("2 of 2 in ") and lines[-2:] == [
            f"{n} completed {TEXT}" for n in ("talk.mp3", "other.mp3")
        ]
    else:
        assert said.splitlines()[0] == "0 0 0 None"


def test_a_program_for_node(running: Service, node_folder: Path) -> None:
    (text,) = blocks("openai", "js")
    said = run(running, node_folder, ["node", "--input-type=module", "--eval"], text)
    assert [line.partition(" ")[2] for line in said.splitlines()] == LINES


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command(running: Service, tmp_path: Path, page: str, command: str) -> None:
    said = run(running, tmp_path, ["bash", "-ec"], command)
    if said.startswith("{"):
        body = json.loads(said)
        assert not body.keys() & {"error", "detail"}, body
        assert page != "parallel" or body["success"]
    else:
        assert LINES[0] in said


def test_what_open_webui_sends(running: Service) -> None:
    """As its `transcribe` does: the file, the model, and a language if one is set."""
    with consuming(running):
        answer = running.client.post(
            "/v1/audio/transcriptions",
            files={"file": ("recording.wav", wav())},
            data={"model": "whisper-1", "language": "en"},
            headers={"Authorization": "Bearer none"},
        )
    assert answer.json()["text"] == TEXT
