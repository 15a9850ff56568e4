"""whisper-asr-webservice's routes, asked as Bazarr and Subgen ask."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import srt
import webvtt

from core.audio.wav import OPEN_HEADER
from core.errors import JobNotFound
from core.jobs.job import Claim, JobFailure, JobStatus
from core.objects.store import source_key
from tests.api.consuming import LINES, TEXT, Consumer, consuming
from tests.api.serving import Service, wav
from tests.api.talks import Talk
from tests.api.waiting import left_alone
from tests.core.store_kit import take

FILE = {"audio_file": ("talk.wav", wav())}
PCM = {"audio_file": ("audio_file", bytes(range(256)) * 10)}
"""Raw samples, under the name that the library `requests` gives them."""


def asr(running: Service, files: Any = FILE, **query: str) -> httpx.Response:
    return running.client.post("/asr", params=query, files=files)


def test_what_bazarr_sends(running: Service) -> None:
    with consuming(running):
        answer = asr(
            running,
            PCM,
            task="transcribe",
            language="en",
            output="srt",
            encode="false",
            video_file="/films/Käse (2020)/Käse.mkv",
        )
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [cue.content for cue in srt.parse(answer.content.decode())] == LINES
    assert "filename*=UTF-8''K%C3%A4se.mkv.srt" in answer.headers["Content-Disposition"]
    job = running.store.get(answer.headers["X-Parascribe-Job"])
    assert (job.source.filename, job.source.media_type, job.params.language) == ("Käse.mkv", "audio/wav", "en")
    assert job.source.bytes == len(OPEN_HEADER) + 2560
    with running.objects.open(source_key(job.id)) as stored:
        assert stored.read() == OPEN_HEADER + PCM["audio_file"][1]


def test_every_output(running: Service) -> None:
    with consuming(running):
        texts = {output: asr(running, output=output).text for output in ("txt", "vtt", "srt", "tsv", "json")}
        assert asr(running).text == texts["txt"]
    assert texts["txt"].splitlines() == LINES
    assert [cue.text for cue in webvtt.from_string(texts["vtt"])] == LINES
    assert texts["tsv"].splitlines()[1] == f"0\t3000\t{LINES[0]}"
    body = json.loads(texts["json"])
    assert (body["language"], body["text"], body["segments"][1]["id"]) == ("en", TEXT, 2)
    assert set(body["segments"][0]) == {
        *("id", "seek", "start", "end", "text", "tokens", "words", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }


def test_what_it_can_ask_for_is_done(running: Service) -> None:
    with consuming(running):
        answer = asr(
            running, task="translate", language="de", initial_prompt="Grüße", word_timestamps="true", output="json"
        )
        named = asr(running, vad_filter="false").headers["X-Parascribe-Warning"]
        plain = asr(running, vad_filter="true", diarize="false")
        told = asr(running, diarize="true", min_speakers="2", max_speakers="4", output="json")
    assert answer.json()["segments"][0]["words"] == [] and "vad_filter" in named
    assert "X-Parascribe-Warning" not in plain.headers
    params = running.store.get(told.headers["X-Parascribe-Job"]).params
    assert (params.diarize, params.min_speakers, params.max_speakers) == (True, 2, 4)
    params = running.store.get(answer.headers["X-Parascribe-Job"]).params
    assert (params.task, params.language, params.prompt, params.word_timestamps) == ("translate", "de", "Grüße", True)


def test_the_language_is_told_before_the_film_is_transcribed(running: Service) -> None:
    heard = threading.Event()

    def work(talk: Talk) -> None:  # the language is known, and no chunk is done
        assert heard.wait(20)

    consumer = Consumer(running, work)
    answer = running.client.post("/detect-language", params={"encode": "false"}, files=PCM)
    heard.set()
    consumer.join()
    assert answer.json() == {"detected_language": "english", "language_code": "en", "confidence": 0.0}
    assert consumer.talk is not None
    with pytest.raises(JobNotFound):
        running.store.get(consumer.talk.id)


def ending(running: Service, end: Callable[[Claim], None]) -> threading.Thread:
    """Takes the next job that waits, and ends it without a language."""

    def work() -> None:
        deadline = time.monotonic() + 20
        while not running.store.waiting(at_most=1):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        end(take(running.store))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_nobody_speaks(running: Service) -> None:
    thread = ending(
        running,
        lambda claim: running.store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={}),
    )
    answer = running.client.post("/detect-language", params={"detect_lang_length": "30"}, files=FILE)
    thread.join()
    assert answer.json() == {"detected_language": "unknown", "language_code": "und", "confidence": 0.0}
    assert "detect_lang_length" in answer.headers["X-Parascribe-Warning"]


@pytest.mark.parametrize("path", ["/asr", "/detect-language"])
def test_a_job_that_fails(running: Service, path: str) -> None:
    failure = JobFailure(code="audio_undecodable", message="It cannot be.", stage="decoding")
    thread = ending(running, lambda claim: running.store.fail(claim, failure))
    answer = running.client.post(path, files=FILE)
    thread.join()
    assert (answer.status_code, answer.json()) == (422, {"detail": "It cannot be.", "code": "audio_undecodable"})


@pytest.mark.parametrize(
    ("path", "query", "files", "status", "code", "place"),
    [
        ("/asr", {"language": "klingon"}, FILE, 422, "validation", ["query", "language"]),
        ("/asr", {"output": "docx"}, FILE, 422, "validation", ["query", "output"]),
        ("/asr", {"initial_prompt": "\a"}, FILE, 422, "validation", ["query", "initial_prompt"]),
        ("/asr", {"encode": "perhaps"}, FILE, 422, "validation", ["query", "encode"]),
        ("/asr", {"hotwords": "x"}, FILE, 422, "validation", ["query", "hotwords"]),
        ("/asr", {"language": ["de", "en"]}, FILE, 422, "validation", ["query", "language"]),
        ("/asr", {}, {"file": ("a.wav", wav())}, 422, "validation", ["query", "file"]),
        ("/asr", {}, None, 422, "validation", ["body", "Content-Type"]),
        ("/asr", {"min_speakers": "2"}, FILE, 422, "validation", ["query", "min_speakers"]),
        ("/asr", {}, {"audio_file": ("a.wav", b"")}, 400, "empty_upload", None),
        ("/asr", {"encode": "false"}, {"audio_file": ("a", b"")}, 400, "empty_upload", None),
        ("/asr", {}, {"audio_file": ("a.txt", b"words " * 1000)}, 415, "not_media", None),
        ("/detect-language", {"language": "de"}, FILE, 422, "validation", ["query", "language"]),
        ("/detect-language", {}, {"audio_file": ("a.wav", b"")}, 400, "empty_upload", None),
    ],
)
def test_what_cannot_be_done_is_told_in_its_words(
    unchanged: Service, path: str, query: Any, files: Any, status: int, code: str, place: list[str] | None
) -> None:
    answer = unchanged.client.post(path, params=query, files=files)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    detail = answer.json()["detail"]
    assert isinstance(detail, str) if place is None else [one["loc"] for one in detail] == [place]
    assert not unchanged.keys and unchanged.store.waiting(at_most=1) == 0, "nothing is left behind"


def test_a_file_that_is_too_large_and_a_wait_that_has_an_end(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 0.01, "sync_wait_seconds": 0.2})
    large = asr(running, {"audio_file": ("a.wav", wav(300_000))})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    for path in ("/asr", "/detect-language"):
        answer = running.client.post(path, files=FILE)
        assert (answer.status_code, answer.json()["code"]) == (504, "sync_timeout")
    (job,), _ = running.store.list()
    assert job.status is JobStatus.CANCELLED, "and of the other file nothing is left"


def test_a_client_that_goes_cancels_its_job(running: Service) -> None:
    assert left_alone(running, "/asr", files=FILE).status is JobStatus.CANCELLED
