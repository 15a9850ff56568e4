"""OpenAI's own client against our routes, unchanged."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from core.jobs.job import JobFailure, JobStatus
from core.jobs.turns import INTERACTIVE
from tests.api.consuming import TEXT, Consumer
from tests.api.serving import Service, wav
from tests.api.talks import Talk
from tests.core.store_kit import take

FILE = ("talk.wav", wav())
SAMPLE = f"data:audio/wav;base64,{base64.b64encode(wav(40_000)).decode()}"


@pytest.fixture
def client(running: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.client.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_transcription(running: Service, client: OpenAI) -> None:
    consumer = Consumer(running)
    found = client.audio.transcriptions.create(
        model="whisper-1", file=FILE, language="en", prompt="Words", temperature=0.2
    )
    consumer.join()
    assert found.text == TEXT
    assert found.usage is not None and found.usage.type == "duration" and found.usage.seconds == 30
    assert consumer.talk is not None
    job = running.store.get(consumer.talk.id)
    assert (job.params.language, job.params.prompt, job.params.temperature) == ("en", "Words", 0.2)
    assert (job.priority, job.params.priority) == (INTERACTIVE, "interactive") and job.source.filename == "talk.wav"


@pytest.mark.parametrize("shape", ["text", "srt", "vtt", "verbose_json"])
def test_every_format(running: Service, client: OpenAI, shape: Any) -> None:
    consumer = Consumer(running)
    found: Any = client.audio.transcriptions.create(model="base", file=FILE, response_format=shape)
    consumer.join()
    if shape == "verbose_json":
        assert found.text == TEXT and [s.id for s in found.segments] == list(range(6)) and found.language == "english"
    elif shape == "text":
        assert found == TEXT + "\n"
    else:
        assert found.startswith("WEBVTT" if shape == "vtt" else "1\n00:00:00,000 --> ")


def test_words_and_logprobs(running: Service, client: OpenAI) -> None:
    consumer = Consumer(running)
    found: Any = client.audio.transcriptions.create(
        model="base", file=FILE, response_format="verbose_json", timestamp_granularities=["word"]
    )
    consumer.join()
    assert consumer.talk is not None and running.store.get(consumer.talk.id).params.word_timestamps
    assert found.segments is None
    consumer = Consumer(running)
    logged = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=FILE, include=["logprobs"])
    consumer.join()
    assert logged.logprobs == []  # what is played here has no words


@pytest.mark.parametrize("model", ["base", "gpt-4o-transcribe-diarize"])
def test_speakers(running: Service, client: OpenAI, model: str) -> None:
    consumer = Consumer(running)
    found: Any = client.audio.transcriptions.create(model=model, file=FILE, response_format="diarized_json")
    consumer.join()
    assert found.text == TEXT and len(found.segments) == 6 and found.segments[0].type == "transcript.text.segment"
    assert consumer.talk is not None and running.store.get(consumer.talk.id).params.diarize


def test_the_text_streams_while_the_job_runs(running: Service, client: OpenAI) -> None:
    heard = threading.Event()

    def work(talk: Talk) -> None:
        talk.end(0)
        talk.end(1)
        assert heard.wait(20), "the first words came only at the end"
        talk.end(2)
        talk.finish(running.objects)

    consumer = Consumer(running, work)
    deltas, done = "", None
    with client.audio.transcriptions.create(model="whisper-1", file=FILE, stream=True) as stream:
        for event in stream:
            if event.type == "transcript.text.delta":
                deltas += event.delta
                heard.set()
            elif event.type == "transcript.text.done":
                done = event.text
    consumer.join()
    assert deltas == done == TEXT


def test_known_speakers_have_their_names(running: Service, client: OpenAI) -> None:
    consumer = Consumer(running)
    found: Any = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=FILE,
        response_format="diarized_json",
        known_speaker_names=["Anna", "Bert"],
        known_speaker_references=[SAMPLE, SAMPLE],
    )
    consumer.join()
    assert consumer.talk is not None and found.text == TEXT
    job = running.store.get(consumer.talk.id)
    assert [(one["name"], one["sample"][:7]) for one in job.params.known_speakers or ()] == [
        ("Anna", "sha256:"),
        ("Bert", "sha256:"),
    ]
    assert job.params.diarize and job.samples_key in running.keys
    plain = {"response_format": "diarized_json", "known_speaker_names": "Anna", "known_speaker_references": SAMPLE}
    other = Consumer(running)
    running.client.post("/v1/audio/transcriptions", files={"file": FILE}, data=plain).raise_for_status()
    other.join()
    assert other.talk is not None and running.store.get(other.talk.id).params.known_speakers


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's own word on it
def test_a_translation(running: Service, client: OpenAI) -> None:
    consumer = Consumer(running)
    found = client.audio.translations.create(model="whisper-1", file=FILE)
    consumer.join()
    assert found.text == TEXT and consumer.talk is not None
    assert running.store.get(consumer.talk.id).params.task == "translate"


def test_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "whisper-1" and {"base", "tiny.en"} <= {*names}
    assert client.models.retrieve("base").id == "base" and client.models.retrieve("gpt-4o-transcribe").object == "model"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("gpt-5")
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("changes", "kind", "code", "param"),
    [
        ({"model": "nonsense"}, openai.NotFoundError, "model_not_found", "model"),
        ({"file": ("talk.wav", b"")}, openai.BadRequestError, "empty_upload", None),
        ({"file": ("talk.txt", b"words " * 1000)}, openai.BadRequestError, "not_media", None),
        ({"language": "klingon"}, openai.BadRequestError, "validation", "language"),
        ({"temperature": 7}, openai.BadRequestError, "validation", "temperature"),
        ({"response_format": "docx"}, openai.BadRequestError, "validation", "response_format"),
        ({"known_speaker_names": ["Anna"]}, openai.BadRequestError, "validation", "known_speaker_names"),
        (
            {"model": "gpt-4o-transcribe-diarize", "known_speaker_names": ["Anna"]},
            openai.BadRequestError,
            "validation",
            "known_speaker_references",
        ),
        (
            {
                "model": "gpt-4o-transcribe-diarize",
                "known_speaker_names": [*"ABCDE"],
                "known_speaker_references": [SAMPLE] * 5,
            },
            openai.BadRequestError,
            "validation",
            "known_speaker_names",
        ),
        (
            {
                "model": "gpt-4o-transcribe-diarize",
                "known_speaker_names": ["Anna"],
                "known_speaker_references": ["https://a.test/anna.wav"],
            },
            openai.BadRequestError,
            "validation",
            "known_speakers",
        ),
        ({"timestamp_granularities": ["word"]}, openai.BadRequestError, "validation", "timestamp_granularities"),
        ({"stream": True, "response_format": "srt"}, openai.BadRequestError, "validation", "stream"),
        ({"include": ["logprobs"], "response_format": "text"}, openai.BadRequestError, "validation", "include"),
        ({"extra_body": {"hotwords": "x"}}, openai.BadRequestError, "validation", "hotwords"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 0.1}}, openai.BadRequestError, "validation", None),
    ],
)
def test_what_cannot_be_done_has_the_clients_own_exception(
    running: Service,
    client: OpenAI,
    changes: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    param: str | None,
) -> None:
    with pytest.raises(kind) as refused:
        client.audio.transcriptions.create(**{"model": "base", "file": FILE} | changes)
    assert refused.value.code == code and (param is None or refused.value.param == param)
    assert not running.keys and running.store.waiting(at_most=1) == 0, "nothing is left behind"


def test_a_file_that_is_too_large_and_a_full_queue(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 0.01, "max_queued_jobs": 1})
    with OpenAI(base_url=f"{running.client.base_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as large:
            client.audio.transcriptions.create(model="base", file=("a.wav", wav(300_000)))
        assert (large.value.status_code, large.value.code) == (413, "too_large")
        running.submit().raise_for_status()
        with pytest.raises(openai.RateLimitError):
            client.audio.transcriptions.create(model="base", file=FILE)


def test_a_job_that_fails(running: Service, client: OpenAI) -> None:
    def fail(talk: Talk) -> None:
        running.store.fail(talk.claim, JobFailure(code="audio_undecodable", message="It cannot be.", stage="decoding"))

    for stream in (False, True):
        consumer = Consumer(running, fail)
        with pytest.raises(openai.APIError, match="It cannot be"):
            list(client.audio.transcriptions.create(model="base", file=FILE, stream=stream))
        consumer.join()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_cancels_its_job(running: Service, keep: bool, stream: bool) -> None:
    headers = {"X-On-Disconnect": "keep"} if keep else {}
    with pytest.raises(httpx.ReadTimeout):
        running.client.post(
            "/v1/audio/transcriptions",
            files={"file": FILE},
            data={"stream": str(stream).lower()},
            headers=headers,
            timeout=httpx.Timeout(10, read=2.0),
        )
    deadline = time.monotonic() + 10
    while not (jobs := running.store.list()[0]):  # on a busy machine it is stored after its client has gone
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (job,) = jobs
    while not keep and running.store.get(job.id).status is not JobStatus.CANCELLED:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if keep:
        assert take(running.store).job.id == job.id


def test_a_wait_has_an_end(serve: Callable[..., Service]) -> None:
    running = serve(settings={"sync_wait_seconds": 0.2})
    answer = running.client.post("/v1/audio/transcriptions", files={"file": FILE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "sync_timeout")
    (job,), _ = running.store.list()
    assert job.status is JobStatus.CANCELLED


def test_what_stands_in_for_a_name_of_openais_is_said(running: Service) -> None:
    consumer = Consumer(running)
    answer = running.client.post("/v1/audio/transcriptions", files={"file": FILE}, data={"model": "whisper-1"})
    consumer.join()
    assert consumer.talk is not None
    assert (
        answer.headers["X-Parascribe-Job"] == consumer.talk.id and "whisper-1" in answer.headers["X-Parascribe-Warning"]
    )
    assert json.loads(answer.text)["text"] == TEXT
