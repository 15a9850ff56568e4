"""Media from files, pipes and stdin, and files that do not stay as they are."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from parascribe import Client
from parascribe.cli import main
from parascribe.cli.items import Item, keep
from parascribe.cli.pipeline import Pipeline, transcribe_all
from parascribe.client.inputs import FileChanged, Steady, called, opened
from parascribe.screen.progress import Silent
from tests.parascribe.fake_service import TEXTS, FakeService

Upload = Callable[..., Path]
COMMAND = [sys.executable, "-m", "parascribe", "transcribe"]
LONG = bytes(300_000)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"others")
    os.utime(path, ns=(0, 0))  # the clock of file times may stand still for some milliseconds


CHANGES = {
    "grows": grow,
    "shrinks": lambda path: os.truncate(path, 100_000),
    "is emptied": lambda path: os.truncate(path, 0),
    "is rewritten": rewrite,
}


class Meddling(Silent):
    """Changes a file while it goes up."""

    def __init__(self, path: Path, change: Callable[[Path], None]) -> None:
        self._path, self._change = path, change
        self._done = False

    def bytes(self, name: str, stage: str, done: int, total: int | None) -> None:
        if name == str(self._path) and not self._done:
            self._done = True
            self._change(self._path)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_while_it_is_sent_fails_alone(
    client: Client, upload: Upload, change: Callable[[Path], None]
) -> None:
    files = [upload(name="a.mp3"), upload(LONG, name="changing.mp3"), upload(name="b.mp3")]
    items = [Item(file=file) for file in files]
    with Pipeline(client, {}, Meddling(files[1], change)) as pipeline:
        transcribe_all(pipeline, items, keep)
    assert [item.status for item in items] == ["completed", "refused", "completed"]
    assert items[1].error is not None
    assert items[1].error["code"] == "file_changed"
    assert [item.result is not None for item in items] == [True, False, True]


def test_a_steady_file_is_read_whole_in_pieces_of_any_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    for size in (1, 3, 10, 11, -1):
        with (tmp_path / "a").open("rb") as file:
            assert b"".join(iter(lambda file=file, size=size: Steady(file).read(size), b"")) == b"0123456789"
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        steady = Steady(file)
        assert steady.read() == b""
        (tmp_path / "empty").write_bytes(b"now there is something")
        with pytest.raises(FileChanged):
            steady.read()


def test_a_pipe_can_be_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(LONG + b"end",))
    writer.start()
    with opened(tmp_path / "pipe") as media:
        assert media.read() == LONG + b"end"
        media.seek(0)
        assert media.read() == LONG + b"end"
    writer.join()


def test_stdin_is_sent_once_and_its_transcripts_lie_here(service: FakeService, upload: Upload, tmp_path: Path) -> None:
    command = [*COMMAND, "-", str(upload(b"full", name="talk.mp3")), "/dev/stdin", "-", "-f", "srt"]
    packages = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, input=LONG, cwd=tmp_path, env=os.environ | {"PYTHONPATH": packages}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stdin.srt", "talk.mp3", "talk.srt"]
    assert sorted((job["source"]["filename"], job["source"]["bytes"]) for job in service.jobs.values()) == [
        ("stdin", len(LONG)),
        ("talk.mp3", 4),
    ]


@pytest.mark.parametrize(
    "content", [b"ok", b"full"]
)  # `full` is refused once: what came through the pipe is sent again
def test_a_pipe_to_stdout(service: FakeService, content: bytes) -> None:
    done = subprocess.run([*COMMAND, "-", "-q", "-f", "srt"], input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, TEXTS["srt"][1], b"")
    assert len(service.jobs) == 1


def test_a_broken_connection_sends_a_pipe_again(service: FakeService, client: Client, tmp_path: Path) -> None:
    service.drop_answers = 1
    os.mkfifo(tmp_path / "pipe.mp3")
    writer = threading.Thread(target=(tmp_path / "pipe.mp3").write_bytes, args=(b"ok",))
    writer.start()
    assert client.submit(tmp_path / "pipe.mp3")["source"] == {
        "filename": "pipe.mp3",
        "bytes": 2,
        "media_type": "audio/x",
    }
    writer.join()


def test_nothing_on_stdin_is_left_to_the_service(service: FakeService) -> None:
    done = subprocess.run(
        [*COMMAND, "-", "--no-wait", "-q"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "job-1\n", "")


@pytest.mark.parametrize("given", ["/dev/zero", ".", "no-such-file.mp3"])
def test_what_is_neither_file_nor_pipe_is_a_usage_error(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", given]) == 2
    assert given in capsys.readouterr().err


def test_a_terminal_is_no_audio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    control, terminal = os.openpty()
    with os.fdopen(terminal) as stdin, os.fdopen(control):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["transcribe", "-"]) == 2
    assert "stdin is a terminal" in capsys.readouterr().err


def test_a_file_called_like_stdin_is_a_file(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "-").write_bytes(b"ok")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["transcribe", "./-", "-f", "txt", "-o", "-"]) == 0
    assert service.jobs["job-1"]["source"]["filename"] == "-"


def test_names_of_what_has_none() -> None:
    assert [str(called(Path(path))) for path in ("-", "/dev/fd/63", "/proc/self/fd/5", "a/talk.mp3")] == [
        "stdin",
        "63",
        "5",
        "a/talk.mp3",
    ]


def test_a_copy_that_does_not_fit_is_said(service: FakeService) -> None:
    command = ["bash", "-c", f"ulimit -f 20; exec {sys.executable} -m parascribe transcribe - -q"]
    done = subprocess.run(command, input=LONG, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"no room for a copy in " in done.stderr
    assert b"(unreadable)" in done.stderr
    assert service.jobs == {}
