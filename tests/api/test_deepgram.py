"""Deepgram's own client against `/v1/listen`, unchanged."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.errors import BadRequestError
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus

from api.live.scripted import Line, ScriptedLinks
from core.errors import LiveFull
from core.jobs.turns import INTERACTIVE
from core.objects.memory import MemoryObjects
from core.submission.origins import Origins
from core.transcript.formats import to_result
from core.transcript.values import Language, Segment, Speaker, Transcript, Word
from tests.api.consuming import Consumer
from tests.api.serving import Service, service, wav
from tests.api.talks import Talk

pytestmark = pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning")  # the client's own way to connect

SCRIPT = (
    Line(start=0.5, end=2.0, text="Good morning, everybody.", channel=None),
    Line(start=4.0, end=5.5, text="Let us begin."),
)


class Web:
    """What a request may name; nothing is fetched here."""

    def check(self, url: str) -> None: ...

    def get(self, url: str, **more: Any) -> Any:
        raise AssertionError(url)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, ScriptedLinks]]:
    links, objects = ScriptedLinks(SCRIPT), MemoryObjects()
    origins = Origins(web=Web(), objects=objects)
    with service(tmp_path_factory.mktemp("deepgram"), live=links, objects=objects, origins=origins) as running:
        yield running, links


def environment(talking: Service) -> DeepgramClientEnvironment:
    place = f"{talking.host}:{talking.port}"
    return DeepgramClientEnvironment(
        base=f"http://{place}", production=f"ws://{place}", agent=f"ws://{place}", agent_rest=f"http://{place}"
    )


@pytest.fixture
def client(talking: Service) -> Iterator[DeepgramClient]:
    with httpx.Client() as transport:
        yield DeepgramClient(api_key="psk_none", environment=environment(talking), httpx_client=transport)


# --- files
def spoken(text: str, start: float, *, speaker: str | None = None, channel: int | None = None) -> Segment:
    said = text.split()
    words = tuple(
        Word(word=word, start=start + n / 2, end=start + n / 2 + 0.4, probability=0.8, speaker=speaker)
        for n, word in enumerate(said)
    )
    end = start + len(said) / 2
    return Segment(
        start=start, end=end, text=text, words=words, speaker=speaker, speaker_confidence=0.9 if speaker else None,
        channel=channel,
    )  # fmt: skip


def transcript(*segments: Segment, speakers: Sequence[str] = ()) -> Transcript:
    return Transcript(
        segments=segments,
        language=Language(code="en", confidence=0.97),
        duration=12.0,
        model="base",
        word_timestamps=True,
        speakers=tuple(Speaker(id=one, name=one, seconds=1.0) for one in speakers) or None,
    )


def answering(talking: Service, found: Transcript) -> Consumer:
    def work(talk: Talk) -> None:
        talking.objects.put("r", io.BytesIO(json.dumps(to_result(found)).encode()))
        talking.store.finish(talk.claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})

    return Consumer(talking, work)


MEETING = transcript(
    spoken("Good morning, Anna. How are you?", 0.0, speaker="SPEAKER_00"),
    spoken("Fine.", 4.0, speaker="SPEAKER_01"),
    spoken("It rains.", 8.0, speaker="SPEAKER_01"),
    speakers=("SPEAKER_00", "SPEAKER_01"),
)


def test_a_file(talking: Service, client: DeepgramClient) -> None:
    consumer = answering(talking, MEETING)
    found: Any = client.listen.v1.media.transcribe_file(
        request=wav(),
        model="nova-3",
        smart_format=True,
        utterances=True,
        diarize=True,
        detect_language=True,
        keyterm=["Anna", "Dr. No, junior"],
        tag="mine",
        extra="ticket:7",
        numerals=True,
    )
    consumer.join()
    assert consumer.talk is not None
    job = talking.store.get(consumer.talk.id)
    assert (job.params.language, job.params.diarize, job.params.word_timestamps) == (None, True, True)
    assert job.params.vocabulary == ["Anna", "Dr. No, junior"] and job.priority == INTERACTIVE
    metadata = found.metadata
    assert (metadata.request_id, metadata.sha256, metadata.duration) == (job.id, job.source.sha256, 12.0)
    assert metadata.channels == 1 and metadata.model_info[metadata.models[0]]["name"] == "base"
    assert metadata.tags == ["mine"] and metadata.extra == {"ticket": "7"}
    assert {one["parameter"] for one in metadata.warnings} == {"model", "numerals"}
    (channel,) = found.results.channels
    assert (channel.detected_language, channel.language_confidence) == ("en", 0.97)
    (best,) = channel.alternatives
    assert best.transcript == "Good morning, Anna. How are you? Fine. It rains." and best.confidence == 0.8
    assert [(word.word, word.punctuated_word, word.speaker) for word in best.words[1:4]] == [
        ("morning", "morning,", 0), ("anna", "Anna.", 0), ("how", "How", 0)
    ]  # fmt: skip
    assert best.words[6].speaker == 1 and best.words[6].speaker_confidence == 0.9
    first, second, third = best.paragraphs.paragraphs
    assert [sentence.text for sentence in first.sentences] == ["Good morning, Anna.", "How are you?"]
    assert (first.speaker, first.num_words, second.speaker, third.start) == (0, 6, 1, 8.0)
    assert best.paragraphs.transcript.startswith("\nSpeaker 0: Good morning, Anna. How are you?\n\nSpeaker 1: Fine.")
    said = [(one.transcript, one.speaker, one.channel) for one in found.results.utterances]
    assert said == [("Good morning, Anna. How are you?", 0, 0), ("Fine.", 1, 0), ("It rains.", 1, 0)]


def test_channels_by_themselves_and_the_usual_language(talking: Service, client: DeepgramClient) -> None:
    consumer = answering(
        talking, transcript(spoken("Hello.", 1.0, channel=0), spoken("Yes?", 3.0, channel=1), spoken("It is me.", 5.0, channel=0))
    )  # fmt: skip
    answer = client.listen.v1.media.with_raw_response.transcribe_file(
        request=wav(), model="base", multichannel=True, punctuate=True, utterances=True
    )
    consumer.join()
    found: Any = answer.data
    assert consumer.talk is not None
    params = talking.store.get(consumer.talk.id).params
    assert (params.model, params.language, params.channels) == ("base", "en", "split"), "Deepgram's default is English"
    assert [one.alternatives[0].transcript for one in found.results.channels] == ["Hello. It is me.", "Yes?"]
    assert found.metadata.channels == 2 and [one.channel for one in found.results.utterances] == [0, 1, 0]
    assert "x-parascribe-warning" not in answer.headers and answer.headers["x-parascribe-job"] == consumer.talk.id


def test_a_file_that_is_only_named(talking: Service, client: DeepgramClient) -> None:
    consumer = answering(talking, transcript(replace(MEETING.segments[1], speaker=None, words=())))
    found: Any = client.listen.v1.media.transcribe_url(url="https://example.org/talks/one.mp3", language="multi")
    consumer.join()
    assert consumer.talk is not None
    job = talking.store.get(consumer.talk.id)
    assert (job.source.filename, job.params.language) == ("one.mp3", None)
    (best,) = found.results.channels[0].alternatives
    assert best.transcript == "Fine." and [word.word for word in best.words] == ["fine"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"redact": "pci"}, "unsupported"),
        ({"callback": "https://example.org/"}, "unsupported"),
        ({"summarize": "v2"}, "unsupported"),
        ({"search": ["a"]}, "unsupported"),
        ({"model": "none"}, "unknown_model"),
        ({"language": "xx"}, "validation"),
        ({"utt_split": -1.0}, "validation"),
        ({"extra": "nothing"}, "validation"),
        ({"detect_language": True, "language": "de"}, "validation"),
        ({"request_options": {"additional_query_parameters": {"nothing": "1"}}}, "validation"),
    ],
)
def test_what_is_refused(talking: Service, client: DeepgramClient, asked: dict[str, Any], code: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.listen.v1.media.transcribe_file(request=wav(), **asked)
    body: Any = refused.value.body
    assert body["err_code"] == code and body["err_msg"]
    assert refused.value.headers is not None and body["request_id"] == refused.value.headers["x-request-id"]
    assert not talking.store.waiting(at_most=1)


def test_a_body_that_is_no_recording(talking: Service, client: DeepgramClient) -> None:
    for body, code in ((b"", "empty_upload"), (b"no recording" * 99, "not_media")):
        with pytest.raises(BadRequestError) as refused:
            client.listen.v1.media.transcribe_file(request=body)
        assert refused.value.body["err_code"] == code
    for named in ({}, {"url": 1}, {"url": "https://example.org/", "more": 1}):
        answer = talking.client.post("/v1/listen", json=named)
        assert answer.status_code == 400 and answer.json()["err_code"] == "validation"


# --- streams
async def talk(talking: Service, seconds: Sequence[float] = (7.0,), **query: Any) -> list[Any]:
    """What a stream is told. After each piece of audio but the last: Finalize."""
    transport = httpx.AsyncClient()
    client = AsyncDeepgramClient(api_key="psk_none", environment=environment(talking), httpx_client=transport)
    asked = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000} | query
    found: list[Any] = []
    async with transport, client.listen.v1.connect(**asked) as connection, asyncio.timeout(10):
        for n, some in enumerate(seconds):
            if n:
                await connection.send_finalize()
            audio = bytes(int(some * 16_000) * 2)
            for start in range(0, len(audio), 9_601):
                await connection.send_media(audio[start : start + 9_601])
            await connection.send_keep_alive()
        await connection.send_close_stream()
        async for message in connection:
            found.append(message)
    return found


def test_a_stream(talking: Service, links: ScriptedLinks) -> None:
    found = asyncio.run(
        talk(talking, interim_results="true", vad_events="true", utterance_end_ms=1000, endpointing=300, language="en-US")
    )  # fmt: skip
    kinds = [message.type for message in found]
    assert kinds == [
        "SpeechStarted", "Results", "Results", "Results", "Results", "UtteranceEnd",
        "SpeechStarted", "Results", "Results", "Results", "Results", "UtteranceEnd", "Metadata",
    ]  # fmt: skip
    results = [message for message in found if message.type == "Results"]
    texts = [one.channel.alternatives[0].transcript for one in results]
    assert texts == [
        "Good", "Good morning,", "Good morning, everybody.", "Good morning, everybody.",
        "Let", "Let us", "Let us begin.", "Let us begin.",
    ]  # fmt: skip
    finals = [one for one in results if one.is_final]
    assert [(one.start, one.duration, one.speech_final, one.from_finalize) for one in finals] == [
        (0.5, 1.5, True, False), (4.0, 1.5, True, False)
    ]  # fmt: skip
    words = finals[0].channel.alternatives[0].words
    assert [(word.word, word.punctuated_word, word.start) for word in words[:2]] == [
        ("good", "Good", 0.5), ("morning", "morning,", 1.0)
    ]  # fmt: skip
    assert [message.timestamp for message in found if message.type == "SpeechStarted"] == [0.5, 4.0]
    ends = [message for message in found if message.type == "UtteranceEnd"]
    assert [(one.last_word_end, one.channel) for one in ends] == [(2.0, [0, 1]), (5.5, [0, 1])]
    assert found[-1].duration == 7.0 and found[-1].request_id == finals[0].metadata.request_id
    (stream,) = links.streams.values()
    assert (stream.start.stream.silence_ms, stream.start.stream.save) == (300, False)
    assert stream.start.job == {"language": "en-US"} and stream.ended


def test_what_is_final_because_the_client_wants_it(talking: Service) -> None:
    found = asyncio.run(talk(talking, (1.5, 4.0), endpointing="false"))
    finals = [message for message in found if message.type == "Results"]
    assert [(one.is_final, one.from_finalize, one.speech_final) for one in finals] == [
        (True, True, False), (True, False, False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "encoding", "channels"),
    [
        ({"encoding": "mulaw", "sample_rate": 8000}, "mulaw", 1),
        ({"encoding": "alaw", "sample_rate": 8000, "channels": 2, "multichannel": "true"}, "alaw", 2),
        ({"encoding": "linear32", "sample_rate": 48000}, "f32le", 1),
        ({"encoding": None, "sample_rate": None}, "container", 1),
        ({"encoding": "opus"}, "container", 1),
    ],
)
def test_how_a_stream_sounds(
    talking: Service, links: ScriptedLinks, query: dict[str, Any], encoding: str, channels: int
) -> None:
    found = asyncio.run(talk(talking, (0.3,), **query))
    (stream,) = links.streams.values()
    assert (stream.start.stream.encoding, stream.start.stream.channels) == (encoding, channels)
    assert found[-1].type == "Metadata" and found[-1].channels == channels


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("encoding=linear16", "validation"),
        ("encoding=g729&sample_rate=8000", "unsupported"),
        ("encoding=linear16&sample_rate=16000&channels=3", "validation"),
        ("endpointing=soon", "validation"),
        ("redact=pci", "unsupported"),
        ("callback=x", "unsupported"),
        ("model=a&model=b", "validation"),
        ("nothing=1", "validation"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_before_it_begins(talking: Service, query: str, code: str) -> None:
    async def ask() -> InvalidStatus:
        with pytest.raises(InvalidStatus) as refused:
            async with websocket(f"ws://{talking.host}:{talking.port}/v1/listen?{query}"):
                pass
        return refused.value

    answer = asyncio.run(ask()).response
    assert answer.status_code == 400 and json.loads(answer.body)["err_code"] == code


def test_a_service_that_is_full_answers_503(talking: Service, links: ScriptedLinks) -> None:
    links.refuse = LiveFull()
    with pytest.raises(ApiError) as refused:
        asyncio.run(talk(talking))
    assert refused.value.status_code == 503


def test_what_a_stream_cannot_read_costs_it_nothing(talking: Service, links: ScriptedLinks) -> None:
    async def ask() -> tuple[list[Any], str | None, Any]:
        address = f"ws://{talking.host}:{talking.port}/v1/listen?encoding=linear16&sample_rate=8000&diarize=true"
        offered: list[Any] = ["token", "psk_none"]
        async with websocket(address, subprotocols=offered) as socket, asyncio.timeout(10):
            for bad in ("{", "[]", '{"type": "Nothing"}', '{"type": "Configure", "keyterms": ["a"]}'):
                await socket.send(bad)
            await socket.send(bytes(8000 * 2 * 3))
            await socket.send(b"")  # as older clients close a stream
            assert socket.response is not None
            return [json.loads(message) async for message in socket], socket.subprotocol, socket.response.headers

    found, chosen, headers = asyncio.run(ask())
    assert [one["type"] for one in found] == ["Error"] * 3 + ["ConfigureFailure", "Results", "Metadata"]
    assert [one["variant"] for one in found[:3]] == ["SchemaError"] * 3 and chosen == "token"
    assert headers["x-parascribe-warning"] == "diarize: not done" and headers["dg-request-id"]
    assert found[-1]["warnings"][0]["parameter"] == "diarize" and found[-1]["request_id"] == headers["dg-request-id"]


def test_a_client_that_goes_leaves_nothing_behind(talking: Service, links: ScriptedLinks) -> None:
    async def ask() -> None:
        address = f"ws://{talking.host}:{talking.port}/v1/listen?encoding=linear16&sample_rate=8000"
        async with websocket(address) as socket:
            await socket.send(bytes(8000))

    before = threading.active_count()
    asyncio.run(ask())
    assert threading.active_count() <= before + 1 and len(links.streams) == 1
