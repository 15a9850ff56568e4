"""The command line against a service on a real socket: what is printed where, which files appear, how it exits."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parascribe import Client
from parascribe.cli import main
from parascribe.cli.items import Item, keep
from parascribe.cli.pipeline import Pipeline, transcribe_all
from parascribe.screen.outputs import Fetch
from parascribe.screen.progress import Silent
from tests.parascribe.fake_service import SEGMENTS, TEXTS, FakeService

Upload = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "parascribe"]


def test_one_file_goes_to_stdout_with_times_and_nothing_else_does(
    service: FakeService, upload: Upload, capsys: Capture
) -> None:
    assert main(["transcribe", str(upload())]) == 0
    out, err = capsys.readouterr()
    assert out == "[00:00.0 -> 00:03.2] Good morning.\n[00:03.2 -> 1:02:05.5] The café opens.\n"
    assert "uploading 2 B of 2 B" in err
    assert "transcribing 60 %, about 12.0 s left" in err
    assert "1 h 02 min transcribed in 4.2 s" in err


def test_one_format_goes_to_stdout(service: FakeService, upload: Upload, capsys: Capture) -> None:
    assert main(["transcribe", str(upload()), "-f", "srt", "--quiet"]) == 0
    assert capsys.readouterr() == (TEXTS["srt"][1], "")


def test_the_look_of_subtitles_is_asked_for(service: FakeService, upload: Upload, capsys: Capture) -> None:
    media = str(upload())
    assert main(["transcribe", media, "-f", "srt", "-q", "--max-lines", "1", "--min-cue", "1.5"]) == 0
    assert main(["result", "job-1", "-f", "vtt", "--word-cues", "--speakers", "none"]) == 0
    assert main(["result", "job-1", "-f", "srt"]) == 0
    assert service.looks == [{"max_lines": "1", "min_cue": "1.5"}, {"word_cues": "true", "speakers": "none"}, {}]
    assert "max_lines" not in service.jobs["job-1"]["params"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--max-lines", "1"], "json takes no max_lines: srt, vtt, ass do"),
        (["-f", "srt", "-f", "json", "--max-lines", "1"], "json takes no max_lines"),
        (["-f", "srt", "--word-cues"], "srt takes no word_cues: vtt, ass do"),
        (["-f", "srt", "--max-lines", "9"], "less than or equal to 5"),
        (["-f", "srt", "--min-cue", "8"], "at most max_cue (7)"),
        (["-f", "srt", "--speakers", "some"], "'auto' or 'none' or 'prefix'"),
        (["-o", "here.srt", "--json", "--word-cues"], "srt takes no word_cues"),
        (["--no-wait", "--max-lines", "1"], "--max-lines have no meaning"),
        (["--local", "-f", "rttm"], "add --diarize"),
    ],
)
def test_a_look_that_cannot_be_is_refused_before_anything_is_sent(
    service: FakeService, upload: Upload, capsys: Capture, arguments: list[str], reason: str
) -> None:
    assert main(["transcribe", str(upload()), *arguments]) == 2
    assert reason in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert service.requests == []


def test_several_formats_lie_beside_the_file_and_replace_what_is_there(
    service: FakeService, upload: Upload, capsys: Capture
) -> None:
    media = upload(name="talk.mp4")
    media.with_name("talk.srt").write_text("older and longer than the new one" * 10)
    assert main(["transcribe", str(media), "-f", "srt", "-f", "json"]) == 0
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in media.parent.iterdir()) == ["talk.json", "talk.mp4", "talk.srt"]
    assert media.with_name("talk.srt").read_text() == TEXTS["srt"][1]
    assert json.loads(media.with_name("talk.json").read_text())["segments"] == SEGMENTS


def test_a_folder_is_made_and_equal_stems_do_not_collide(
    service: FakeService, upload: Upload, tmp_path: Path, capsys: Capture
) -> None:
    files = [str(upload(name=name)) for name in ("talk.mp3", "talk.mp4", "other.wav")]
    assert main(["transcribe", *files, "-o", str(tmp_path / "new" / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == [
        "other.txt",
        "talk.mp3.txt",
        "talk.mp4.txt",
    ]
    assert "3 files: 3 completed" in capsys.readouterr().err


def test_a_media_file_is_never_overwritten(service: FakeService, upload: Upload) -> None:
    media = upload(b"these bytes stay", name="talk.txt")
    assert main(["transcribe", str(media), "-f", "txt", "-f", "srt"]) == 0
    assert media.read_bytes() == b"these bytes stay"
    assert media.with_name("talk.txt.txt").read_text() == TEXTS["txt"][1]


def test_output_may_name_the_one_file(service: FakeService, upload: Upload, tmp_path: Path) -> None:
    assert main(["transcribe", str(upload()), "-o", str(tmp_path / "here.vtt")]) == 0
    assert (tmp_path / "here.vtt").read_text() == TEXTS["vtt"][1]


def test_several_files_to_stdout_get_headings(service: FakeService, upload: Upload, capsys: Capture) -> None:
    files = [str(upload(name=name)) for name in ("a.mp3", "b.mp3")]
    assert main(["transcribe", *files, "-f", "csv", "-o", "-"]) == 0
    assert sorted(capsys.readouterr().out.split("==> ")[1:]) == [f"{file} <==\n{TEXTS['csv'][1]}" for file in files]


def test_json_is_all_of_stdout(service: FakeService, upload: Upload, capsys: Capture) -> None:
    files = [str(upload(kind, name=f"{kind.decode()}.mp3")) for kind in (b"ok", b"fail", b"junk")]
    assert main(["transcribe", *files, "--json", "-m", "small", "--language", "de"]) == 1
    ok, failed, refused = json.loads(capsys.readouterr().out)
    assert (ok["status"], ok["result"]["segments"], ok["job"]["params"]["language"]) == ("completed", SEGMENTS, "de")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "audio_undecodable")
    assert (refused["status"], refused["error"]["code"], refused["job"]) == ("refused", "not_media", None)


def test_a_failed_file_does_not_stop_the_others(service: FakeService, upload: Upload, capsys: Capture) -> None:
    files = [upload(kind, name=f"{kind.decode()}.mp3") for kind in (b"junk", b"fail", b"ok")]
    assert main(["transcribe", *map(str, files)]) == 1
    assert files[2].with_suffix(".txt").exists()
    err = capsys.readouterr().err
    assert "does not begin like any audio or video format. (not_media)" in err
    assert "failed: The file's audio cannot be decoded. (audio_undecodable)" in err
    assert "3 files: 1 refused, 1 failed, 1 completed" in err


def test_gaps_have_their_own_exit_code(service: FakeService, upload: Upload, capsys: Capture) -> None:
    assert main(["transcribe", str(upload(b"partial"))]) == 4
    assert "PARTIAL, without text: 01:01.0 -> 01:05.5 no_text" in capsys.readouterr().err


def test_a_full_queue_is_waited_for(service: FakeService, upload: Upload, capsys: Capture) -> None:
    assert main(["transcribe", str(upload(b"full"))]) == 0
    assert "queue is full" in capsys.readouterr().err


def test_an_outage_between_the_end_of_a_job_and_its_transcript_is_borne(
    service: FakeService, upload: Upload, capsys: Capture
) -> None:
    service.busy = 2
    assert main(["transcribe", str(upload()), "-f", "srt", "-q"]) == 0
    assert capsys.readouterr() == (TEXTS["srt"][1], "")


def test_a_restart_between_the_end_of_a_job_and_its_transcript_is_borne(
    service: FakeService, client: Client, upload: Upload
) -> None:
    port = int(client.base_url.rpartition(":")[2])

    def deliver(item: Item, fetch: Fetch) -> None:
        service.stop()
        service.start(port, delay=0.6)
        keep(item, fetch)

    item = Item(file=upload())
    with Pipeline(client, {}, Silent()) as pipeline:
        transcribe_all(pipeline, [item], deliver)
    assert item.result is not None
    assert item.result["segments"] == SEGMENTS


def test_a_transcript_that_is_gone_fails_its_file_alone(service: FakeService, upload: Upload, capsys: Capture) -> None:
    files = [upload(kind, name=f"{kind.decode()}.mp3") for kind in (b"gone", b"ok")]
    assert main(["transcribe", *map(str, files)]) == 1
    assert files[1].with_suffix(".txt").exists()
    assert "gone.mp3: failed: The transcript has been removed. (expired)" in capsys.readouterr().err


def test_ids_come_as_soon_as_there_are_jobs(service: FakeService, upload: Upload, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")  # opening it waits for a writer
    command = [*COMMAND, "transcribe", str(upload()), str(tmp_path / "pipe.mp3"), "--no-wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = bool(select.select([process.stdout], [], [], 60)[0])
        first = process.stdout.readline() if told else ""
        (tmp_path / "pipe.mp3").write_bytes(b"junk")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, first, out) == (1, "job-1\n", "")
    assert "pipe.mp3: refused: " in err


def test_a_name_that_is_no_unicode(service: FakeService, upload: Upload, capsys: Capture) -> None:
    files = [str(upload(name=name)) for name in ("caf\udce9.mp3", "b.mp3")]
    capsys.readouterr()
    command = [*COMMAND, "transcribe", *files, "-q"]
    done = subprocess.run([*command, "-f", "srt", "-o", "-"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "caf?.mp3 <==" in done.stdout.decode()
    assert main(["transcribe", *files, "-q", "--json"]) == 0
    assert [item["file"] for item in json.loads(capsys.readouterr().out)] == files


def test_submit_now_and_fetch_later(service: FakeService, upload: Upload, capsys: Capture) -> None:
    assert main(["transcribe", str(upload()), "--no-wait", "-q"]) == 0
    job_id = capsys.readouterr().out.strip()
    assert main(["result", job_id]) == 1
    assert "no result yet" in capsys.readouterr().err
    assert main(["result", job_id, "--wait", "-f", "srt", "-q"]) == 0
    assert capsys.readouterr() == (TEXTS["srt"][1], "")
    assert main(["status", job_id]) == 0
    assert "outcome:   1 h 02 min transcribed in 4.2 s" in capsys.readouterr().out


def test_jobs_are_listed_retried_cancelled_and_deleted(service: FakeService, upload: Upload, capsys: Capture) -> None:
    main(["transcribe", str(upload(b"fail", name="a.mp3")), "-q"])
    main(["transcribe", str(upload(b"slow", name="b.mp3")), "--no-wait", "-q"])
    assert main(["list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [("job-2", "queued", "b.mp3"), ("job-1", "failed", "a.mp3")]
    assert main(["list", "--limit", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"] == "1"
    assert main(["cancel", "job-2"]) == 0
    assert main(["retry", "job-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["retry_of"] == "job-1"
    assert main(["delete", "job-1"]) == 0
    assert main(["status", "job-1"]) == 1
    assert "There is no job with that id. (job_not_found)" in capsys.readouterr().err
    assert main(["cancel", "job-2"]) == 1


def test_one_refused_id_does_not_stop_the_others(service: FakeService, upload: Upload, capsys: Capture) -> None:
    main(["transcribe", str(upload(b"slow", name="a.mp3")), str(upload(b"slow", name="b.mp3")), "--no-wait", "-q"])
    capsys.readouterr()
    assert main(["cancel", "job-1", "nosuch", "job-2", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [job["status"] for job in json.loads(out)] == ["cancelled", "cancelled"]
    assert err == "parascribe: nosuch: There is no job with that id. (job_not_found)\n"
    assert main(["cancel", "job-1", "nosuch", "--json"]) == 1
    assert capsys.readouterr().out == ""
    assert main(["delete", "nosuch", "job-1", "job-2"]) == 1
    assert service.jobs == {}


def test_refused_parameters_are_named(service: FakeService, upload: Upload, capsys: Capture) -> None:
    assert main(["transcribe", str(upload()), "--beam-size", "9"]) == 1
    assert "beam_size: must be at most 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe", "no-such-file.mp3"],
        ["transcribe"],
        ["transcribe", "FILE", "-f", "docx"],
        ["transcribe", "FILE", "-f", "srt", "-f", "vtt", "-o", "-"],
        ["transcribe", "FILE", "--json", "-o", "-"],
        ["transcribe", "FILE", "--local", "--no-wait"],
        ["transcribe", "FILE", "--no-wait", "-f", "srt"],
        ["transcribe", "FILE", "--no-wait", "-o", "here"],
        ["transcribe", "FILE", "-f", "vtt", "-o", "talk.srt"],
        ["transcribe", "FILE", "--beside", "-o", "here"],
        ["transcribe", "FILE", "--local", "-j", "2"],
        ["transcribe", "https://files.example/talk.mp3", "--local"],
        ["watch", "FILE"],
        ["watch", ".", "--beside", "-o", "here"],
        ["watch", ".", "-o", "-"],
        ["watch", ".", "-o", "FILE"],
        ["watch", ".", "-f", "json", "--max-lines", "1"],
        ["completion", "tcsh"],
        ["trnscribe"],
    ],
)
def test_usage_errors(arguments: list[str], upload: Upload, capsys: Capture) -> None:
    assert main([str(upload()) if a == "FILE" else a for a in arguments]) == 2
    assert capsys.readouterr().out == ""


def test_unreachable_service(upload: Upload, capsys: Capture) -> None:
    assert main(["transcribe", str(upload()), "--url", "http://127.0.0.1:9"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "Cannot reach http://127.0.0.1:9" in err
    assert "parascribe serve" in err


def test_ctrl_c_cancels_what_was_submitted(service: FakeService, upload: Upload) -> None:
    files = [str(upload(b"slow", name=name)) for name in ("a.mp3", "b.mp3")]
    with subprocess.Popen(
        [*COMMAND, "transcribe", *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 20
        while not all(job["status"] == "processing" for job in service.jobs.values()) or len(service.jobs) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert "cancelled (job-1)" in err
    assert "Traceback" not in err
    assert {job["status"] for job in service.jobs.values()} == {"cancelled"}


def test_a_terminal_gets_bars_and_the_pipe_stays_clean(service: FakeService, upload: Upload) -> None:
    control, terminal = pty.openpty()
    command = [*COMMAND, "transcribe", str(upload(name="[bold]talk.mp3"))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=terminal, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(control, 4096)
            except OSError:  # Linux says EIO when the other side has closed
                break
        assert process.stdout is not None
        assert process.stdout.read().decode().startswith("[00:00.0 -> 00:03.2] Good morning.\n")
    os.close(control)
    assert "━" in shown.decode()
    assert "[bold]talk.mp3: 1 h 02 min transcribed in 4.2 s" in shown.decode()


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys\nfrom parascribe.cli import main\nmain(['--help'])\nprint(sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "transcribe" in done.stdout
    loaded = set(json.loads(done.stdout.rpartition("\n[")[2].join(["[", ""]).replace("'", '"')))
    assert not loaded & {"numpy", "sqlalchemy", "fastapi", "pydantic", "celery", "httpx", "minio"}
