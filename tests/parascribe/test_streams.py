"""stdout and stderr that are closed, full or narrow: a line and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parascribe.cli import main
from tests.parascribe.fake_service import TEXTS, FakeService

Upload = Callable[..., Path]


def shell(line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which `parascribe` is ours; the exit code is that of the first program in the pipe."""
    ours = f'parascribe() {{ {shlex.quote(sys.executable)} -m parascribe "$@"; }}'
    script = f"{ours}; {line}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", script], env=os.environ | more, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("call", "unbuffered"),
    [
        ("config", ""),
        ("transcribe FILE -q", ""),
        ("transcribe FILE -q", "1"),
        ("transcribe FILE -q --json", ""),
        ("transcribe FILE FILE2 -q -o -", "1"),
        ("transcribe FILE -q --no-wait", ""),
        ("transcribe FILE -q --no-wait", "1"),
    ],
)
def test_a_reader_that_leaves_early(service: FakeService, upload: Upload, call: str, unbuffered: str) -> None:
    line = call.replace("FILE2", str(upload(name="b.mp3"))).replace("FILE", str(upload()))
    done = shell(f"parascribe {line} | true", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, b"parascribe: stdout was closed by the program it leads to\n")


def test_jobs_whose_transcripts_nobody_will_see_are_cancelled(service: FakeService, upload: Upload) -> None:
    done = shell(f"parascribe transcribe {upload()} {upload(b'slow', name='b.mp3')} -q -o - | true")
    assert done.returncode == 1
    assert sorted(job["status"] for job in service.jobs.values()) == ["cancelled", "completed"]


@pytest.mark.parametrize(
    ("call", "where"), [("config", "> /dev/full"), ("transcribe FILE -q", "> /dev/full"), ("transcribe FILE -q", ">&-")]
)
def test_a_stdout_that_cannot_be_written(service: FakeService, upload: Upload, call: str, where: str) -> None:
    done = shell(f"parascribe {call.replace('FILE', str(upload()))} {where}")
    assert done.returncode == 1
    assert b"No space left" in done.stderr or b"Bad file descriptor" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-"])
def test_other_streams_may_be_closed(service: FakeService, upload: Upload, closed: str) -> None:
    done = shell(f"parascribe transcribe {upload()} -f srt {closed}")
    assert (done.returncode, done.stdout.decode()) == (0, TEXTS["srt"][1])


def test_nobody_needs_to_listen_to_the_progress(service: FakeService, upload: Upload, tmp_path: Path) -> None:
    done = shell(f"parascribe transcribe {upload()} -o {tmp_path / 'here.srt'} 2>&1 >/dev/null | true")
    assert done.returncode == 0
    assert (tmp_path / "here.srt").read_text() == TEXTS["srt"][1]


@pytest.mark.parametrize("encoding", ["ascii", "cp437:strict", "latin-1"])
def test_a_narrow_terminal_gets_question_marks_and_json_escapes(
    service: FakeService, upload: Upload, encoding: str
) -> None:
    media = upload(name="talk \u4eca\u5929.mp3")
    done = shell(
        f"parascribe transcribe '{media}' '{upload(name='b.mp3')}' -q -f txt -o -",
        PYTHONIOENCODING=encoding,
        PYTHONUTF8="0",
    )
    assert done.returncode == 0, done.stderr
    assert b"talk ??.mp3 <==" in done.stdout
    if encoding == "ascii":  # what is escaped is the same in each
        done = shell(f"parascribe transcribe '{media}' -q -f json", PYTHONIOENCODING=encoding)
        assert "caf\u00e9" in json.loads(done.stdout.decode("ascii"))["text"]


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        (b"junk", 1, "refused: The uploaded file does not begin like any audio or video format. (not_media)"),
        (b"fail", 1, "failed: The file's audio cannot be decoded. (audio_undecodable)"),
        (b"gone", 1, "failed: The transcript has been removed. (expired)"),
        (b"partial", 4, "PARTIAL, without text: 01:01.0 -> 01:05.5 no_text"),
    ],
)
def test_quiet_says_the_reason_of_a_failure_and_no_more(
    service: FakeService, upload: Upload, capsys: pytest.CaptureFixture[str], kind: bytes, code: int, reason: str
) -> None:
    files = [upload(name="fine.mp3"), upload(kind)]
    assert main(["transcribe", *map(str, files), "-q", "-f", "srt"]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"{files[1]}: ")
    assert reason in err


@pytest.mark.parametrize("address", ["http://[x", "ftp://x", "no address", "http://x\ny", "http://x\udcff"])
def test_what_is_no_address_is_said(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--url", address]) == 3
    assert "is no address of a service" in capsys.readouterr().err


def test_arguments_that_are_no_text(service: FakeService, upload: Upload, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(upload()), "--prompt", "caf\udce9", "-q"]) == 0
    assert service.jobs["job-1"]["params"]["prompt"] == "caf?"
    assert main(["status", "caf\udce9"]) == 1
