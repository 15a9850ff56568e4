"""Wyoming's own client against our port, unchanged."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from api.deps import Parts
from api.foreign.wyoming.server import serving
from api.http.metrics import LiveMetrics
from api.live.scripted import Line, ScriptedLinks
from core.config.settings import Settings
from core.errors import LiveFull
from core.live.sending import WAITING_EVENTS
from core.store.sql import SqlStore
from tests.api.live_process import LiveProcess, relay_to
from tests.api.serving import make_app

SCRIPT = (
    Line(start=0.1, end=0.6, text="Turn on", language="en"),
    Line(start=1.2, end=1.8, text="the light.", language="en"),
)


@pytest.fixture
def links() -> ScriptedLinks:
    return ScriptedLinks(SCRIPT)


@pytest.fixture
def parts(tmp_path: Path, links: ScriptedLinks) -> Iterator[Parts]:
    settings = {"whisper_model": "demo"}
    app = make_app(tmp_path, SqlStore.in_memory(), live=links, settings=settings)
    yield app.state.parts
    app.state.parts.close()


@asynccontextmanager
async def connected(parts: Parts, *, idle: float = 5.0) -> AsyncIterator[AsyncClient]:
    async with (
        asyncio.timeout(10),
        serving(parts, "127.0.0.1", 0, idle=idle) as port,
        AsyncClient.from_uri(f"tcp://127.0.0.1:{port}") as client,
    ):
        yield client


async def say(client: AsyncClient, *messages: Eventable) -> None:
    for message in messages:
        await client.write_event(message.event())


async def until(client: AsyncClient, kind: type[Any]) -> list[Event]:
    found: list[Event] = []
    while not found or not kind.is_type(found[-1].type):
        event = await client.read_event()
        assert event is not None, found
        found.append(event)
    return found


def audio(seconds: float, *, rate: int = 16_000, width: int = 2, channels: int = 1) -> list[Eventable]:
    """In pieces that tear samples."""
    whole, sound = bytes(int(seconds * rate) * width * channels), {"rate": rate, "width": width, "channels": channels}
    pieces = (whole[start : start + 1_025] for start in range(0, len(whole), 1_025))
    return [AudioStart(**sound), *(AudioChunk(**sound, audio=one) for one in pieces), AudioStop()]


def test_what_there_is_is_described(parts: Parts) -> None:
    async def ask() -> tuple[Info, Pong]:
        async with connected(parts) as client:
            await say(client, Describe())
            info = Info.from_event((await until(client, Info))[-1])
            await say(client, Ping(text="there?"))
            return info, Pong.from_event((await until(client, Pong))[-1])

    info, pong = asyncio.run(ask())
    (program,) = info.asr
    assert program.supports_transcript_streaming and program.requires_external_vad and program.version == "0.0.1"
    assert [model.name for model in program.models] == ["demo"] and {"en", "de"} <= {*program.models[0].languages}
    assert pong.text == "there?"


@pytest.mark.parametrize(
    ("sound", "rate"),
    [
        ({}, 16_000),
        ({"rate": 22_050, "width": 4}, 22_050),
        ({"rate": 96_000, "width": 3, "channels": 2}, 16_000),
        ({"rate": 8_000, "width": 1}, 8_000),
    ],
)
def test_a_command(parts: Parts, links: ScriptedLinks, sound: dict[str, int], rate: int) -> None:
    async def ask() -> list[Event]:
        async with connected(parts) as client:
            asked = Transcribe(name="demo", language="en", transcript_names=["Anna"], transcript_terms=["light"])
            await say(client, asked, *audio(2.0, **sound))
            return await until(client, Transcript)

    found = asyncio.run(ask())
    assert [event.type for event in found] == ["transcript-start", "transcript-chunk", "transcript-chunk", "transcript"]
    transcript = Transcript.from_event(found[-1])
    assert (transcript.text, transcript.language) == ("Turn on the light.", "en")
    assert "".join(TranscriptChunk.from_event(event).text for event in found[1:3]) == transcript.text
    (stream,) = links.streams.values()
    assert (stream.start.stream.encoding, stream.start.stream.sample_rate) == ("s16le", rate)
    assert stream.start.job == {"model": "demo", "language": "en", "vocabulary": ["Anna", "light"]}
    assert stream.start.stream.save is False and stream.fed == pytest.approx(2.0 * rate * 2, rel=0.01)


def test_one_connection_takes_several_commands(parts: Parts, links: ScriptedLinks) -> None:
    async def ask() -> list[str]:
        texts = []
        async with connected(parts) as client:
            for seconds in (2.0, 0.05):
                await say(client, *audio(seconds))
                texts.append(Transcript.from_event((await until(client, Transcript))[-1]).text)
        return texts

    assert asyncio.run(ask()) == ["Turn on the light.", ""]
    assert all(stream.ended for stream in links.streams.values())


def test_a_long_talk_is_taken_to_its_end(tmp_path: Path) -> None:
    talk = ScriptedLinks([Line(start=n, end=n + 0.5, text=f"number {n}") for n in range(WAITING_EVENTS)])

    async def ask() -> str:
        process = LiveProcess(name="one", sessions=talk, path=tmp_path / "live")
        async with process.running():
            relay = relay_to(lambda: [process.row], LiveMetrics(CollectorRegistry()))
            app = make_app(tmp_path, SqlStore.in_memory(), live=relay, settings={"whisper_model": "demo"})
            try:
                async with connected(app.state.parts) as client:
                    await say(client, AudioStart(rate=8_000, width=1, channels=1))
                    for _ in range(WAITING_EVENTS):
                        await say(client, AudioChunk(rate=8_000, width=1, channels=1, audio=bytes(8_000)))
                    await say(client, AudioStop())
                    return Transcript.from_event((await until(client, Transcript))[-1]).text
            finally:
                app.state.parts.close()

    assert asyncio.run(ask()) == " ".join(f"number {n}" for n in range(WAITING_EVENTS))


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([AudioStop()], "live_protocol"),
        ([AudioStart(rate=16_000, width=2, channels=5)], "validation"),
        ([AudioStart(rate=16_000, width=2, channels=1)] * 2, "live_protocol"),
        ([Event(type="audio-start", data={"rate": 16_000})], "live_protocol"),
        ([Event(type="audio-start", data={"rate": "x", "width": 2, "channels": 1})], "live_protocol"),
        ([*audio(0.1)[:2], AudioChunk(rate=8_000, width=2, channels=1, audio=b"")], "live_protocol"),
    ],
)
def test_what_cannot_be_is_told_and_the_connection_ends(parts: Parts, messages: list[Any], code: str) -> None:
    async def ask() -> tuple[Error, Event | None]:
        async with connected(parts) as client:
            for message in messages:
                await client.write_event(message if isinstance(message, Event) else message.event())
            return Error.from_event((await until(client, Error))[-1]), await client.read_event()

    error, after = asyncio.run(ask())
    assert error.code == code and error.text and after is None


def test_a_service_that_is_full_says_so(parts: Parts, links: ScriptedLinks) -> None:
    links.refuse = LiveFull()

    async def ask() -> Error:
        async with connected(parts) as client:
            await say(client, *audio(0.01))
            return Error.from_event((await until(client, Error))[-1])

    assert asyncio.run(ask()).code == "live_full"


@pytest.mark.parametrize(
    "sent",
    [
        b"{\n",
        b"[1]\n",
        b'{"data": {}}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "ping", "data_length": -1}\n',
        b'{"type": "ping", "data": 7}\n',
        b'{"type": "ping", "data_length": 2}\n[]',
        b"x" * 100_000,
    ],
)
def test_what_is_no_event_ends_the_connection(parts: Parts, sent: bytes) -> None:
    async def ask() -> bytes:
        async with asyncio.timeout(10), serving(parts, "127.0.0.1", 0, idle=5.0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            answer = await reader.read()
            writer.close()
            return answer

    assert json.loads(asyncio.run(ask()).partition(b"\n")[0])["type"] == "error"


def test_who_says_nothing_is_sent_away(parts: Parts) -> None:
    async def ask() -> Error:
        async with connected(parts, idle=0.05) as client:
            await say(client, *audio(0.1)[:1])
            return Error.from_event((await until(client, Error))[-1])

    assert asyncio.run(ask()).code == "live_idle"


def test_the_port_is_open_as_long_as_the_service_runs(tmp_path: Path, links: ScriptedLinks) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app(tmp_path, SqlStore.in_memory(), live=links, settings={"wyoming_port": port})

    async def ask() -> str:
        async with app.router.lifespan_context(app), AsyncClient.from_uri(f"tcp://127.0.0.1:{port}") as client:
            await say(client, *audio(2.0))
            text = Transcript.from_event((await until(client, Transcript))[-1]).text
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        return text

    assert asyncio.run(ask()) == "Turn on the light."


def test_a_port_for_others_has_to_be_allowed(tmp_path: Path) -> None:
    given: dict[str, Any] = {"_env_file": None, "data_dir": tmp_path, "wyoming_host": "0.0.0.0"}
    assert Settings(**given).wyoming_port == 0, "off, whatever its address would be"
    with pytest.raises(ValidationError, match="Wyoming has no keys"):
        Settings(**given, wyoming_port=10_300)
    assert Settings(**given, wyoming_port=10_300, allow_open=True).wyoming_port == 10_300
