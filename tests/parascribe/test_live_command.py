"""`parascribe live` against a real API: sources, outputs, Ctrl-C."""

from __future__ import annotations

import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import srt
import webvtt
from typer.testing import CliRunner, Result

from api.access.identity import Identity
from api.live.scripted import ScriptedLink, ScriptedLinks
from core.errors import LiveFull
from core.live.events import Final, Partial, Ready, Translation, event_of
from core.live.options import Start
from parascribe.cli.live import sources
from parascribe.cli.live.outputs import Screen, Subtitles
from parascribe.cli.program import app
from tests.api.serving import Service, service
from tests.api.test_live_links import SCRIPT, TEXTS


class Endless(ScriptedLink):
    """Says nothing when it is to end."""

    async def end(self) -> None: ...


class Links(ScriptedLinks):
    """Streams in English come to no end; those in German are refused."""

    async def open(self, start: Mapping[str, Any], who: Identity) -> ScriptedLink:
        if start.get("language") == "de":
            raise LiveFull
        wanted = Start.of(start)
        kind = Endless if start.get("language") == "en" else ScriptedLink
        return kind(self.stream(wanted, who.owner), wanted)


@pytest.fixture(scope="module")
def links() -> Links:
    return Links(SCRIPT)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory, links: Links) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("live"), live=links) as started:
        yield started


@pytest.fixture(autouse=True)
def here(speaking: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARASCRIBE_URL", f"http://127.0.0.1:{speaking.port}")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Six seconds at another rate."""
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(6 * 16_000))
    return path


def run(*arguments: str | Path, **more: Any) -> Result:
    return CliRunner().invoke(app, ["live", *map(str, arguments)], **more)


def test_a_file_becomes_text_subtitles_and_a_job(talk: Path, tmp_path: Path, links: Links) -> None:
    one, two = tmp_path / "talk.srt", tmp_path / "talk.vtt"
    done = run(talk, "--fast", "--srt", one, "--vtt", two, "--silence-ms", "300")
    assert (done.exit_code, done.stdout.splitlines()) == (0, TEXTS)
    stream = list(links.streams.values())[-1]
    assert done.stderr.splitlines() == [f"job {stream.job}"]
    assert (stream.start.stream.name, stream.start.stream.silence_ms, stream.fed) == ("talk.wav", 300, 6 * 32_000)
    assert [cue.content for cue in srt.parse(one.read_text())] == TEXTS
    assert [cue.text for cue in webvtt.read(str(two))] == TEXTS


def test_stdin_takes_samples_or_a_file(talk: Path, links: Links) -> None:
    assert run("-", input=talk.read_bytes()).stdout.splitlines() == TEXTS
    done = run("-", "--json", "--no-save", "--no-partials", input=bytes(6 * 32_000))
    events = [event_of(json.loads(line)) for line in done.stdout.splitlines()]
    assert [event.text for event in events if isinstance(event, Final)] == TEXTS
    assert not any(isinstance(event, Partial) for event in events) and done.stderr == ""
    run("-", "--encoding", "mulaw", "--sample-rate", "8000", "--quiet", input=bytes(8000))
    last = list(links.streams.values())[-1]
    assert (last.start.stream.encoding, last.fed) == ("mulaw", 8000)


def test_several_sources_are_told_apart(talk: Path, links: Links) -> None:
    done = run(talk, talk, "-", "--fast", "--channels", "2", input=bytes(6 * 64_000))
    assert done.exit_code == 0
    for name in ("talk.wav (1)", "talk.wav (2)", "stdin"):
        assert [line for line in done.stdout.splitlines() if f"[{name}] " in line] == [f"[{name}] {t}" for t in TEXTS]
        assert f"{name}: job " in done.stderr
    assert [stream.fed for stream in list(links.streams.values())[-3:]] == [6 * 64_000] * 3


def test_an_address_is_opened_until_it_gives_sound(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(http.server.SimpleHTTPRequestHandler):
        asked: list[str] = []

        def do_GET(self) -> None:
            self.asked.append(self.path)
            if len(self.asked) == 1:
                return self.send_error(404)
            return super().do_GET()

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setattr(sources, "PAUSE_FIRST", 0.05)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(talk.parent))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/talk.wav"
            assert run(address).stdout.splitlines() == TEXTS
            assert len(Handler.asked) >= 2
            monkeypatch.setattr(sources, "PATIENCE_SECONDS", 0.1)
            done = run(address.replace("talk", "none"), "--no-save")
            assert done.exit_code == 1 and "404" in done.stderr
        finally:
            server.shutdown()
            thread.join(10)


def test_what_makes_no_sense_is_said_before_anything_is_done(talk: Path, tmp_path: Path) -> None:
    for arguments in (
        [],
        [tmp_path / "none.wav"],
        [talk, "--device", "1"],
        [talk, "--encoding", "container"],
        [talk, talk, "--srt", tmp_path / "x.srt"],
        [talk, "--channels", "9"],
        [talk, "--srt", tmp_path / "none" / "x.srt"],
        [talk, "--local", "--refine"],
    ):
        done = run(*arguments)
        assert done.exit_code == 2, done.output
    done = run(talk, "--language", "de")
    assert done.exit_code == 1 and "live_full" in done.stderr
    away = run(talk, "--url", "http://127.0.0.1:9", "--srt", tmp_path / "x.srt")
    assert away.exit_code == 3 and "Connection refused" in away.stderr and "--local" in away.stderr
    assert not (tmp_path / "x.srt").exists()
    assert "is no address" in run(talk, "--url", "nonsense").stderr
    (tmp_path / "text.wav").write_text("no sound at all" * 99)
    assert run(tmp_path / "text.wav").exit_code == 1


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_the_stream_and_once_more_leaves_it(presses: int) -> None:
    language = ["--language", "en"] if presses == 2 else []
    process = subprocess.Popen(
        [sys.executable, "-m", "parascribe", "live", "-", *language],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert process.stdin and process.stdout and process.stderr
    with process:
        with wave.open(process.stdin, "wb") as talk:  # decoded by a program, which is left nowhere
            talk.setparams((1, 2, 16_000, 6 * 16_000, "NONE", ""))
            talk.writeframesraw(bytes(6 * 32_000))
        assert process.stdout.readline().decode().strip() == TEXTS[0]
        process.send_signal(signal.SIGINT)
        assert b"Ending" in process.stderr.readline()
        if presses == 2:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == (0 if presses == 1 else 130)
        last = process.stderr.read()
        assert (b"job " in last) == (presses == 1) and b"Traceback" not in last


def final(number: int, text: str, **more: Any) -> Final:
    return Final(utterance=number, start=3.0 * number, end=3.0 * number + 2, text=text, words=[], language="en", **more)


def test_subtitles_are_whole_at_every_moment(tmp_path: Path) -> None:
    one, two = Subtitles(tmp_path / "a.srt", "srt"), Subtitles(tmp_path / "a.vtt", "vtt")
    long = "a sentence that is so long that it takes more than one cue, since nobody reads that much at a time, " * 2
    for number, text in enumerate(["first", long.strip(), "42\nsecond --> third", "voice"]):
        for subtitles in (one, two):
            subtitles.told("", final(number, text, channel=1 if text == "voice" else None))
        cues = list(srt.parse((tmp_path / "a.srt").read_text(), ignore_errors=False))
        assert [cue.index for cue in cues] == list(range(1, len(cues) + 1)) and len(cues) > number
        assert len(list(webvtt.read(str(tmp_path / "a.vtt")))) == len(cues)
    assert "Channel 1" in cues[-1].content and "<v Channel 1>" in (tmp_path / "a.vtt").read_text()
    one.close()
    two.close()


def test_the_line_that_is_spoken_is_rewritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    screen = Screen()
    screen.told("", Ready(session="a"))
    for committed, tail in (("", "one"), ("one two", " three"), ("words " * 20, "last\x1b[2J")):
        screen.told("", Partial(utterance=0, revision=1, committed=committed, tail=tail, start=0.0, end=1.0))
    screen.told("", final(0, "one two three"))
    screen.told("", Translation(utterance=0, language="de", text="eins zwei drei"))
    screen.told("", Translation(utterance=0, language="de", error="translation_unavailable"))
    screen.close()
    ready, *shown = capsys.readouterr().out.split("\r\x1b[K")[1:]
    assert "Listening" in ready
    assert shown[:2] == ["\x1b[2mone\x1b[0m", "one two\x1b[2m three\x1b[0m"]
    plain = shown[2].replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert len(plain) < 30 and plain.endswith("last?[2J"), "what is heard does not command the terminal"
    assert shown[3:] == ["one two three\n", "  -> eins zwei drei\n", "  -> (translation_unavailable)\n", ""]
