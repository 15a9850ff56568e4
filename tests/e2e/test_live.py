"""Speech through a real service with the demo model: everybody's clients, whatever dies, whatever comes."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import signal
import socket
import wave
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soxr
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient as WyomingClient

from core.audio.samples import SAMPLE_RATE
from testbed import audio_bank
from testbed.service import PLAIN, Service, running
from tests.e2e.live_caller import WallClock, as_words, calling, send, spoken, truth
from tests.skipping import skip_on_a_laptop

MARIA, PETER, TOM, LUCY = 3, 4, 5, 9
"""Sentences of the bank."""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, clock: WallClock) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"LIVE_ENABLED": "true", "MAX_LIVE_STREAMS": "20", "WYOMING_PORT": port} | clock.env
    with running(tmp_path_factory.mktemp("live"), **env) as started:
        started.wait_log("Live streams are served")
        yield started


def kill(service: Service, title: str) -> None:
    victims = service.processes(title)
    assert victims, title
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)


# --- other people's clients
def test_openais_client_hears_the_words(service: Service) -> None:
    async def talk() -> list[str]:
        async with (
            AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client,
            client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
        ):
            transcription = {"model": "demo", "language": "en"}
            format_ = {"type": "audio/pcm", "rate": 24_000}
            session: Any = {
                "type": "transcription",
                "audio": {"input": {"format": format_, "transcription": transcription}},
            }
            await connection.session.update(session=session)
            audio = soxr.resample(spoken(MARIA, PETER), SAMPLE_RATE, 24_000).tobytes()
            for at in range(0, len(audio), 24_000):
                await connection.input_audio_buffer.append(audio=base64.b64encode(audio[at : at + 24_000]).decode())
            found: list[str] = []
            while len(found) < 2:
                event: Any = await connection.recv()
                assert event.type != "error", event
                if event.type == "conversation.item.input_audio_transcription.completed":
                    found.append(event.transcript)
            return found

    assert as_words(*asyncio.run(asyncio.wait_for(talk(), 60))) == truth(MARIA, PETER)


@pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")  # the client's own way to connect
def test_deepgrams_client_hears_the_words_of_a_stream_and_of_a_file(service: Service) -> None:
    environment = DeepgramClientEnvironment(
        base=service.url, production=f"ws{service.url.removeprefix('http')}", agent=service.url, agent_rest=service.url
    )
    audio = spoken(MARIA, PETER).tobytes()

    async def talk() -> tuple[list[str], str]:
        transport = httpx.AsyncClient(verify=PLAIN, timeout=60)
        client = AsyncDeepgramClient(api_key="none", environment=environment, httpx_client=transport)
        asked: dict[str, Any] = {"model": "nova-3", "encoding": "linear16", "sample_rate": SAMPLE_RATE}
        found: list[str] = []
        async with transport:
            async with client.listen.v1.connect(**asked) as connection:
                for at in range(0, len(audio), 16_000):
                    await connection.send_media(audio[at : at + 16_000])
                await connection.send_close_stream()
                async for message in connection:
                    if message.type == "Results" and message.is_final:
                        found.append(message.channel.alternatives[0].transcript)
            heard: Any = await client.listen.v1.media.transcribe_file(request=as_wav(audio), model="nova-3")
        return found, heard.results.channels[0].alternatives[0].transcript

    stream, file = asyncio.run(asyncio.wait_for(talk(), 90))
    assert as_words(*stream) == truth(MARIA, PETER)
    assert as_words(file) == [sum(truth(MARIA, PETER), [])]


def test_home_assistants_client_hears_the_words(service: Service) -> None:
    async def talk() -> str:
        async with WyomingClient.from_uri(f"tcp://127.0.0.1:{service.env['WYOMING_PORT']}") as client:
            sound = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
            audio = spoken(TOM).tobytes()
            pieces = [AudioChunk(**sound, audio=audio[at : at + 2048]) for at in range(0, len(audio), 2048)]
            for message in (Transcribe(language="en"), AudioStart(**sound), *pieces, AudioStop()):
                await client.write_event(message.event())
            while (event := await client.read_event()) is not None:
                assert event.type != "error", event
                if Transcript.is_type(event.type):
                    return Transcript.from_event(event).text
        raise AssertionError("it has gone")

    assert as_words(asyncio.run(asyncio.wait_for(talk(), 60))) == truth(TOM)


def as_wav(audio: bytes) -> bytes:
    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(audio)
    return whole.getvalue()


# --- whatever dies, whatever the audio comes in
def pair() -> bytes:
    """Two people, each on a channel; one speaks later than the other."""
    left, right = spoken(MARIA, LUCY, TOM), np.concatenate([np.zeros(SAMPLE_RATE, np.int16), spoken(PETER, TOM)])
    both = np.zeros((max(len(left), len(right)), 2), np.int16)
    both[: len(left), 0], both[: len(right), 1] = left, right
    return both.tobytes()


FRAGMENTS = ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "200000")
ONE, TWO = {None: [MARIA, LUCY, TOM]}, {0: [MARIA, LUCY, TOM], 1: [PETER, TOM]}


def contained(folder: Path, name: str, pcm: bytes, channels: int, *options: str) -> bytes:
    source = ("-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", str(channels), "-i", "pipe:0")
    audio_bank.ffmpeg(*source, *options, str(folder / name), stdin=pcm)
    return (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("sound", "dies"),
    [
        ("samples", "whisper host"),
        ("two channels", "parascribe.run.consumer_main"),
        ("two channels.ogg", "whisper manager"),
        ("one.webm", "parascribe.run.live_main"),
        ("one.mp4", None),
    ],
)
def test_no_word_is_lost_or_said_twice(service: Service, tmp_path: Path, sound: str, dies: str | None) -> None:
    channels = 2 if "two" in sound else 1
    said: dict[int | None, list[int]] = TWO if channels == 2 else ONE
    audio, start = pair() if channels == 2 else spoken(*ONE[None]).tobytes(), {"channels": channels}
    if "." in sound:
        codec = FRAGMENTS if sound.endswith("mp4") else ("-c:a", "libopus")
        audio, start["encoding"] = contained(tmp_path, sound, audio, channels, *codec), "container"

    async def talk() -> tuple[list[dict[str, Any]], str]:
        async with calling(service, language="en", partials=False, **start) as client:
            half = len(audio) * 2 // 3
            await send(client, audio[:half])
            await client.until("final", seconds=60)
            if dies:
                await asyncio.to_thread(kill, service, dies)
            await send(client, audio[half:])
            await client.say("end")
            assert await client.closed(90) == 1000
            return client.of("final"), client.got[-1]["job"]

    finals, job = asyncio.run(talk())
    assert [final["utterance"] for final in finals] == list(range(len(finals)))
    for channel, numbers in said.items():
        assert as_words(*(one["text"] for one in finals if one.get("channel") == channel)) == truth(*numbers)
    assert service.wait(job)["status"] == "completed"
    segments = service.result(job).json()["segments"]
    for channel, numbers in said.items():
        heard = " ".join(one["text"] for one in segments if one.get("channel") == channel)
        assert as_words(heard) == [sum(truth(*numbers), [])]


# --- whatever comes
async def odd(service: Service, *messages: bytes | str, **start: Any) -> tuple[str, int]:
    """Code of the error, if there is one, and of the close."""
    async with calling(service, **start) as client:
        with suppress(ConnectionClosed):
            for message in messages:
                await client.socket.send(message)
        code = await client.closed(60)
        return (client.of("error") or [{"code": ""}])[-1]["code"], code


async def never_reads(service: Service) -> None:
    async with calling(service, language="en", save=False) as client:
        await send(client, spoken(*range(2, 6)).tobytes(), 640)


END = '{"type": "end"}'
SILENCE = [bytes(320_000)] * 18  # three minutes
WRONG: list[tuple[str, int, list[bytes | str], dict[str, Any]]] = [
    ("validation", 1008, [], {"sample_rate": 12}),
    ("live_protocol", 1008, ["no JSON"], {}),
    ("live_protocol", 1008, ["[" * 100_000], {}),
    ("live_protocol", 1008, [bytes(100), '{"type": "start"}'], {}),
    ("live_protocol", 1008, [random.Random(1).randbytes(300_000), END], {"encoding": "container"}),
    ("live_protocol", 1008, [b"\x1a\x45\xdf\xa3" + bytes(5000), END], {"encoding": "container"}),
    ("live_protocol", 1008, [b"\x7f\xc0\xff\xff" * 100, END], {"encoding": "f32le"}),
    ("", 1009, [bytes(20 << 20)], {}),
    ("", 1000, [*(b"\x01\x02" for _ in range(10_000)), END], {}),
    ("", 1000, [*SILENCE, END], {"save": False}),
]


def test_what_is_wrong_has_a_code_and_the_stream_beside_it_is_not_touched(service: Service) -> None:
    async def talk() -> tuple[list[Any], list[str]]:
        async with calling(service, language="en", save=False) as beside:
            audio = spoken(MARIA, PETER, LUCY).tobytes()
            await send(beside, audio[: len(audio) // 2])
            await beside.until("final")
            wrong = [odd(service, *messages, **start) for _, _, messages, start in WRONG]
            found = await asyncio.gather(*wrong, never_reads(service))
            await send(beside, audio[len(audio) // 2 :])
            await beside.say("end")
            assert await beside.closed() == 1000
            return found, beside.texts()

    found, texts = asyncio.run(asyncio.wait_for(talk(), 120))
    assert found[:-1] == [(code, close) for code, close, *_ in WRONG]
    assert as_words(*texts) == truth(MARIA, PETER, LUCY)
    assert "Traceback" not in service.log


def test_a_wall_clock_that_jumps_changes_nothing(service: Service, clock: WallClock) -> None:
    if not clock.env:
        skip_on_a_laptop("there is no C compiler")

    async def talk() -> tuple[list[str], str]:
        async with calling(service, language="en", partials=False) as client:
            audio = spoken(MARIA, LUCY, TOM).tobytes()
            for days, part in ((400, audio[: len(audio) // 2]), (-400, audio[len(audio) // 2 :])):
                await send(client, part)
                await client.until("final")
                clock.move(days * 86_400)
            await client.say("end")
            assert await client.closed() == 1000
            return client.texts(), client.got[-1]["job"]

    try:
        texts, job = asyncio.run(asyncio.wait_for(talk(), 60))
        assert as_words(*texts) == truth(MARIA, LUCY, TOM)
        done = service.wait(job)
        assert done["status"] == "completed"
        moved = datetime.fromisoformat(done["created_at"]) - datetime.now(UTC)
        assert abs(moved.days + 400) <= 1, "it has jumped"
    finally:
        clock.move(0)
