"""`/api/v1/parallel/*`, under exactly the names that its clients know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from core.errors import DatabaseUnavailable
from core.jobs.job import JobFailure, JobStatus
from core.store.sql import SqlStore
from testbed.faults.waiting import wait_for
from tests.api.consuming import TEXT, consuming
from tests.api.serving import Service, wav
from tests.api.talks import Talk
from tests.api.waiting import ended, left_alone
from tests.core.store_kit import take

PATH = "/api/v1/parallel"
FILE = {"file": ("talk.wav", wav())}
NOBODYS = "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f"


def post(running: Service, path: str, files: Any = FILE, **fields: str) -> httpx.Response:
    return running.client.post(f"{PATH}/{path}", files=files, data=fields)


def get(running: Service, path: str) -> httpx.Response:
    return running.client.get(f"{PATH}/{path}")


def test_a_transcription(running: Service) -> None:
    with consuming(running):
        answer = post(running, "transcribe", language="en", whisper_model="tiny.en")
    body = answer.json()
    assert answer.status_code == 200 and body["success"] and body["result"]["text"] == TEXT
    assert set(body["performance"]) == {
        *("parallel_processing", "processing_time", "speedup_estimate", "estimated_speedup")
    }
    assert body["warnings"] == [] and answer.headers["X-Parascribe-Job"] == body["task_id"]
    job = running.store.get(body["task_id"])
    assert (job.params.model, job.params.language, job.priority > 0) == ("tiny.en", "en", True)


def test_what_is_not_done_is_named(running: Service) -> None:
    with consuming(running):
        answer = post(running, "transcribe", source_separation="True", enhanced_alignment="True")
        plain = post(running, "transcribe", source_separation="False", enhanced_alignment="false")
    assert [warning.partition(":")[0] for warning in answer.json()["warnings"]] == ["source_separation"]
    assert "source_separation" in answer.headers["X-Parascribe-Warning"]
    params = running.store.get(answer.json()["task_id"]).params
    assert params.align and params.enhance == "none", "its clients' files are transcribed all the same"
    assert plain.json()["warnings"] == [] and not running.store.get(plain.json()["task_id"]).params.align


def test_features_are_what_there_is(running: Service) -> None:
    features = get(running, "features").json()["parallel_processing_features"]
    assert features["enhanced_alignment"] and features["speaker_diarization"] and not features["source_separation"]


def test_a_task_is_followed_to_its_end(running: Service) -> None:
    begun = post(running, "transcribe/async", language="en").json()
    task = begun["task_id"]
    assert begun["success"] and begun["status"] == "queued"
    assert begun["endpoints"] == {name: f"{PATH}/{name}/{task}" for name in ("status", "result")}
    status = get(running, f"status/{task}").json()
    assert (status["status"]["status"], status["status"]["progress"], status["status"]["error"]) == (
        "queued",
        0.0,
        None,
    )
    early = get(running, f"result/{task}")
    assert (early.status_code, early.json()["detail"]) == (400, "Task not completed. Status: queued")
    talk = Talk(running.store, made=False)
    talk.end(0)
    status = get(running, f"status/{task}").json()["status"]
    assert (status["status"], status["progress"], status["stage"]) == ("processing", 30.0, "transcribing")
    (active,) = get(running, "stats").json()["active_tasks"]
    assert active["task_id"] == task and active["progress"] == 30.0
    assert active["stage"] == "transcribing" and active["started_at"] == status["started_at"] is not None
    talk.whole(running.objects)
    assert get(running, f"status/{task}").json()["status"]["progress"] == 100.0
    done = get(running, f"result/{task}").json()
    assert (done["status"], done["result"]["text"]) == ("completed", TEXT)
    assert running.store.get(task).priority == 0, "nobody waits at the line"


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_task_that_fails(running: Service, cancelled: bool) -> None:
    task = post(running, "transcribe/async").json()["task_id"]
    if cancelled:
        running.store.request_cancel(task)
    else:
        failure = JobFailure(code="audio_undecodable", message="It cannot be.", stage="decoding")
        running.store.fail(take(running.store), failure)
    status = get(running, f"status/{task}").json()["status"]
    said = "The job was cancelled." if cancelled else "It cannot be."
    assert (status["status"], status["error"]) == ("failed", said)
    result = get(running, f"result/{task}")
    assert (result.status_code, result.json()["detail"]) == (400, "Task not completed. Status: failed")
    stats = get(running, "stats").json()
    assert (stats["total_tasks"], stats["completed_tasks"], stats["failed_tasks"]) == (1, 0, 1)


def test_a_batch(running: Service) -> None:
    """Fields come behind the files, as curl's users write them; one bad file, and an empty one, fail alone."""
    files = [
        ("files", ("one.wav", wav(70_000))),
        ("files", ("two.txt", b"words " * 20_000)),
        ("files", ("three.wav", b"")),
        ("files", ("four.wav", wav(200_000))),
        ("language", (None, "en")),
    ]
    with consuming(running) as done:
        answer = running.client.post(f"{PATH}/batch", files=files)
    body = answer.json()
    assert (body["total_files"], body["successful"], body["failed"]) == (4, 2, 2)
    results = body["results"]
    assert [one["filename"] for one in results] == ["one.wav", "four.wav", "two.txt", "three.wav"]
    assert [one["status"] for one in results] == ["completed", "completed", "failed", "failed"]
    assert "text file" in results[2]["error"] and results[2]["task_id"] is None
    assert results[0]["text"] == TEXT and results[0]["segments"] == 6 and results[1]["error"] is None
    assert body["total_processing_time"] > 0 and body["performance"]["estimated_speedup"]
    assert {talk.id for talk in done} == {results[0]["task_id"], results[1]["task_id"]}
    jobs = [running.store.get(talk.id) for talk in done]
    assert {job.params.language for job in jobs} == {"en"} and {job.source.bytes for job in jobs} == {70_000, 200_000}
    assert len(running.keys) == 4, "two sources and two results"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([], "validation"),
        ([("files", ("a.wav", wav())), ("language", (None, "klingon"))], "validation"),
        ([("files", ("a.wav", wav())), ("whisper_model", (None, "nonsense"))], "unknown_model"),
        ([("files", ("a.wav", wav())), ("suppress_numerals", (None, "true"))], "unsupported"),
        ([("files", ("a.wav", wav())), ("file", ("b.wav", wav()))], "validation"),
        ([("files", ("a.wav", wav())), ("files", (None, "b"))], "validation"),
    ],
)
def test_a_form_that_cannot_be_read(unchanged: Service, files: Any, code: str) -> None:
    answer = unchanged.client.post(f"{PATH}/batch", files=files or {"language": (None, "en")})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not unchanged.keys and unchanged.store.waiting(at_most=1) == 0, "nothing is left behind"


def test_limits_of_files_and_of_the_queue(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 0.1, "max_queued_jobs": 1})
    large = post(running, "transcribe", {"file": ("a.wav", wav(500_000))})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    files = [("files", ("a.wav", wav(70_000))), ("files", ("b.wav", wav(500_000)))]
    together = running.client.post(f"{PATH}/batch", files=files)
    assert (together.status_code, together.json()["code"]) == (413, "too_large")
    assert not running.keys, "nothing is left behind"


@pytest.mark.parametrize(
    ("files", "fields", "status", "code"),
    [
        ({"file": ("a.wav", b"")}, {}, 400, "empty_upload"),
        ({"file": ("a.txt", b"words " * 1000)}, {}, 400, "not_media"),
        (FILE, {"language": "klingon"}, 400, "validation"),
        (FILE, {"whisper_model": "nonsense"}, 400, "unknown_model"),
        (FILE, {"suppress_numerals": "true"}, 400, "unsupported"),
        (FILE, {"hotwords": "x"}, 400, "validation"),
    ],
)
@pytest.mark.parametrize("path", ["transcribe", "transcribe/async"])
def test_what_cannot_be_done(
    unchanged: Service, path: str, files: Any, fields: dict[str, str], status: int, code: str
) -> None:
    answer = post(unchanged, path, files, **fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["detail"], str)
    assert not unchanged.keys and unchanged.store.waiting(at_most=1) == 0, "nothing is left behind"


@pytest.mark.parametrize("task", [NOBODYS, "none", "%00"])
@pytest.mark.parametrize("what", ["status", "result"])
def test_no_such_task(unchanged: Service, what: str, task: str) -> None:
    answer = get(unchanged, f"{what}/{task}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Task not found")


class Away(SqlStore):
    """A database that cannot be reached."""

    def totals(self) -> Any:
        raise DatabaseUnavailable


def test_a_service_whose_parts_are_away(serve: Callable[..., Service]) -> None:
    running = serve(store=Away(SqlStore.in_memory().database))
    running.store.of = lambda *args, **more: running.store  # type: ignore[method-assign,assignment,misc]
    answer = get(running, "stats")
    assert (answer.status_code, answer.json()["detail"]) == (503, "Parallel service not available")
    assert answer.headers["Retry-After"]


def test_a_client_that_goes_cancels_its_jobs(running: Service) -> None:
    assert left_alone(running, f"{PATH}/transcribe", files=FILE).status is JobStatus.CANCELLED
    files = [("files", ("a.wav", wav())), ("files", ("b.wav", wav()))]
    with pytest.raises(httpx.ReadTimeout):
        running.client.post(f"{PATH}/batch", files=files, timeout=httpx.Timeout(10, read=2.0))
    jobs = wait_for(lambda: len(found := running.store.list(limit=3)[0]) == 3 and found[:2])  # and the one of before
    assert [ended(running, job.id).status for job in jobs] == [JobStatus.CANCELLED] * 2
