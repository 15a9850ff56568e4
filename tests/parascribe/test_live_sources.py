"""Where `parascribe live` has its sound from: broadcasts that break off, microphones, files that are none."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.live.options import StreamOptions
from parascribe.cli.live import microphone, sources
from parascribe.cli.live.decoding import SourceFault
from parascribe.cli.live.microphone import microphone_source
from parascribe.cli.live.sources import Source, address_source, file_source
from testbed import audio_bank
from tests.parascribe.broadcasts import Camera, Playlist, Radio, Server, served

WANTED = StreamOptions()
SECOND = 32_000
"""Bytes of one, as WANTED has it."""

TONE = ("-f", "lavfi", "-i", "sine=frequency=300:sample_rate=8000:duration=6")


def taken(source: Source, wanted: StreamOptions = WANTED) -> tuple[int, str]:
    """How many bytes came, and why it broke off in the end."""

    async def take() -> tuple[int, str]:
        count = 0
        try:
            async for block in source.blocks(wanted):
                count += len(block)
        except SourceFault as fault:
            return count, str(fault)
        return count, ""

    return asyncio.run(asyncio.wait_for(take(), 60))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PAUSE_FIRST", 0.05)
    monkeypatch.setattr(sources, "PATIENCE_SECONDS", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("handler", "scheme", "form"), [(Camera, "rtsp", "mulaw"), (Radio, "http", "mp3")], ids=["camera", "radio"]
)
def test_a_broadcast_that_breaks_off_goes_on_when_it_is_back(handler: type[Any], scheme: str, form: str) -> None:
    sound, remarks = audio_bank.ffmpeg(*TONE, "-f", form, "pipe:1"), list[str]()
    with served(server := Server(handler, [sound, sound])):
        address = f"{scheme}://127.0.0.1:{server.port}/one"
        count, fault = taken(address_source(address, remark=remarks.append))
    assert count == pytest.approx(12 * SECOND, rel=0.05), "both parts, once"
    assert remarks and all(remark.startswith(f"{address}: ") and "trying again" in remark for remark in remarks)
    assert fault.startswith(address), "nobody waits for ever"


@pytest.mark.usefixtures("impatient")
def test_a_playlist_that_cannot_be_had_for_a_while_goes_on_with_what_is_new(tmp_path: Path) -> None:
    audio_bank.ffmpeg(
        *TONE, "-c:a", "aac", "-f", "segment", "-segment_time", "1", "-muxdelay", "0", str(tmp_path / "%d.ts")
    )
    parts = [(tmp_path / f"{number}.ts").read_bytes() for number in range(6)]
    remarks: list[str] = []
    with served(server := Server(Playlist, parts)):
        address = f"http://127.0.0.1:{server.port}/live.m3u8"
        count, fault = taken(address_source(address, remark=remarks.append))
    assert (fault, len(remarks)) == ("", 1), "its end was told"
    assert 3.5 * SECOND < count < 4.6 * SECOND, "the first three seconds, and the last one"


def test_what_has_no_sound_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all" * 99)
    picture = ("-f", "lavfi", "-i", "color=size=16x16:duration=1")
    audio_bank.ffmpeg(*picture, "-c:v", "mpeg4", str(tmp_path / "silent.mp4"))
    audio_bank.ffmpeg(*picture, *TONE, "-c:v", "mpeg4", "-c:a", "aac", str(tmp_path / "film.mp4"))
    found = {path.name: taken(file_source(path, fast=True)) for path in sorted(tmp_path.iterdir())}
    assert found["film.mp4"] == (pytest.approx(6 * SECOND, rel=0.02), "")
    assert [found[name][1].rpartition("/")[2] for name in ("silent.mp4", "text.wav")] == [
        "silent.mp4: it has no sound",
        "text.wav: there is no audio or video in it that can be read",
    ]


# --- microphones
class Sounds:
    """What is needed of `sounddevice`, without a device. script: what its driver does, in a thread of its own"""

    class PortAudioError(Exception): ...

    def __init__(self, script: Callable[[Any], None] | None) -> None:
        self.script, self.asked = script, dict[str, Any]()

    def query_devices(self, device: Any, kind: str) -> None:
        if self.script is None or device == "none":
            raise self.PortAudioError("Error querying device -1")

    def RawInputStream(self, **given: Any) -> Any:  # noqa: N802 (its name there)
        if given["samplerate"] == 44_100:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.asked = given
        return self

    def __enter__(self) -> None:
        assert self.script is not None
        threading.Thread(target=self.script, args=(SimpleNamespace(**self.asked),)).start()

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda script: monkeypatch.setitem(sys.modules, "sounddevice", Sounds(script))


def speak(driver: Any) -> None:
    for _ in range(30):
        driver.callback(bytes(2 * driver.blocksize * driver.channels), driver.blocksize, None, None)
    driver.finished_callback()


def test_a_microphone_is_heard_until_it_is_gone(plug: Callable[..., None]) -> None:
    plug(speak)
    assert taken(microphone_source("1"), StreamOptions(channels=2)) == (3 * 2 * SECOND, "The microphone is gone")
    assert taken(microphone_source(), StreamOptions(encoding="mulaw"))[1].startswith("A microphone gives s16le")
    assert "--sample-rate" in taken(microphone_source(), StreamOptions(sample_rate=44_100))[1]


def test_a_microphone_that_nobody_listens_to_or_that_is_silent_ends(
    plug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "MOST_SECONDS", 1)
    monkeypatch.setattr(microphone, "QUIET_SECONDS", 0.05)
    plug(speak)
    assert "nobody has taken" in taken(microphone_source())[1], "30 blocks at once, and room for 10"
    plug(lambda driver: None)
    assert "has given nothing" in taken(microphone_source())[1]


def test_a_microphone_that_is_not_there_is_said_in_words(
    plug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(None)
    with pytest.raises(SourceFault, match=r"no microphone here: .* python -m sounddevice"):
        microphone_source()
    plug(speak)
    with pytest.raises(SourceFault, match="no microphone 'none' here"):
        microphone_source("none")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceFault, match=r"parascribe\[mic\]"):
        microphone_source()
