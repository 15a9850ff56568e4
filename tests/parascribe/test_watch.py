"""`parascribe watch` against the real API: each file once, whatever happens on the way."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from parascribe import Client
from parascribe.cli import main
from parascribe.cli.journal import Journal
from parascribe.cli.pipeline import Pipeline
from parascribe.cli.watch import Asked, Watch
from parascribe.screen.progress import Silent
from tests.api.consuming import TEXT, consuming
from tests.api.serving import Service, wav
from tests.parascribe.fake_service import FakeService

Capture = pytest.CaptureFixture[str]
QUICK = ("--interval", "0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    (root / "a.wav").write_bytes(wav())
    (root / "below" / "b.mp4").write_bytes(wav(2000))
    return root


class Said(Silent):
    """Keeps the lines; ends the watching after one that says `last`."""

    def __init__(self, last: str) -> None:
        self.lines: list[str] = []
        self._last = last

    def end(self, name: str, words: str, *, failed: bool = False) -> None:
        self.note(f"{name}: {words}")

    def note(self, text: str) -> None:
        self.lines.append(text)
        if self._last in text:
            raise KeyboardInterrupt


@contextmanager
def watching(
    folder: Path, report: Silent, client: Client, *, output: str | None = None, **more: float
) -> Iterator[Watch]:
    with closing(Journal()) as journal, Pipeline(client, {}, report, journal=journal) as pipeline:
        asked = Asked(
            folder=folder,
            recursive=output is not None,
            formats=("txt",),
            output=output,
            params={},
            look={},
            service=client.base_url,
        )
        yield Watch(asked, journal, pipeline, report, **more)


def count(running: Service) -> int:
    return len(running.store.list()[0])


def until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)


def test_each_file_is_done_once_and_again_when_it_has_changed(running: Service, folder: Path, capsys: Capture) -> None:
    bad = folder / "bad.mp3"
    bad.write_bytes(b"%PDF-1.7" + bytes(5000))
    (folder / "below" / "b.srt").write_text("another's subtitles")
    call = ["watch", str(folder), "-r", "--once", *QUICK, "-f", "txt", "-f", "srt"]
    with consuming(running):
        assert main(call) == 1
        err = capsys.readouterr().err
        assert err.count("(not_media)") == 1 and "2 transcribed, 1 failed" in err
        assert (folder / "below" / "b.txt").read_text().split() == TEXT.split()
        assert (folder / "below" / "b.srt").read_text() == "another's subtitles"
        assert "b.srt was not written by us, and stays" in err
        (folder / "a.txt").unlink()  # taken away by whoever wanted it
        assert main(call) == 0, "what failed is not told again"
        assert capsys.readouterr().err == "0 transcribed\n" and count(running) == 2
        assert not (folder / "a.txt").exists()
        os.utime(folder / "a.wav", (1, 1))
        bad.write_bytes(wav(3000))
        assert main(call) == 0
        assert "2 transcribed" in capsys.readouterr().err and count(running) == 4
        assert main([*call[:-4], "-f", "vtt", "-o", str(folder.parent / "out")]) == 0
        assert "3 transcribed" in capsys.readouterr().err and count(running) == 4, "another format is no other job"
    assert sorted(str(file.relative_to(folder.parent / "out")) for file in (folder.parent / "out").rglob("*.vtt")) == [
        "a.vtt",
        "bad.vtt",
        "below/b.vtt",
    ]


def test_what_is_written_to_is_left_until_it_stands_still(running: Service, folder: Path) -> None:
    growing = folder / "a.wav"
    with Client() as client, watching(folder, Silent(), client) as watch:
        watch._look()
        for _ in range(2):
            with growing.open("ab") as file:
                file.write(b"more")
            watch._look()
            assert not watch._under_way
        with consuming(running):
            watch.once(0.0)
    assert (watch.tally.done, count(running)) == (1, 1)
    assert running.store.list()[0][0].source.bytes == 1008


def test_kill_9_and_ctrl_c_forget_nothing_and_double_nothing(running: Service, folder: Path, capsys: Capture) -> None:
    command = [sys.executable, "-m", "parascribe", "watch", str(folder), "-r", *QUICK]

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    with started() as process:
        until(lambda: count(running) >= 1, process)  # wherever it is: before, in or behind the second upload
        process.kill()
    with started() as process:
        assert process.stderr is not None
        assert "Looking into" in process.stderr.readline()
        assert main([*command[3:], "--once"]) == 0, "one is enough"
        assert "Another parascribe watch is at" in capsys.readouterr().err
        until(lambda: count(running) >= 2, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "goes on at the service" in err and "Traceback" not in err
    assert {job.status.value for job in running.store.list()[0]} == {"queued"}
    with consuming(running):
        assert main([*command[3:], "--once"]) == 0
    assert "2 transcribed" in capsys.readouterr().err and count(running) == 2
    assert (folder / "below" / "b.txt").read_text().split() == TEXT.split()


def test_a_service_that_is_away_is_waited_for(
    service: FakeService, folder: Path, client: Client, capsys: Capture
) -> None:
    port = int(client.base_url.rpartition(":")[2])
    service.stop()
    assert main(["watch", str(folder), "--once", *QUICK]) == 3
    report = Said("transcribed")
    with watching(folder, report, client, pause=0.1) as watch:
        service.start(port, delay=1.0)
        with pytest.raises(KeyboardInterrupt):
            watch.run(0.1)
    assert len([line for line in report.lines if "Cannot reach" in line]) == 1
    assert len(service.jobs) == 1


def test_what_is_no_fault_of_the_file_is_told_once_and_tried_again(
    service: FakeService, folder: Path, client: Client
) -> None:
    (folder / "a.wav").unlink()
    (folder / "out").mkdir()
    (folder / "out" / "below").write_text("in the way of the folder of b.txt")
    report = Said("never")
    with watching(folder, report, client, output=f"{folder}/out/", pause=0.0) as watch:
        watch.once(0.0)
        watch.once(0.0)
        (folder / "out" / "below").unlink()
        watch.once(0.0)
    assert (folder / "out" / "below" / "b.txt").exists()
    assert (watch.tally.put_off, len(service.jobs)) == (2, 1)
    assert len([line for line in report.lines if "(output)" in line]) == 1


def test_what_is_wrong_with_every_file_ends_it(service: FakeService, folder: Path, capsys: Capture) -> None:
    assert main(["watch", str(folder), *QUICK, "--beam-size", "9"]) == 1
    assert "beam_size: must be at most 8" in capsys.readouterr().err


def test_a_folder_that_goes_away_is_told_of_once(
    service: FakeService, folder: Path, client: Client, capsys: Capture
) -> None:
    report = Said("No such file")
    with watching(folder / "gone", report, client) as watch:
        with pytest.raises(FileNotFoundError):
            watch.once(0.0)
        with pytest.raises(KeyboardInterrupt):
            watch.run(0.0)
    assert main(["watch", str(folder / "gone")]) == 2


def test_the_examples_of_the_page(running: Service, tmp_path: Path, capsys: Capture) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "folders.md").read_text("utf-8")
    calls = [shlex.split(line)[1:] for line in re.findall(r"^\$ (parascribe .*)$", page, re.MULTILINE)]
    assert len(calls) == 6
    (tmp_path / "recordings" / "below").mkdir(parents=True)
    for name in ("recordings/a.mp3", "recordings/below/b.mp4", "talk.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(wav())
    with consuming(running):
        for call in calls:
            more = [*QUICK, *(["--once"] if "--once" not in call else [])] if call[0] == "watch" else []
            assert main([*call, *more]) == 0, call
    written = {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.suffix in (".srt", ".json", ".txt")
    }
    assert written == {
        *(f"recordings/{name}.{kind}" for name in ("a", "below/b") for kind in ("srt", "txt", "json")),
        *("talk.srt", "other.srt"),
    }
