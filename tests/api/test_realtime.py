"""OpenAI's own client against `/v1/realtime`, unchanged."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI, OpenAIError
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from api.live.scripted import Line, ScriptedLinks
from core.errors import LiveFull
from tests.api.serving import Service, service

SCRIPT = (
    Line(start=0.5, end=2.0, text="Guten Tag zusammen.", language="de"),
    Line(start=3.0, end=4.5, text="Wir fangen an.", language="de"),
)
TRANSCRIPTION = {"intent": "transcription"}
DONE = "conversation.item.input_audio_transcription.completed"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, ScriptedLinks]]:
    links = ScriptedLinks(SCRIPT)
    with service(tmp_path_factory.mktemp("realtime"), live=links) as running:
        yield running, links


@asynccontextmanager
async def connected(running: Service, **more: Any) -> AsyncIterator[Any]:
    async with (
        AsyncOpenAI(base_url=f"{running.client.base_url}/v1", api_key="none", max_retries=0) as client,
        client.realtime.connect(extra_query=TRANSCRIPTION, **more) as connection,
    ):
        yield connection


async def until(connection: Any, kind: str, count: int = 1) -> list[Any]:
    """What comes, up to so many of that kind."""
    found: list[Any] = []
    async with asyncio.timeout(10):
        while sum(event.type == kind for event in found) < count:
            found.append(await connection.recv())
    return found


def of(found: list[Any], kind: str) -> list[Any]:
    return [event for event in found if event.type.endswith(kind)]


async def say(connection: Any, seconds: float, *, rate: int = 24_000, width: int = 2) -> None:
    """Audio of so many seconds, in pieces that tear samples."""
    audio, size = bytes(int(seconds * rate) * width), 9_601
    for start in range(0, len(audio), size):
        await connection.input_audio_buffer.append(audio=base64.b64encode(audio[start : start + size]).decode())


def test_silence_ends_items_whose_text_grows(talking: Service, links: ScriptedLinks) -> None:
    async def talk() -> list[Any]:
        async with connected(talking) as connection:
            (created,) = await until(connection, "session.created")
            assert created.session.type == "transcription"
            assert created.session.audio.input.turn_detection.silence_duration_ms == 500
            await connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {
                        "input": {
                            "format": {"type": "audio/pcm", "rate": 24000},
                            "transcription": {"model": "gpt-4o-transcribe", "language": "de", "keywords": ["Anna"]},
                            "noise_reduction": {"type": "near_field"},
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300, "threshold": 0.6},
                        }
                    },
                    "include": ["item.input_audio_transcription.logprobs"],
                }
            )
            (updated,) = await until(connection, "session.updated")
            assert "gpt-4o-transcribe is not here" in updated.session.warnings[0]
            assert updated.session.warnings[1:] == ["not done as asked: noise_reduction, turn_detection.threshold"]
            await say(connection, 6)
            return await until(connection, "conversation.item.done", 2)

    found = asyncio.run(talk())
    (stream,) = links.streams.values()
    assert (stream.start.stream.encoding, stream.start.stream.sample_rate) == ("s16le", 24_000)
    assert (stream.start.stream.silence_ms, stream.start.stream.save) == (300, False)
    assert stream.start.job == {"language": "de", "vocabulary": ["Anna"]}
    first = [event for event in found if getattr(event, "item_id", None) == of(found, "speech_started")[0].item_id]
    assert [event.type.rpartition(".")[2] for event in first] == [
        "speech_started", "delta", "delta", "speech_stopped", "committed", "delta", "completed",
    ]  # fmt: skip
    for item, line in zip(of(found, "completed"), SCRIPT, strict=True):
        deltas = [event.delta for event in of(found, ".delta") if event.item_id == item.item_id]
        assert "".join(deltas) == item.transcript == line.text
        assert item.usage.type == "duration" and item.usage.seconds == 1.5
        assert [one.token for one in item.logprobs] == line.text.split()
    assert [event.audio_start_ms for event in of(found, "speech_started")] == [500, 3000]
    assert [event.audio_end_ms for event in of(found, "speech_stopped")] == [2000, 4500]
    one, two = of(found, "committed")
    assert (one.previous_item_id, two.previous_item_id) == (None, one.item_id)
    assert [event.item.id for event in of(found, "item.added")] == [one.item_id, two.item_id]
    assert len({event.event_id for event in found}) == len(found)


def test_the_client_says_itself_when_an_item_ends(talking: Service, links: ScriptedLinks) -> None:
    async def talk() -> list[Any]:
        async with connected(talking) as connection:
            await connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {"input": {"turn_detection": None, "format": {"type": "audio/pcmu"}}},
                }
            )
            await until(connection, "session.updated")
            await say(connection, 6, rate=8000, width=1)
            await connection.input_audio_buffer.commit()
            await say(connection, 0.2, rate=8000, width=1)
            await connection.input_audio_buffer.commit()
            return await until(connection, DONE, 2)

    found = asyncio.run(talk())
    (item, silent) = of(found, "completed")
    assert item.transcript == "Guten Tag zusammen. Wir fangen an." and item.usage.seconds == 6
    assert silent.transcript == "" and [event.item_id for event in of(found, "committed")] == [
        item.item_id, silent.item_id
    ]  # fmt: skip
    assert "".join(event.delta for event in of(found, ".delta")) == item.transcript
    assert not of(found, "speech_started")
    assert [stream.start.stream.encoding for stream in links.streams.values()] == ["mulaw", "mulaw"]
    assert all(stream.ended for stream in links.streams.values())


def test_what_is_committed_or_cleared_while_somebody_speaks(talking: Service) -> None:
    async def talk() -> tuple[list[Any], ...]:
        async with connected(talking) as connection:
            await say(connection, 1.5)
            await connection.input_audio_buffer.commit()
            cut = await until(connection, DONE)
            await say(connection, 1.5)
            await until(connection, "input_audio_buffer.speech_started")
            await connection.input_audio_buffer.clear()
            await until(connection, "input_audio_buffer.cleared")
            await say(connection, 0.2)
            await connection.input_audio_buffer.commit()
            return cut, await until(connection, DONE)

    cut, rest = asyncio.run(talk())
    assert len(of(cut, "committed")) == 1 and of(cut, "completed")[0].transcript == SCRIPT[0].text
    assert [event.transcript for event in of(rest, "completed")] == [""], "a commit has its item, also of silence"
    assert len(of(rest, "committed")) == 1


def test_a_language_that_is_set_while_audio_comes(talking: Service, links: ScriptedLinks) -> None:
    async def talk() -> list[Any]:
        async with connected(talking) as connection:
            await say(connection, 2.6)
            language = {"type": "transcription", "audio": {"input": {"transcription": {"language": "fr"}}}}
            await connection.session.update(session=language)
            await say(connection, 2.6)
            return await until(connection, DONE, 2)

    found = asyncio.run(talk())
    assert [stream.start.job for stream in links.streams.values()] == [{}, {"language": "fr"}]
    assert [event.audio_start_ms for event in of(found, "speech_started")] == [500, 3100], "of the session's audio"


BAD_EVENTS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "input_audio_buffer.append", "audio": "?"}, "validation", "audio"),
    ({"type": "input_audio_buffer.append"}, "validation", "audio"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ({"type": "input_audio_buffer.commit", "more": 1}, "validation", "more"),
    ({"type": "response.create"}, "unsupported", "type"),
    ({"type": "conversation.item.create", "item": {}}, "unsupported", "type"),
    ({"type": "nothing"}, "validation", "type"),
    ({"type": ["session.update"]}, "validation", "type"),
    ({"type": "session.update"}, "validation", "session"),
    ({"type": "session.update", "session": {"type": "realtime"}}, "unsupported", "session.type"),
    ({"type": "session.update", "session": {"type": "transcription", "more": 1}}, "validation", "session.more"),
]


def test_a_bad_event_is_told_and_costs_nothing(talking: Service) -> None:
    async def talk() -> list[Any]:
        async with connected(talking) as connection:
            for n, (event, *_) in enumerate(BAD_EVENTS):
                await connection.send_raw(json.dumps(event | {"event_id": f"mine {n}"}))
            for bad in ("{", b"\0\0", "[]", "{" + '"a":[' * 5000):
                await connection.send_raw(bad)
            errors = of(await until(connection, "error", len(BAD_EVENTS) + 4), "error")
            await say(connection, 3)
            assert of(await until(connection, DONE), "completed")[0].transcript == SCRIPT[0].text
            return [event.error for event in errors]

    errors = asyncio.run(talk())
    for n, (error, (_, code, param)) in enumerate(zip(errors[:-4], BAD_EVENTS, strict=True)):
        assert (error.code, error.param, error.event_id) == (code, param, f"mine {n}")
    assert {(error.code, error.event_id) for error in errors[-4:]} == {("validation", None)}
    assert all(error.type == "invalid_request_error" and error.message for error in errors)


BAD = [
    ("transcription", {"model": "none"}, "model_not_found"),
    ("transcription", {"model": "gpt-4o-transcribe-diarize"}, "unsupported"),
    ("transcription", {"language": "xx"}, "validation"),
    ("transcription", None, "validation"),
    ("transcription", {"temperature": 1}, "validation"),
    ("format", {"type": "audio/opus"}, "validation"),
    ("format", {"type": "audio/pcma", "rate": 24000}, "validation"),
    ("turn_detection", {"type": "semantic_vad"}, "validation"),
    ("turn_detection", {"type": "server_vad", "silence_duration_ms": 50}, "validation"),
    ("noise_reduction", {"type": "loud"}, "validation"),
    ("speed", 2, "validation"),
]


def test_settings_that_cannot_be_change_nothing(talking: Service) -> None:
    async def talk() -> list[Any]:
        async with connected(talking) as connection:
            for name, value, _ in BAD:
                session = {"type": "transcription", "audio": {"input": {name: value}}}
                await connection.send_raw(json.dumps({"type": "session.update", "session": session}))
            errors = of(await until(connection, "error", len(BAD)), "error")
            await connection.session.update(session={"type": "transcription"})
            *_, updated = await until(connection, "session.updated")
            assert updated.session.audio.input.transcription.model == "whisper-1"
            return errors

    assert [event.error.code for event in asyncio.run(talk())] == [code for *_, code in BAD]


def test_the_older_shape(talking: Service, links: ScriptedLinks) -> None:
    async def talk() -> list[Any]:
        async with connected(talking, extra_headers={"OpenAI-Beta": "realtime=v1"}) as connection:
            await until(connection, "transcription_session.created")
            session = {
                "input_audio_format": "g711_alaw",
                "input_audio_transcription": {"model": "whisper-1", "prompt": "Anna"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
            }
            await connection.send_raw(json.dumps({"type": "transcription_session.update", "session": session}))
            *_, updated = await until(connection, "transcription_session.updated")
            assert json.loads(updated.to_json())["session"]["input_audio_format"] == "g711_alaw"
            await say(connection, 3, rate=8000, width=1)
            return await until(connection, DONE)

    found = asyncio.run(talk())
    assert len(of(found, "item.created")) == 1 and not of(found, "item.added")
    (stream,) = links.streams.values()
    assert (stream.start.stream.encoding, stream.start.job) == ("alaw", {"prompt": "Anna"})


def test_a_page_of_the_web_offers_its_key_as_a_subprotocol(talking: Service) -> None:
    async def talk() -> str | None:
        address = f"ws://{talking.host}:{talking.port}/v1/realtime?intent=transcription"
        offered: list[Any] = ["realtime", "openai-insecure-api-key.psk_none"]
        async with websocket(address, subprotocols=offered) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"
            return socket.subprotocol

    assert asyncio.run(talk()) == "realtime"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("model=gpt-realtime", "unsupported"),
        ("intent=conversation", "unsupported"),
        ("intent=transcription&model=gpt-realtime", "unsupported"),
        ("intent=transcription&call_id=x", "validation"),
    ],
)
def test_a_conversation_is_refused_before_it_begins(talking: Service, query: str, code: str) -> None:
    async def talk() -> InvalidStatus:
        with pytest.raises(InvalidStatus) as refused:
            async with websocket(f"ws://{talking.host}:{talking.port}/v1/realtime?{query}"):
                pass
        return refused.value

    answer = asyncio.run(talk()).response
    assert answer.status_code == 400 and json.loads(answer.body)["error"]["code"] == code


def test_a_service_that_is_full_says_so_and_closes(talking: Service, links: ScriptedLinks) -> None:
    links.refuse = LiveFull()

    async def talk() -> tuple[Any, int]:
        async with connected(talking) as connection:
            await say(connection, 0.1)
            *_, error = await until(connection, "error")
            with pytest.raises(ConnectionClosedError) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            return error.error, closed.value.rcvd.code

    error, code = asyncio.run(talk())
    assert (error.code, error.type, code) == ("live_full", "server_error", 1013)


def test_keys_for_a_while_are_refused(talking: Service) -> None:
    with (
        OpenAI(base_url=f"{talking.client.base_url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(OpenAIError, match="There are no keys for a while"),
    ):
        client.realtime.client_secrets.create(session={"type": "transcription"})
