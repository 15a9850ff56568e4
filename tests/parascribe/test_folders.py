"""Folders, addresses, and runs that go on where another was stopped: `parascribe transcribe` against the real API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from parascribe import Client
from parascribe.cli import main
from parascribe.cli.items import Item, keep
from parascribe.cli.pipeline import Pipeline, transcribe_all
from parascribe.screen.outputs import Outputs
from parascribe.screen.progress import Silent
from tests.api.consuming import TEXT, consuming
from tests.api.serving import Service, service, wav
from tests.parascribe.fake_service import FakeService

Capture = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "parascribe"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a recording on top and one below, one that is none, and a pipe that nobody writes into."""
    root = tmp_path / "talks"
    (root / "more").mkdir(parents=True)
    (root / "a.wav").write_bytes(wav())
    (root / "more" / "b.mp4").write_bytes(wav(2000))
    (root / "bad.mp3").write_bytes(b"%PDF-1.7" + bytes(5000))
    (root / "notes.txt").write_text("mine")
    os.mkfifo(root / "pipe.wav")
    return root


def jobs(running: Service) -> list[str]:
    return sorted(job.source.filename for job in running.store.list()[0])


def test_a_folder_is_transcribed_beside_its_files_and_once(running: Service, folder: Path, capsys: Capture) -> None:
    with consuming(running):
        assert main(["transcribe", str(folder), "-r", "-f", "srt", "-f", "txt", "-j", "2"]) == 1
        err = capsys.readouterr().err
        assert err.count("(not_media)") == 1 and "3 files: " in err
        assert jobs(running) == ["a.wav", "b.mp4"]
        assert (folder / "more" / "b.txt").read_text().split() == TEXT.split()
        assert "Words" in (folder / "a.srt").read_text()
        (folder / "bad.mp3").unlink()
        (folder / "a.srt").write_text("corrected by hand")
        (folder / "more" / "b.srt").unlink()
        assert main(["transcribe", str(folder), "-r", "-f", "srt", "-f", "txt"]) == 0
        err = capsys.readouterr().err
        assert "a.srt was not written by us, and stays" in err
        assert (folder / "more" / "b.srt").exists(), "what is missing comes from the job of before"
        assert jobs(running) == ["a.wav", "b.mp4"]
        os.utime(folder / "a.wav", (1, 1))
        assert main(["transcribe", str(folder / "a.wav"), "--beside", "-q"]) == 0
        assert len(jobs(running)) == 3, "a file that has changed is another one"
        assert main(["transcribe", str(folder / "a.wav"), "--beside", "-q", "-f", "srt", "--force", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["outputs"] == [str(folder / "a.srt")]
        assert (folder / "a.srt").read_text() != "corrected by hand" and len(jobs(running)) == 4
    assert (folder / "notes.txt").read_text() == "mine"


def test_another_place_gets_the_folders_of_the_folder(running: Service, folder: Path, capsys: Capture) -> None:
    (folder / "bad.mp3").rename(folder / "more" / "a.mp3")
    (folder / "more" / "a.mp3").write_bytes(wav())
    with consuming(running):
        assert main(["transcribe", str(folder), "-r", "-o", "texts", "-q"]) == 0
    assert sorted(str(file) for file in Path("texts").rglob("*.*")) == [
        "texts/a.txt",
        "texts/more/a.txt",
        "texts/more/b.txt",
    ]
    assert main(["transcribe", str(folder / "more"), "-o", "texts/more"]) == 0, "the same transcripts by another way"
    assert "2 of 2 files were done before" in capsys.readouterr().err
    (folder / "empty").mkdir()
    assert main(["transcribe", str(folder / "empty")]) == 2
    assert "no audio or video file there" in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(("by", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_the_same_command_goes_on_without_uploading_again(
    running: Service, folder: Path, capsys: Capture, by: signal.Signals, code: int
) -> None:
    (folder / "bad.mp3").unlink()
    files = [str(folder / "a.wav"), str(folder / "more" / "b.mp4")]
    with subprocess.Popen([*COMMAND, "transcribe", *files], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told: set[str] = set()
        while len(told) < 2:  # both are in the journal as soon as they are said to wait
            line = process.stderr.readline()
            assert line
            told |= {line} if "queued" in line else set()
        process.send_signal(by)
        process.stderr.read()
        assert process.wait(60) == code
    before = running.store.list()[0]
    with consuming(running):
        assert main(["transcribe", *files]) == 0
    assert "uploading" not in capsys.readouterr().err
    assert (folder / "a.txt").read_text().split() == TEXT.split()
    made = [job for job in running.store.list()[0] if job.id not in {one.id for one in before}]
    assert {job.retry_of for job in made} == ({job.id for job in before} if by == signal.SIGINT else set())
    with consuming(running):
        assert main(["transcribe", files[0], "-q"]) == 0
    assert len(running.store.list()[0]) == len(before) + len(made) + 1, (
        "what was delivered is done anew when asked again"
    )


def test_an_address_is_fetched_by_the_service(running: Service, capsys: Capture, tmp_path: Path) -> None:
    address = "https://files.test/a%20b/talk.mp3?token=secret"
    with consuming(running):
        assert main(["transcribe", address, "-f", "txt", "--language", "de"]) == 0
        out, err = capsys.readouterr()
        assert out.split() == TEXT.split()
        assert main(["transcribe", address, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)[0]
        assert (found["file"], found["result"]["text"]) == ("https://files.test/a%20b/talk.mp3", TEXT)
        assert main(["transcribe", address, "-f", "srt", "-f", "vtt", "-q"]) == 0
    assert sorted(path.name for path in tmp_path.glob("talk.*")) == ["talk.srt", "talk.vtt"]
    assert "secret" not in err and "https://files.test/a%20b/talk.mp3: " in err
    job = running.store.list()[0][-1]
    assert job.source.origin is not None and job.source.origin.name == address and job.params.language == "de"


def test_an_address_that_is_not_wanted(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with service(tmp_path) as started:
        monkeypatch.setenv("PARASCRIBE_URL", f"http://127.0.0.1:{started.port}")
        assert main(["transcribe", "https://files.test/talk.mp3"]) == 1
    err = capsys.readouterr().err
    assert "URL_INGEST" in err and err.count("(unsupported)") == 1


def test_uploads_go_side_by_side(service: FakeService, client: Client, tmp_path: Path) -> None:
    pipes = [tmp_path / "a.mp3", tmp_path / "b.mp3"]
    for pipe in pipes:
        os.mkfifo(pipe)

    def write() -> None:
        for pipe in reversed(pipes):  # the first upload cannot end before the second has begun
            pipe.write_bytes(b"ok")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    items = [Item(file=pipe) for pipe in pipes]
    with Pipeline(client, {}, Silent(), uploads=2) as pipeline:
        transcribe_all(pipeline, items, keep)
    assert [item.status for item in items] == ["completed", "completed"]


def test_ids_come_in_the_order_of_the_files(service: FakeService, tmp_path: Path, capsys: Capture) -> None:
    os.mkfifo(tmp_path / "a.mp3")
    (tmp_path / "b.mp3").write_bytes(b"ok")

    def write() -> None:
        deadline = time.monotonic() + 30
        while not service.jobs and time.monotonic() < deadline:
            time.sleep(0.01)
        (tmp_path / "a.mp3").write_bytes(b"ok")

    threading.Thread(target=write, daemon=True).start()
    assert main(["transcribe", str(tmp_path / "a.mp3"), str(tmp_path / "b.mp3"), "--no-wait", "-q"]) == 0
    assert capsys.readouterr().out.split() == ["job-2", "job-1"]


def test_names_that_would_meet_keep_their_extension(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("talk.mp3", "talk.mp4", "talk.mp3.wav", "other.wav")]
    targets = Outputs.plan(files, ["txt"], None).targets
    assert targets is not None
    assert [path.name for pairs in targets.values() for _, path in pairs] == [
        "talk.mp3.txt",
        "talk.mp4.txt",
        "talk.mp3.wav.txt",
        "other.txt",
    ]
