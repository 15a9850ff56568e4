"""whisper.cpp's `/inference`, as its clients send it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import srt
import webvtt

from api.foreign.whispercpp.answers import answer
from api.foreign.whispercpp.wanted import wanted
from core.jobs.job import JobStatus
from core.transcript.values import Language, Segment, Transcript, Word
from tests.api.consuming import LINES, consuming
from tests.api.serving import Service, wav
from tests.api.waiting import left_alone

FILE = {"file": ("talk.wav", wav())}


def infer(running: Service, **fields: Any) -> httpx.Response:
    return running.client.post("/inference", files=FILE, data=fields)


def test_its_own_command(running: Service, tmp_path: Path) -> None:
    """As the README of its server has it."""
    (tmp_path / "jfk.wav").write_bytes(wav())
    form = ("file=@jfk.wav", "temperature=0.0", "temperature_inc=0.2", "response_format=json")
    with consuming(running) as done:
        said = subprocess.run(
            ["curl", "-s", f"{running.client.base_url}/inference", "-H", "Content-Type: multipart/form-data"]
            + [word for field in form for word in ("-F", field)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(said.stdout) == {"text": "".join(f"{line}\n" for line in LINES)}
    job = running.store.get(done[0].id)
    assert (job.params.language, job.params.task, job.source.filename) == ("en", "transcribe", "jfk.wav")


def test_what_it_can_ask_for_is_done(running: Service) -> None:
    with consuming(running) as done:
        answer = infer(
            running, language="German", translate="1", prompt="Grüße", temperature="0.4", beam_size="5", model="base"
        )
    assert answer.status_code == 200 and "X-Parascribe-Warning" not in answer.headers
    job = running.store.get(answer.headers["X-Parascribe-Job"])
    assert [job.id] == [talk.id for talk in done]
    assert (
        job.params.shown()
        | {
            "language": "de",
            "task": "translate",
            "prompt": "Grüße",
            "temperature": 0.4,
            "beam_size": 5,
            "model": "base",
        }
        == job.params.shown()
    )
    assert job.priority > 0


@pytest.mark.parametrize("shape", ["text", "srt", "vtt"])
def test_texts(running: Service, shape: str) -> None:
    with consuming(running):
        answer = infer(running, response_format=shape)
    assert (
        answer.headers["Content-Type"].split(";")[0]
        == {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}[shape]
    )
    if shape == "text":
        assert answer.text.splitlines() == LINES
    else:
        cues = [c.content for c in srt.parse(answer.text)] if shape == "srt" else webvtt.from_string(answer.text)
        assert len(cues) == len(LINES)


def test_lines_as_long_as_asked(running: Service) -> None:
    with consuming(running):
        plain, short, odd = (infer(running, response_format="srt", max_len=n) for n in ("0", "10", "3"))
    assert all(len(cue.content) <= 10 for cue in srt.parse(short.text))
    assert any(len(cue.content) > 10 for cue in srt.parse(plain.text)) and short.text == odd.text
    assert "X-Parascribe-Warning" not in short.headers and "max_len" in odd.headers["X-Parascribe-Warning"]


def test_verbose_json(running: Service) -> None:
    with consuming(running) as done:
        told, given, bare = (
            infer(running, response_format="verbose_json", **fields).json()
            for fields in (
                {"language": "auto"},
                {"language": "en", "temperature": "0.2"},
                {"detect_language": "true", "no_timestamps": "true", "no_language_probabilities": "true"},
            )
        )
    assert [segment["text"] for segment in told["segments"]] == LINES
    assert told["segments"][1] == {
        "id": 1,
        "text": LINES[1],
        "start": 4.0,
        "end": 7.0,
        "tokens": [],
        "words": [],  # what is played here has none
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "no_speech_prob": 0.1,
    }
    assert (told["task"], told["language"], told["duration"]) == ("transcribe", "english", 30.0)
    assert (told["detected_language"], told["language_probabilities"]) == ("english", {"en": 1.0})
    assert "detected_language" not in given and given["segments"][0]["temperature"] == 0.2
    assert "detected_language" not in bare and "start" not in bare["segments"][0]
    params = [running.store.get(talk.id).params for talk in done]
    assert [one.word_timestamps for one in params] == [True, True, False]
    assert [one.language for one in params] == [None, "en", None]


def test_the_language_is_told_where_it_was_to_be_found(running: Service) -> None:
    with consuming(running):
        assert infer(running, detect_language="true").json()["language"] == "english"


def test_what_is_not_done_is_named(running: Service) -> None:
    ours = {"temperature_inc": "0.4", "entropy_thold": "2.40", "vad": "true", "suppress_nst": "1", "best_of": "2"}
    theirs = {
        "temperature_inc": "0.2",
        "no_speech_thold": "0.6",
        "vad": "false",
        "vad_threshold": "0.5",
        "max_len": "60",
    }
    with consuming(running):
        assert "X-Parascribe-Warning" not in infer(running, **ours).headers
        told = infer(running, **theirs).headers["X-Parascribe-Warning"]
    assert {name for name in (*ours, *theirs) if name in told.replace("vad_threshold", "").split(": ")[1]} | {
        "vad_threshold"
    } == set(theirs)


@pytest.mark.parametrize(
    ("files", "fields", "status", "code"),
    [
        ({}, {"language": "en"}, 400, "validation"),
        ({"file": ("a.wav", b"")}, {}, 400, "empty_upload"),
        ({"file": ("a.txt", b"words " * 1000)}, {}, 400, "not_media"),
        (FILE, {"language": "klingon"}, 400, "validation"),
        (FILE, {"response_format": "tsv"}, 400, "validation"),
        (FILE, {"temperature": "warm"}, 400, "validation"),
        (FILE, {"vad_threshold": "low"}, 400, "validation"),
        (FILE, {"beam_size": "9"}, 400, "validation"),
        (FILE, {"model": "nonsense"}, 400, "unknown_model"),
        (FILE, {"hotwords": "x"}, 400, "validation"),
        (FILE, {"diarize": "true"}, 400, "unsupported"),
        (FILE, {"offset_t": "1000"}, 400, "unsupported"),
        (FILE, {"response_format": "srt", "no_timestamps": "true"}, 400, "validation"),
    ],
)
def test_what_cannot_be_done_is_told_in_its_words(
    unchanged: Service, files: Any, fields: dict[str, str], status: int, code: str
) -> None:
    answer = unchanged.client.post("/inference", files=files or {"other": ("a", b"")}, data=fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["error"], str)
    assert not unchanged.keys and unchanged.store.waiting(at_most=1) == 0, "nothing is left behind"


def test_a_file_that_is_too_large_and_a_full_queue(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 0.01, "max_queued_jobs": 1})
    large = running.client.post("/inference", files={"file": ("a.wav", wav(300_000))})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    running.submit().raise_for_status()
    full = infer(running)
    assert (full.status_code, full.json()["code"]) == (429, "queue_full") and full.headers["Retry-After"]


def test_models_are_not_loaded_by_path(unchanged: Service) -> None:
    answer = unchanged.client.post("/load", files={"model": (None, "/etc/passwd")})
    assert answer.status_code == 400 and "field 'model' of /inference" in answer.json()["error"]
    query = unchanged.client.post("/inference?temperature=0", files=FILE)
    assert (query.status_code, query.json()["code"]) == (400, "validation")


@pytest.mark.parametrize("keep", [False, True])
def test_a_client_that_goes_cancels_its_job(running: Service, keep: bool) -> None:
    job = left_alone(running, "/inference", files=FILE, keep=keep)
    assert job.status is (JobStatus.QUEUED if keep else JobStatus.CANCELLED)


def test_words_have_their_times() -> None:
    word = Word(word="Guten", start=0.5, end=0.9, probability=0.8)
    untimed = Word(word="Tag", start=None, end=None, probability=None)
    segments = (Segment(start=0.5, end=1.5, text="Guten Tag", words=(word, untimed)),)
    transcript = Transcript(segments=segments, language=Language(code="de", confidence=0.9), duration=2.0, model="base")

    def words(**fields: str) -> Any:
        answered = answer(transcript, wanted({"response_format": "verbose_json", **fields}, {}))
        return json.loads(answered.body)["segments"][0]["words"]

    timed = {"word": "Guten", "start": 0.5, "end": 0.9, "t_dtw": -1, "probability": 0.8}
    assert words() == [timed, {"word": "Tag", "probability": None}]
    assert words(token_timestamps="false")[0] == words(no_timestamps="true")[0] == {"word": "Guten", "probability": 0.8}
