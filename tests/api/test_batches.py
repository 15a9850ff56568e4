"""Batches over HTTP: many uploads that belong together, asked for, steered and fetched as one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from core.jobs.job import JobFailure
from core.objects.memory import MemoryObjects
from core.store.sql import SqlStore
from core.transcript.formats import to_result
from core.transcript.values import Language, Segment, Transcript
from tests.api.serving import Service, wav
from tests.api.test_jobs import claim
from tests.api.test_submit import refused

FAILURE = JobFailure(code="audio_undecodable", message="no", stage="decoding")
UPLOADS, FILES = 8, 1000


def made(running: Service, **body: Any) -> dict[str, Any]:
    answer = running.client.post("/api/v1/batches", json=body)
    assert answer.status_code == 201, answer.text
    batch: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == batch["links"]["self"] == f"/api/v1/batches/{batch['id']}"
    return batch


def look(running: Service, batch_id: str, tail: str = "", **query: Any) -> dict[str, Any]:
    answer = running.client.get(f"/api/v1/batches/{batch_id}{tail}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def steer(running: Service, batch_id: str, what: str) -> httpx.Response:
    return running.client.post(f"/api/v1/batches/{batch_id}/{what}")


def said(text: str) -> bytes:
    """A stored result."""
    segment = Segment(start=0.0, end=1.0, text=text)
    transcript = Transcript(
        segments=(segment,), language=Language(code="de", confidence=0.9), duration=4.0, model="base"
    )
    return json.dumps(to_result(transcript)).encode()


def finish(running: Service, text: str | None = "hello") -> str:
    """End the job that waits first: with a transcript, or failed without one."""
    taken = claim(running)
    if text is None:
        running.store.fail(taken, FAILURE)
    else:
        key = f"jobs/{taken.job.id}/result.json"
        running.objects.put(key, io.BytesIO(said(text)))
        running.store.finish(taken, result_key=key, partial=False, gaps=[], warnings=[], performance={})
    return taken.job.id


def test_a_batch_from_its_making_to_its_end(running: Service) -> None:
    batch = made(running, params={"language": "de", "model": "demo"}, metadata={"course": "Ü", "n": [1, {"x": None}]})
    assert (batch["status"], batch["counts"]["total"], batch["refused"]) == ("open", 0, [])
    assert (batch["params"]["language"], batch["metadata"]) == ("de", {"course": "Ü", "n": [1, {"x": None}]})
    first = running.submit(batch=batch["id"]).json()
    second = running.submit(batch=batch["id"], language="fr", model="").json()
    assert (first["batch"], first["params"]["language"], first["params"]["model"]) == (batch["id"], "de", "demo")
    assert second["params"]["language"] == "fr", "what comes with the file goes before"
    assert second["params"]["model"] == "demo", "but not what is empty"
    assert running.submit().json()["batch"] is None
    finish(running)
    counts = look(running, batch["id"])["counts"]
    assert (counts["total"], counts["completed"], counts["queued"]) == (2, 1, 1)
    assert steer(running, batch["id"], "close").json()["status"] == "processing"
    refused(running.submit(batch=batch["id"]), 409, "batch_closed")
    finish(running)
    done = look(running, batch["id"])
    assert (done["status"], done["progress"]["percent"]) == ("completed", 100.0)
    assert done["finished_at"] >= done["closed_at"] >= done["created_at"]
    items = look(running, batch["id"], "/items", limit=1)
    rest = look(running, batch["id"], "/items", after=items["next"])
    assert [job["id"] for job in (*items["items"], *rest["items"])] == [first["id"], second["id"]]
    assert look(running, batch["id"], "/items", status="failed") == {"items": [], "next": None}
    page = running.client.get("/api/v1/batches").json()
    assert [one["id"] for one in page["items"]] == [batch["id"]] and page["next"] is None


def test_a_thousand_files_by_eight_uploads_one_of_them_broken(running: Service) -> None:
    batch_id = made(running, params={"language": "de"})["id"]
    broken, failing = 333, 666

    def send(n: int) -> httpx.Response:
        content = b"%PDF-1.7" + bytes(4200) if n == broken else wav(1000 + n)
        return running.submit(content, name=f"talk {n:04}.wav", key=f"file-{n}", batch=batch_id)

    with ThreadPoolExecutor(UPLOADS) as pool:
        answers = list(pool.map(send, range(FILES)))
        again = list(pool.map(send, range(0, FILES, 100)))  # as after a connection that broke
    assert [n for n, answer in enumerate(answers) if answer.status_code != 202] == [broken]
    refused(answers[broken], 415, "not_media")
    assert [one.json()["id"] for one in again] == [answers[n].json()["id"] for n in range(0, FILES, 100)]
    assert steer(running, batch_id, "close").json()["counts"]["queued"] == FILES - 1 == len(running.keys)

    name = {answer.json()["id"]: answer.json()["source"]["filename"] for answer in answers if answer.is_success}
    bad = answers[failing].json()["id"]
    for _ in range(FILES - 1):
        taken = claim(running)
        key = f"jobs/{taken.job.id}/result.json"
        if taken.job.id == bad:
            running.store.fail(taken, FAILURE)
            continue
        running.objects.put(key, io.BytesIO(said(f"This is {name[taken.job.id]}.")))
        running.store.finish(taken, result_key=key, partial=False, gaps=[], warnings=[], performance={})
    done = look(running, batch_id)
    assert done["status"] == "completed"
    assert (done["counts"]["completed"], done["counts"]["failed"]) == (FILES - 2, 1)

    answer = running.client.get(f"/api/v1/batches/{batch_id}/results.zip", params={"format": "srt"})
    assert answer.headers["Content-Type"] == "application/zip" and "Content-Length" not in answer.headers
    found = zipfile.ZipFile(io.BytesIO(answer.content))
    assert found.testzip() is None
    texts = {f"talk {n:04}.srt": f"This is talk {n:04}.wav." for n in range(FILES) if n not in (broken, failing)}
    assert {*found.namelist()} == {*texts, "errors.json"} and len(found.namelist()) == FILES - 1
    assert all(text in found.read(file).decode() for file, text in texts.items())
    (error,) = json.loads(found.read("errors.json"))
    assert (error["job"], error["code"]) == (bad, "audio_undecodable")


def test_those_that_failed_are_tried_again(running: Service) -> None:
    batch_id = made(running)["id"]
    ids = [running.submit(batch=batch_id).json()["id"] for _ in range(3)]
    failed = [finish(running, None), finish(running, None)]
    hints = len(running.hints)
    again = steer(running, batch_id, "retry")
    assert (again.status_code, again.json()["counts"]["queued"], again.json()["counts"]["total"]) == (202, 3, 3)
    assert len(running.hints) == hints + 2
    refused(steer(running, batch_id, "retry"), 409, "already_terminal")
    items = look(running, batch_id, "/items")["items"]
    assert {job["retry_of"] for job in items} == {None, *failed} and ids[2] in {job["id"] for job in items}
    finish(running, None)
    with running.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET expired_audio = 1")
    refused(steer(running, batch_id, "retry"), 410, "expired")


def test_cancelled_and_deleted_as_one(running: Service) -> None:
    batch_id = made(running)["id"]
    ids = [running.submit(batch=batch_id, key=f"k{n}").json()["id"] for n in range(3)]
    finish(running)
    done = steer(running, batch_id, "cancel")
    assert (done.status_code, done.json()["status"], done.json()["counts"]["cancelled"]) == (202, "completed", 2)
    refused(steer(running, batch_id, "cancel"), 409, "already_terminal")
    assert running.client.delete(f"/api/v1/batches/{batch_id}").status_code == 204
    for path in (f"/batches/{batch_id}", f"/batches/{batch_id}/items", f"/batches/{batch_id}/results.zip"):
        refused(running.client.get(f"/api/v1{path}"), 404, "batch_not_found")
    assert all(running.client.get(f"/api/v1/jobs/{job_id}").status_code == 404 for job_id in ids)
    refused(running.submit(batch=batch_id, key="k0"), 404, "batch_not_found")
    refused(running.client.delete(f"/api/v1/batches/{batch_id}"), 404, "batch_not_found")


def test_a_key_that_is_used_for_another_batch_is_refused(running: Service) -> None:
    first, other = made(running)["id"], made(running)["id"]
    job = running.submit(batch=first, key="k").json()
    steer(running, first, "close")
    replay = running.submit(batch=first, key="k")
    assert (replay.json()["id"], replay.headers["Idempotent-Replayed"]) == (job["id"], "true"), (
        "though it is closed now"
    )
    refused(running.submit(batch=other, key="k"), 422, "idempotency_conflict")
    refused(running.submit(key="k"), 422, "idempotency_conflict")


@pytest.mark.parametrize("batch", ["", "x", "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f"])
def test_a_batch_that_is_none(running: Service, batch: str) -> None:
    for parts in (
        {"batch": (None, batch), "file": ("a.wav", wav())},
        {"file": ("a.wav", wav()), "batch": (None, batch)},
    ):
        refused(running.client.post("/api/v1/jobs", files=parts), 404, "batch_not_found")
    assert not running.keys, "of what came before its name, nothing is left"


# --- new ones


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b'{"callback_url": "ftp://example.org/"}', "callback_url"),
        (b'{"colour": 1}', "colour"),
        (b'{"params": []}', "params"),
        (b'{"params": {"colour": "red"}}', "colour"),
        (b'{"params": {"beam_size": 9}}', "beam_size"),
        (b'{"params": {"prompt": "\\ud800"}}', "body"),
        (b'{"metadata": 1}', "metadata"),
        (b'{"metadata": {"x": NaN}}', "body"),
        (b'{"metadata": {"x": 1e999}}', "body"),
        (b'{"params": {"beam_size": 1' + b"0" * 400 + b"}}", "beam_size"),
        (b'{"metadata": {"x": "\\udfff"}}', "body"),
        *((b'{"metadata": {"x": ' + b"[" * n + b"]" * n + b"}}", "metadata") for n in (40, 500)),
        (b"[" * 60_000, "body"),
        (b'{"metadata": {"x": "' + b"y" * 4096 + b'"}}', "metadata"),
    ],
)
def test_what_no_batch_can_be_made_of(running: Service, body: bytes, field: str) -> None:
    answer = running.client.post("/api/v1/batches", content=body, headers={"Content-Type": "application/json"})
    assert refused(answer, 422, "validation")["errors"][0]["field"] == field
    assert running.client.get("/api/v1/batches").json()["items"] == []


def test_other_bodies(running: Service) -> None:
    post = running.client.post
    assert post("/api/v1/batches").status_code == 201, "nothing to say"
    refused(post("/api/v1/batches", content=b"x" * ((1 << 20) + 1)), 413, "too_large")
    refused(post("/api/v1/batches", content=b"x", headers={"Content-Type": "text/plain"}), 422, "validation")
    refused(post("/api/v1/batches?x=1", json={}), 422, "validation")
    refused(post("/api/v1/batches", json={"params": {"model": "enormous"}}), 422, "unknown_model")
    deep: Any = {"x": 10**300}
    for _ in range(14):
        deep = {"d": deep}
    assert made(running, metadata=deep)["metadata"] == deep


def send(running: Service, *files: tuple[str, bytes], key: str = "", **fields: str) -> httpx.Response:
    parts: list[Any] = [(name, (None, value)) for name, value in fields.items()]
    parts += [("files", (name, content)) for name, content in files]
    return running.client.post("/api/v1/batches", files=parts, headers={"Idempotency-Key": key} if key else {})


def test_a_few_files_at_once(running: Service) -> None:
    files = ("a.wav", wav(200_000)), ("b.pdf", b"%PDF-1.7" + bytes(200_000)), ("c.wav", b""), ("d.wav", wav(100, b"d"))
    answer = send(running, *files, key="k", language="de", metadata='{"n": 1}')
    batch = answer.json()
    assert (answer.status_code, batch["status"], batch["counts"]["queued"]) == (201, "processing", 2)
    assert [(one["filename"], one["code"]) for one in batch["refused"]] == [
        ("b.pdf", "not_media"),
        ("c.wav", "empty_upload"),
    ]
    assert (batch["metadata"], batch["params"]["language"]) == ({"n": 1}, "de")
    items = look(running, batch["id"], "/items")["items"]
    assert [(job["source"]["filename"], job["source"]["bytes"]) for job in items] == [
        ("a.wav", 200_000),
        ("d.wav", 100),
    ]
    assert len(running.keys) == 2 and [*running.hints] == [job["id"] for job in items]
    again = send(running, *files, key="k", language="de", metadata='{"n": 1}')
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (batch["id"], "true")
    assert again.json()["refused"] == batch["refused"] and len(running.keys) == 2
    refused(send(running, *files[:1], key="k", language="de"), 422, "idempotency_conflict")
    assert running.submit(key="k").status_code == 202, "a job's key is another one"


def test_files_of_which_none_is_taken(running: Service) -> None:
    refused(send(running, language="de"), 422, "validation")
    refused(send(running, ("c.wav", b"")), 400, "empty_upload")
    answer = send(running, ("b.pdf", b"%PDF-1.7" + bytes(9000)), ("c.wav", b""))
    assert "b.pdf, c.wav" in refused(answer, 415, "not_media")["detail"]
    refused(send(running, ("a.wav", wav()), beam_size="9"), 422, "validation")
    refused(send(running, ("a.wav", wav()), metadata="{"), 422, "validation")
    parts = [("files", ("a.wav", wav(100_000))), ("beam_size", (None, "9"))]
    refused(running.client.post("/api/v1/batches", files=parts), 422, "validation")
    assert not running.keys and not any(running.store.counts().values())


def test_files_that_are_too_many_leave_nothing(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_queued_jobs": 2, "max_upload_mb": 1.0})
    refused(send(running, *[(f"{n}.wav", wav()) for n in range(3)]), 429, "queue_full")
    refused(send(running, *[(f"{n}.wav", wav(600_000)) for n in range(2)]), 413, "too_large")
    assert not running.keys
    assert send(running, *[(f"{n}.wav", wav()) for n in range(2)]).status_code == 201


# --- all transcripts


@pytest.fixture
def mixed(running: Service) -> str:
    """A batch of a done, a failed and a waiting job."""
    batch_id: str = made(running)["id"]
    for name in ("a.mp3", "b.mp3", "a.wav"):
        running.submit(name=name, batch=batch_id)
    finish(running)
    finish(running, None)
    return batch_id


def test_what_there_is_can_be_fetched_before_the_end(running: Service, mixed: str) -> None:
    url = f"/api/v1/batches/{mixed}/results.zip"
    found = zipfile.ZipFile(io.BytesIO(running.client.get(url).content))
    assert found.namelist() == ["a.json", "errors.json"]
    assert json.loads(found.read("a.json"))["text"] == "hello"
    assert [one["code"] for one in json.loads(found.read("errors.json"))] == ["audio_undecodable", "not_ready"]
    finish(running)
    looked = running.client.get(url, params={"format": "srt", "max_line_width": "20"})
    assert zipfile.ZipFile(io.BytesIO(looked.content)).namelist() == ["a.srt", "a (2).srt", "errors.json"]
    head = running.client.head(url)
    assert (head.status_code, head.content) == (200, b"") and mixed in head.headers["Content-Disposition"]
    assert "Content-Length" not in head.headers
    for query in ({"format": "docx"}, {"max_line_width": "20"}, {"format": "srt", "max_lines": ""}, {"colour": "red"}):
        refused(running.client.get(url, params=query), 422, "validation")


def test_what_is_gone_or_not_in_it_is_named(running: Service, mixed: str) -> None:
    url = f"/api/v1/batches/{mixed}/results.zip"
    listed = json.loads(
        zipfile.ZipFile(io.BytesIO(running.client.get(url, params={"format": "rttm"}).content)).read("errors.json")
    )
    assert [one["code"] for one in listed] == ["not_in_result", "audio_undecodable", "not_ready"]
    with running.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE job SET expired_result = 1 WHERE status = 'completed'")
    listed = json.loads(zipfile.ZipFile(io.BytesIO(running.client.get(url).content)).read("errors.json"))
    assert [one["code"] for one in listed] == ["expired", "audio_undecodable", "not_ready"]


def test_nothing_to_fetch_yet(running: Service) -> None:
    batch_id = made(running)["id"]
    running.submit(batch=batch_id)
    refused(running.client.get(f"/api/v1/batches/{batch_id}/results.zip"), 409, "not_ready")
    steer(running, batch_id, "cancel")
    found = zipfile.ZipFile(io.BytesIO(running.client.get(f"/api/v1/batches/{batch_id}/results.zip").content))
    assert found.namelist() == ["errors.json"]


class Away(MemoryObjects):
    """Cannot be reached once it has given out so many results."""

    left = 1

    def open(self, key: str, *, offset: int = 0) -> Any:
        from core.errors import StorageUnavailable

        self.left -= 1
        if self.left < 0:
            raise StorageUnavailable
        return super().open(key, offset=offset)


def test_an_outage_in_the_middle_is_seen_by_the_client(serve: Callable[..., Service]) -> None:
    running = serve(objects=Away())
    batch_id = made(running)["id"]
    for _ in range(2):
        running.submit(batch=batch_id)
        finish(running)
    with pytest.raises(httpx.RemoteProtocolError):
        running.client.get(f"/api/v1/batches/{batch_id}/results.zip")


def test_the_description_has_both_ways_to_make_one(running: Service) -> None:
    post = running.client.get("/openapi.json").json()["paths"]["/api/v1/batches"]["post"]
    asked = post["requestBody"]["content"]
    assert asked["application/json"]["schema"]["properties"]["params"]["properties"].keys() >= {"language", "model"}
    items = asked["application/json"]["schema"]["properties"]["items"]["items"]
    assert items["properties"].keys() >= {"url", "object", "language"} and "batch" not in items["properties"]
    form = asked["multipart/form-data"]["schema"]
    assert form["required"] == ["files"] and form["properties"]["metadata"]["type"] == "string"


def test_whose_key_has_limits(tmp_path: Any) -> None:
    from core.keys import KeyLimits
    from tests.api.keyed import add, keyed

    store = SqlStore.in_memory()
    token, _ = add(store, limits=KeyLimits(jobs_waiting=2))
    with keyed(tmp_path, store) as running:
        running.client.headers["Authorization"] = f"Bearer {token}"
        refused(send(running, *[(f"{n}.wav", wav()) for n in range(3)]), 429, "quota_exceeded")
        batch_id = made(running)["id"]
        for _ in range(3):
            assert running.submit(batch=batch_id).status_code == 202
            finish(running, None)
        assert steer(running, batch_id, "retry").json()["counts"]["queued"] == 2, "as many as there is room for"
        refused(steer(running, batch_id, "retry"), 429, "quota_exceeded")
        finish(running)
        assert steer(running, batch_id, "retry").json()["counts"]["queued"] == 2
