"""Solo mode end to end: real processes, real engine with the demo model, real ffmpeg, real files."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from benchmarks.score import score
from core.audio.samples import SAMPLE_RATE
from parascribe import Client
from testbed import audio_bank
from testbed.service import PLAIN, audio, running

TRANSLATION = Path(__file__).resolve().parents[1] / "data" / "translation"
SAMPLES = Path(__file__).resolve().parents[2] / "whisper" / "data" / "samples"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    given = {"MAX_PARALLEL_WORKERS": "2", "TRANSLATION_MODELS_DIR": str(TRANSLATION), "LOG_LEVEL": "DEBUG"}
    with running(tmp_path_factory.mktemp("solo"), **given) as service:
        yield service


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """One worker for one job at a time, whose usual model cannot be had, and whose usual work can wait."""
    given = {
        "USE_PARALLEL_TRANSCRIPTION": "false",
        "MAX_PARALLEL_WORKERS": "1",
        "MAX_CONCURRENT_JOBS": "1",
        "WHISPER_THREADS": "1",
        "JOB_DEFAULTS": '{"priority": "bulk"}',
        "WHISPER_MODEL": "tiny",
        "MODEL_BASE_URL": "http://127.0.0.1:9/none",
        "MODEL_SOURCES": "mirror,hub,packages",
    }
    with running(tmp_path_factory.mktemp("narrow"), **given) as service:
        yield service


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Not a short job, by its length as by its bytes, nor done before one has looked at something else."""
    return audio(tmp_path_factory.mktemp("long"), minutes=11, seed=14, name="long.wav")[0]


def test_the_log_tells_the_story_once(service, tmp_path):
    """The first two jobs of a service at DEBUG, one of them of 10 chunks: one transcriber and one model check for all."""
    path, _ = audio(tmp_path, minutes=0.9, seed=17)
    jobs = [service.submit(path, chunk_duration=5)["id"], service.submit(path)["id"]]
    for job in jobs:
        assert service.wait(job)["status"] == "completed"
    assert service.job(jobs[0])["progress"]["chunks_total"] >= 10
    log, text = service.log, service.result(jobs[0]).json()["text"]
    lines = log.splitlines()
    assert sum("INFO" in line and "Initializing shared WhisperTranscriber" in line for line in lines) == 1
    assert sum("INFO" in line and "Ensuring model exists" in line for line in lines) == 1
    validated = [line for line in lines if "already validated in cache" in line]
    assert len(validated) >= 2 and all("DEBUG" in line for line in validated)
    assert re.search(rf"{jobs[0]} Transcribing \(parallel, \d+ workers\)", log)
    assert "Success rate: 100%" in log and re.search(r"Progress: 10/\d+ \(\d+%\)", log)
    assert not any(sentence in log for sentence in re.findall(r"[A-Z][^.]{20,}\.", text)), "transcript text in the log"


@pytest.fixture(scope="module")
def followed(service, tmp_path_factory):
    """A job, the truth about what it is of, and the events of somebody who follows it while the API dies."""
    path, truth = audio(tmp_path_factory.mktemp("talk"), minutes=2, seed=11)
    job = service.submit(path, model="demo", word_timestamps=True)
    assert job["status"] == "queued"
    events = []
    with Client(service.url) as client:
        for event in client.follow(job["id"]):
            events.append(event)
            if [e["event"] for e in events].count("segments") == 1 and event["event"] == "segments":
                service.processes("api_main")[0].kill()
    return job, truth, events


def test_a_job_is_followed_through_the_death_of_the_api(service, followed):
    job, _, events = followed
    assert (events[0]["event"], events[-1]["event"]) == ("job", "end")
    told = [segment for event in events if event["event"] == "segments" for segment in event["data"]["segments"]]
    assert told == service.result(job["id"]).json()["segments"] != [], "each once, and as they are in the result"


def test_a_talk_becomes_a_transcript_in_every_format(service, followed):
    job, truth, _ = followed
    done = service.wait(job["id"])
    assert (done["status"], done["partial"], done["gaps"], done["error"]) == ("completed", False, [], None)
    assert done["language"]["code"] == "en"
    assert (
        done["progress"]["percent"] == 100.0
        and done["progress"]["chunks_done"] == done["progress"]["chunks_total"] >= 4
    )
    assert done["audio"]["duration"] == pytest.approx(120.0, abs=0.1)
    assert done["performance"]["parallel"] is True and done["performance"]["engine_seconds"] > 0
    body = service.result(job["id"]).json()
    # one serial pass of the same library scores 0.000 on the whole bank (half a point is allowed)
    found = score(truth, body["segments"])
    assert found.wer <= 0.012, found
    assert found.start_error_median < 0.1
    starts = [s["start"] for s in body["segments"]]
    assert starts == sorted(starts) and all(s["start"] <= s["end"] <= 120.05 for s in body["segments"])
    assert all(w["probability"] is not None for s in body["segments"] for w in s["words"])
    assert body["text"] == " ".join(s["text"] for s in body["segments"])
    texts = {}
    for name in ("txt", "srt", "vtt", "tsv", "csv", "lrc", "verbose_json"):
        answer = service.result(job["id"], name)
        assert answer.status_code == 200, answer.text
        assert "talk." in answer.headers["content-disposition"]
        texts[name] = answer.text
    assert texts["srt"].startswith("1\n00:00:0") and texts["vtt"].startswith("WEBVTT")
    assert len(list(csv.DictReader(io.StringIO(texts["csv"])))) == len(body["segments"])
    assert json.loads(texts["verbose_json"])["language"] == "english"


def test_speakers_change_no_letter_and_no_time(service, tmp_path):
    said = audio_bank.voices("flite-rms", "espeak-en-us+Annie")
    pause = np.zeros(SAMPLE_RATE // 2, np.int16)
    turns = [part for _ in range(4) for sentences in said.values() for part in (sentences[0][0], pause)]
    audio_bank.write(tmp_path / "two.wav", np.concatenate(turns))
    jobs = [service.submit(tmp_path / "two.wav", diarize=on) for on in (True, False)]
    assert [service.wait(job["id"])["warnings"] for job in jobs] == [[], []]
    found, plain = (service.result(job["id"]).json() for job in jobs)
    assert found["text"] == plain["text"] != ""
    assert list(unsplit(found["segments"], plain["segments"])) == [
        (s["start"], s["end"], s["text"]) for s in plain["segments"]
    ]
    assert [s["speaker"] for s in found["segments"]] == ["SPEAKER_00", "SPEAKER_01"] * 4


def unsplit(parts, segments):
    """(start, end, text) of the segments before they were split where another speaks."""
    left = iter(parts)
    for segment in segments:
        some = [next(left)]
        while len(" ".join(part["text"] for part in some)) < len(segment["text"]):
            some.append(next(left))
        yield some[0]["start"], some[-1]["end"], " ".join(part["text"] for part in some)


def test_german_is_detected_and_translated(service, tmp_path):
    path, truth = audio(tmp_path, minutes=0.5, seed=13, lang="de")
    english = {"utterances": [u | {"text": u["text_en"]} for u in truth["utterances"]]}
    translated, beside = service.submit(path, task="translate"), service.submit(path, translate_to="en")
    assert service.wait(translated["id"])["language"]["code"] == "de"
    assert score(english, service.result(translated["id"]).json()["segments"]).wer <= 0.1
    done = service.wait(beside["id"])
    assert (done["language"]["code"], done["warnings"]) == ("de", [])
    body = service.result(beside["id"]).json()
    assert body["translation"] == {"language": "en", "provider": "ctranslate2"}
    assert score(truth, body["segments"]).wer <= 0.03, "the text stays German"
    assert score(english, [s | {"text": s["translation"]} for s in body["segments"]]).wer <= 0.03
    only, both = (
        httpx.get(
            f"{service.url}/api/v1/jobs/{beside['id']}/result",
            params={"format": "srt", "translation": how},
            timeout=30,
            verify=PLAIN,
        ).text
        for how in ("only", "both")
    )
    first = body["segments"][0]
    assert first["translation"].split()[0] in only and first["text"].split()[-1] not in only
    assert first["translation"].split()[-1] in both and first["text"].split()[-1] in both


def test_a_language_that_nobody_translates_to_is_refused(service, tmp_path):
    path, _ = audio(tmp_path, minutes=0.1, seed=13, lang="de")
    with path.open("rb") as data:
        answer = httpx.post(
            f"{service.url}/api/v1/jobs", files={"file": data}, data={"translate_to": "fr"}, timeout=30, verify=PLAIN
        )
    assert (answer.status_code, answer.json()["code"]) == (422, "not_available")
    assert "ctranslate2 cannot" in answer.json()["detail"]


def test_bundled_samples(service):
    paths = sorted(p for p in SAMPLES.iterdir() if p.suffix in (".flac", ".wav", ".mp3", ".mp4"))
    for job in [service.submit(path) for path in paths]:
        done = service.wait(job["id"])
        assert done["status"] == "completed", done
        assert service.result(job["id"], "txt").text.strip()


def test_silence_completes_with_a_warning(service, tmp_path):
    audio_bank.write(tmp_path / "quiet.wav", np.zeros(16_000 * 8, np.int16))
    done = service.wait(service.submit(tmp_path / "quiet.wav")["id"])
    assert done["status"] == "completed" and done["partial"] is False
    assert [w["code"] for w in done["warnings"]] == ["no_speech"]
    assert service.result(done["id"]).json()["text"] == ""


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("cut.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + b"\0" * 5000, "audio_undecodable"),
        ("cut.flac", b"fLaC\0\0\0\x22" + b"\x10" * 4000, "audio_undecodable"),
    ],
)
def test_undecodable_files_fail_with_a_code(service, tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content)
    done = service.wait(service.submit(tmp_path / name)["id"])
    assert done["status"] == "failed" and done["error"]["code"] == code
    assert str(service.folder) not in json.dumps(done)
    answer = service.result(done["id"])
    assert answer.status_code == 409 and answer.json()["code"] == "not_ready"


def test_refusals_have_codes(service, tmp_path):
    path, _ = audio(tmp_path, minutes=0.1, seed=1)

    def post(content=None, **data):
        file = (path.name, path.read_bytes() if content is None else content)
        return httpx.post(f"{service.url}/api/v1/jobs", files={"file": file}, data=data, timeout=30, verify=PLAIN)

    for answer, status, code in (
        (post(b""), 400, "empty_upload"),
        (post(b"<html>hello</html>" * 20), 415, "not_media"),
        (post(model="bsae"), 422, "unknown_model"),
        (post(model="base.en", task="translate"), 422, "task_not_supported"),
        (post(language="klingon"), 422, "validation"),
        (post(colour="red"), 422, "validation"),
        (
            httpx.get(f"{service.url}/api/v1/jobs/{'0' * 8}-0000-7000-8000-{'0' * 12}", timeout=30, verify=PLAIN),
            404,
            "job_not_found",
        ),
        (httpx.get(f"{service.url}/nothing", timeout=30, verify=PLAIN), 404, "not_found"),
        (httpx.put(f"{service.url}/api/v1/jobs", timeout=30, verify=PLAIN), 405, "method_not_allowed"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_missing_model_fails_the_job_and_not_the_service(narrow, tmp_path):
    path, _ = audio(tmp_path, minutes=0.1, seed=1)
    done = narrow.wait(narrow.submit(path)["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "model_unavailable")
    assert "MODEL_BASE_URL" in done["error"]["message"]
    assert httpx.get(f"{narrow.url}/readyz", timeout=30, verify=PLAIN).json()["checks"]["model"] == "missing"
    demo = narrow.wait(narrow.submit(path, model="demo")["id"])
    assert demo["status"] == "completed"


def test_parallel_and_sequential_agree_to_the_letter(service, narrow, tmp_path):
    path, _ = audio(tmp_path, minutes=0.9, seed=12, silence=0.2)
    parallel, sequential = service.submit(path), narrow.submit(path, model="demo")
    assert service.wait(parallel["id"])["performance"]["parallel"] is True
    assert narrow.wait(sequential["id"])["performance"]["parallel"] is False
    a, b = service.result(parallel["id"]).json(), narrow.result(sequential["id"]).json()
    assert a["segments"] == b["segments"] and a["text"] == b["text"] != ""


def test_an_interactive_clip_passes_bulk_work_that_fills_all_slots(narrow, long, tmp_path):
    clip_path, _ = audio(tmp_path, minutes=0.08, seed=52, name="clip.flac")
    bulk = [narrow.submit(long, model="demo", chunk_duration=10) for _ in range(3)]
    assert bulk[0]["params"]["priority"] == "bulk"
    narrow.wait(bulk[0]["id"], lambda job: job["progress"]["chunks_done"] >= 2)
    for _ in range(2):  # the second when the slot has been used once
        clip = narrow.wait(narrow.submit(clip_path, model="demo", priority="interactive")["id"])
        assert (clip["status"], clip["attempts"], clip["params"]["priority"]) == ("completed", 1, "interactive")
    assert [narrow.job(job["id"])["status"] for job in bulk] == ["processing", "queued", "queued"]
    for job in reversed(bulk):
        httpx.post(f"{narrow.url}/api/v1/jobs/{job['id']}/cancel", timeout=30, verify=PLAIN)
        narrow.wait(job["id"])


def test_cancel_frees_the_workers_soon(service, long):
    job = service.submit(long, chunk_duration=10)
    service.wait(job["id"], lambda j: j["progress"]["chunks_done"] >= 2)
    assert service.processes(f"whisper worker {job['id']}")
    began = time.monotonic()
    answer = httpx.post(f"{service.url}/api/v1/jobs/{job['id']}/cancel", timeout=30, verify=PLAIN)
    assert answer.status_code == 202 and answer.json()["status"] in ("cancelling", "cancelled")
    while service.processes(f"whisper worker {job['id']}"):
        assert time.monotonic() - began < 5.0, "a worker still works for the cancelled job"
        time.sleep(0.02)
    done = service.wait(job["id"])
    assert done["status"] == "cancelled" and done["error"] is None
    assert (
        httpx.post(f"{service.url}/api/v1/jobs/{job['id']}/cancel", timeout=30, verify=PLAIN).json()["code"]
        == "already_terminal"
    )
    again = httpx.post(f"{service.url}/api/v1/jobs/{job['id']}/retry", timeout=30, verify=PLAIN)
    assert again.status_code == 202 and again.json()["retry_of"] == job["id"]
    taken = service.wait(again.json()["id"], lambda j: j["progress"]["chunks_done"] >= 2)
    assert taken["progress"]["chunks_done"] >= done["progress"]["chunks_done"], "finished chunks were not taken over"
    assert httpx.delete(f"{service.url}/api/v1/jobs/{again.json()['id']}", timeout=30, verify=PLAIN).status_code == 204
    assert httpx.get(f"{service.url}/api/v1/jobs/{again.json()['id']}", timeout=30, verify=PLAIN).status_code == 404
    assert httpx.delete(f"{service.url}/api/v1/jobs/{job['id']}", timeout=30, verify=PLAIN).status_code == 204
    deadline = time.monotonic() + 15
    kept = service.folder / "data" / "objects" / "jobs"
    while any((kept / i).exists() for i in (job["id"], again.json()["id"])):
        assert time.monotonic() < deadline, "objects of deleted jobs are still there"
        time.sleep(0.1)


def test_a_short_job_does_not_wait_for_long_ones(service, long, tmp_path):
    short_path, _ = audio(tmp_path, minutes=0.2, seed=16, name="short.flac")
    longs = [service.submit(long, chunk_duration=10) for _ in range(2)]
    service.wait(longs[0]["id"], lambda j: j["progress"]["chunks_done"] >= 1)
    short = service.wait(service.submit(short_path)["id"])
    assert short["status"] == "completed"
    assert all(service.job(job["id"])["status"] in ("queued", "processing") for job in longs)
    for job in longs:
        httpx.post(f"{service.url}/api/v1/jobs/{job['id']}/cancel", timeout=30, verify=PLAIN)
        service.wait(job["id"])


def test_an_hour_with_flat_memory(service, tmp_path):
    """Job processes and API stay small while an hour of audio goes through (115 MB as PCM), most of which says nothing."""
    path, truth = audio(tmp_path, minutes=60, seed=18, name="hour.flac", gap=(40.0, 160.0))
    job = service.submit(path)
    peak, looks = 0, 0
    while (state := service.job(job["id"]))["status"] not in ("completed", "failed"):
        assert looks < 300, state
        if looks % 8 == 0:  # to find them costs more than to look at them
            processes = service.processes("parascribe.run.consumer_main")
        looks += 1
        for process in processes:
            try:
                peak = max(peak, process.memory_full_info().uss)
            except psutil.Error:
                continue
        time.sleep(0.7)
    assert peak > 10**7, "nobody was looked at"
    assert state["status"] == "completed", state
    assert peak < 110 * 10**6, f"a job process grew to {peak / 1e6:.0f} MB"
    body = service.result(job["id"]).json()
    assert score(truth, body["segments"]).wer <= 0.015
    assert body["gaps"] == [] and body["provenance"]["coverage"]["audio_seconds"] == pytest.approx(3600, abs=1)


def test_a_whisper_cli_program_instead_of_the_resident_engine(tmp_path):
    """WHISPER_EXECUTABLE: the operator's own build; here another whisper.cpp, five versions older."""
    program = Path(sys.executable).with_name("whisper-cpp")
    path, truth = audio(tmp_path, minutes=0.2, seed=19)
    with running(tmp_path, WHISPER_EXECUTABLE=str(program), MAX_CONCURRENT_JOBS="1") as service:
        for _ in range(2):  # the second by the same job process, which has closed the engine since
            job = service.wait(service.submit(path, language="en")["id"])
            assert job["status"] == "completed", job
            assert score(truth, service.result(job["id"]).json()["segments"]).wer <= 0.05
