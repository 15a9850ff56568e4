"""Uploads in parts: tus, by hand and by its own client; over lines that break, and a service that is killed."""

from __future__ import annotations

import base64
import http.client
import io
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from sqlalchemy import select
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed

from api.upload.parts import PART_BYTES
from api.upload.receiver import UploadLimits
from core.jobs.job import JobStatus
from core.objects.local import LocalObjects
from core.objects.memory import MemoryObjects
from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.store.sql import SqlStore
from core.store.tables import upload as upload_table
from core.submission.origins import Origins
from tests.api.keyed import add, keyed
from tests.api.serving import Service, wav
from tests.api.test_submit import refused, until

KIB = 1024
TUS = {"Tus-Resumable": "1.0.0"}
ROOT = Path(__file__).parents[2]


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def begin(client: httpx.Client, length: int, **values: str) -> httpx.Response:
    headers = {"Upload-Length": str(length), "Upload-Metadata": metadata(**{"filename": "talk.wav"} | values)}
    return client.post("/api/v1/uploads", headers=TUS | headers)


def patch(client: httpx.Client, url: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    usual = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return client.patch(url, content=data, headers=TUS | usual | headers)


def offset(client: httpx.Client, url: str) -> int:
    answer = client.head(url)
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return int(answer.headers["Upload-Offset"])


def put_together(service: Service, job_id: str) -> bytes:
    """What the consumer makes of the parts."""
    origin = service.store.get(job_id).source.origin
    assert origin is not None
    origins = Origins(objects=service.objects, upload_parts=service.store.upload_parts)
    with origins.open(origin, cancel=threading.Event()) as data:
        return b"".join(iter(lambda: data.read(70_001), b""))


def test_a_file_in_parts_becomes_a_job(running: Service) -> None:
    content = wav(300 * KIB)
    begun = begin(running.client, len(content), filename="Vortrag ä.wav", language="German", filetype="text/plain")
    assert begun.status_code == 201 and begun.headers["Tus-Resumable"] == "1.0.0"
    url = begun.headers["Location"]
    body = begun.json()
    assert url == f"/api/v1/uploads/{body['id']}"
    assert (body["offset"], body["length"], body["job"]) == (0, len(content), None)
    assert parsedate_to_datetime(begun.headers["Upload-Expires"]).timestamp() > time.time() + 23 * 3600
    assert offset(running.client, url) == 0
    done = 0
    for size in (10, 100 * KIB, 1, 100 * KIB):
        answer = patch(running.client, url, done, content[done : done + size])
        done += size
        assert answer.status_code == 204 and int(answer.headers["Upload-Offset"]) == done, answer.text
        assert "Location" not in answer.headers and offset(running.client, url) == done
    looked = running.client.get(url)
    assert looked.json()["offset"] == done and looked.headers["Upload-Length"] == str(len(content))
    assert looked.headers["Upload-Metadata"] == begun.request.headers["Upload-Metadata"]
    assert running.hints == [] and running.client.get("/api/v1/jobs").json()["items"] == []
    last = patch(running.client, url, done, content[done:])
    job_id = last.headers["X-Parascribe-Job"]
    assert last.headers["Location"] == f"/api/v1/jobs/{job_id}" and int(last.headers["Upload-Offset"]) == len(content)
    job = running.client.get(last.headers["Location"]).json()
    assert job["source"] == {"filename": "Vortrag ä.wav", "bytes": len(content), "media_type": "audio/wav"}
    assert job["params"]["language"] == "de" and job["status"] == "queued" and job["audio"]["sha256"] is None
    until(lambda: running.hints == [job_id])
    assert put_together(running, job_id) == content
    refused(running.client.get(f"/api/v1/jobs/{job_id}/audio"), 409, "not_ready")
    refused(running.client.get(f"/api/v1/jobs/{job_id}/peaks"), 409, "not_ready")
    # the answer may have been lost
    again = patch(running.client, url, len(content), b"")
    assert again.status_code == 204 and again.headers["X-Parascribe-Job"] == job_id
    assert running.client.get(url).json()["job"] == last.headers["Location"]
    assert len(running.client.get("/api/v1/jobs").json()["items"]) == 1


def test_what_is_spoken_here(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 2})
    answer = running.client.options("/api/v1/uploads")
    assert answer.status_code == 204
    assert {n: answer.headers[n] for n in ("Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable")} == {
        "Tus-Version": "1.0.0",
        "Tus-Extension": "creation,expiration,termination",
        "Tus-Max-Size": str(2 << 20),
        "Tus-Resumable": "1.0.0",
    }
    refused(begin(running.client, (2 << 20) + 1), 413, "too_large")
    assert begin(running.client, 2 << 20).status_code == 201


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Tus-Resumable": "0.2.2"}, "upload_protocol"),
        ({"Tus-Resumable": ""}, "upload_protocol"),
        ({"Upload-Length": ""}, "validation"),
        ({"Upload-Length": "0"}, "validation"),
        ({"Upload-Length": "-5"}, "validation"),
        ({"Upload-Length": "many"}, "validation"),
        ({"Upload-Length": "9" * 30}, "validation"),
        ({"Upload-Length": "999999999999"}, "too_large"),
        ({"Upload-Metadata": "filename !!!"}, "validation"),
        ({"Upload-Metadata": "filename " + base64.b64encode(b"\xff\xfe").decode()}, "validation"),
        ({"Upload-Metadata": metadata(language="de") + "," + metadata(language="en")}, "validation"),
        ({"Upload-Metadata": metadata(colour="red")}, "validation"),
        ({"Upload-Metadata": metadata(language="klingon")}, "validation"),
        ({"Upload-Metadata": metadata(prompt="a\0b")}, "validation"),
        ({"Upload-Metadata": metadata(prompt="x" * 20_000)}, "validation"),
        ({"Upload-Metadata": metadata(model="none")}, "unknown_model"),
        ({"Upload-Metadata": metadata(model="base.en", task="translate")}, "task_not_supported"),
    ],
)
def test_what_cannot_be_is_refused_before_a_byte_comes(running: Service, headers: dict[str, str], code: str) -> None:
    answer = running.client.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "1000"} | headers)
    assert answer.json()["code"] == code and answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.status_code in (412, 413, 422)
    if code == "upload_protocol":
        assert answer.status_code == 412 and answer.headers["Tus-Version"] == "1.0.0"


def test_the_first_bytes_come_by_patch(running: Service) -> None:
    answer = running.client.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "4"}, content=b"RIFF")
    refused(answer, 422, "validation")
    refused(running.client.post("/api/v1/uploads?x=1", headers=TUS | {"Upload-Length": "4"}), 422, "validation")


def test_bytes_go_where_they_belong_or_nowhere(running: Service) -> None:
    content = wav(100)
    url = begin(running.client, 100).headers["Location"]
    refused(patch(running.client, url, 1, content), 409, "offset_conflict")
    assert patch(running.client, url, 0, content[:60]).status_code == 204
    for wrong in (0, 59, 61, 100, 1000):
        refused(patch(running.client, url, wrong, content[60:]), 409, "offset_conflict")
    for bad in ("-1", "x", ""):
        refused(patch(running.client, url, 0, b"x", **{"Upload-Offset": bad}), 422, "validation")
    refused(patch(running.client, url, 60, content[60:], **{"Content-Type": "audio/wav"}), 422, "validation")
    refused(patch(running.client, url, 60, content[60:], **{"Tus-Resumable": "2"}), 412, "upload_protocol")
    refused(patch(running.client, url, 60, content[60:] + b"x"), 422, "validation")

    def chunks() -> Iterator[bytes]:
        yield content[60:]
        yield b"more"

    refused(patch(running.client, url, 60, chunks()), 422, "validation")  # type: ignore[arg-type]
    assert offset(running.client, url) == 60 and running.client.get("/api/v1/jobs").json()["items"] == []
    assert patch(running.client, url, 60, b"").headers["Upload-Offset"] == "60"
    last = patch(running.client, url, 60, content[60:])
    refused(patch(running.client, url, 60, content[60:]), 409, "offset_conflict")
    assert put_together(running, last.headers["X-Parascribe-Job"]) == content
    assert len(list(running.objects.keys("uploads/"))) == 2, "what was refused has left nothing"


def test_what_is_no_media_is_gone(running: Service) -> None:
    page = b"<!DOCTYPE html><html>" + b" " * 100 * KIB
    url = begin(running.client, len(page)).headers["Location"]
    assert patch(running.client, url, 0, page[: 10 * KIB]).status_code == 204, "too little to tell"
    refused(patch(running.client, url, 10 * KIB, page[10 * KIB : 80 * KIB]), 415, "not_media")
    refused(running.client.get(url), 404, "upload_not_found")
    assert list(running.objects.keys("uploads/")) == []
    short = begin(running.client, 20).headers["Location"]
    refused(patch(running.client, short, 0, page[:20]), 415, "not_media")


def test_one_that_is_given_up(running: Service) -> None:
    url = begin(running.client, 100).headers["Location"]
    patch(running.client, url, 0, wav(100)[:50])
    refused(running.client.delete(url), 412, "upload_protocol")
    assert running.client.delete(url, headers=TUS).status_code == 204
    assert list(running.objects.keys("uploads/")) == []
    for answer in (
        running.client.delete(url, headers=TUS),
        running.client.get(url),
        patch(running.client, url, 50, b"x"),
    ):
        refused(answer, 404, "upload_not_found")
    refused(running.client.get("/api/v1/uploads/no-id"), 404, "upload_not_found")
    done = begin(running.client, 50).headers["Location"]
    patch(running.client, done, 0, wav(50))
    refused(running.client.delete(done, headers=TUS), 409, "already_terminal")


def held(running: Service) -> bool:
    """Whether a request adds to an upload at this moment. (To ask by a request of one's own would be to hold it.)"""
    with running.store.database.read() as connection:
        return (
            connection.scalar(select(upload_table.c.lease_until).where(upload_table.c.lease_until.is_not(None)))
            is not None
        )


@contextmanager
def half_sent(running: Service, url: str, data: bytes, *, announced: int) -> Iterator[socket.socket]:
    """A PATCH of which only a part has come so far."""
    with socket.create_connection((running.host, running.port), timeout=10) as line:
        line.sendall(
            f"PATCH {url} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Content-Type: application/offset+octet-stream\r\nContent-Length: {announced}\r\n\r\n".encode()
            + data
        )
        yield line


def test_two_requests_at_once(running: Service) -> None:
    content = wav(200 * KIB)
    url = begin(running.client, len(content)).headers["Location"]
    with half_sent(running, url, content[: 10 * KIB], announced=len(content)) as line:
        until(lambda: held(running))
        refused(patch(running.client, url, 0, content), 423, "upload_locked")
        line.sendall(content[10 * KIB :])
        assert line.recv(4096).startswith(b"HTTP/1.1 204")
    job_id = running.client.get(url).json()["job"].rpartition("/")[2]
    assert put_together(running, job_id) == content


def test_a_line_that_breaks_costs_nothing(running: Service) -> None:
    content = wav(200 * KIB)
    url = begin(running.client, len(content)).headers["Location"]
    with half_sent(running, url, content[: 150 * KIB], announced=len(content)):
        until(lambda: held(running))
    until(lambda: offset(running.client, url) > 0)
    came = offset(running.client, url)
    assert came <= 150 * KIB
    until(lambda: patch(running.client, url, came, b"").status_code == 204)
    last = patch(running.client, url, came, content[came:])
    assert put_together(running, last.headers["X-Parascribe-Job"]) == content


def test_a_client_that_dawdles(serve: Callable[..., Service]) -> None:
    running = serve(limits=UploadLimits(rate=1e6, window=0.2))
    url = begin(running.client, 1000).headers["Location"]
    with half_sent(running, url, wav(500), announced=1000) as line:
        assert line.recv(4096).startswith(b"HTTP/1.1 408")
    assert offset(running.client, url) == 500, "what came is kept"


def test_a_long_request_is_stored_in_several_parts(running: Service) -> None:
    content = wav(3 * PART_BYTES)
    url = begin(running.client, len(content)).headers["Location"]
    last = patch(running.client, url, 0, content)
    assert last.status_code == 204, last.text
    assert len(list(running.objects.keys("uploads/"))) == 3
    assert put_together(running, last.headers["X-Parascribe-Job"]) == content


class Full(MemoryObjects):
    """Takes so many bytes and no more."""

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        from core.errors import DiskFull

        if key.startswith("uploads/") and list(self.keys("uploads/")):
            data.read(10)
            raise DiskFull
        return super().put(key, data, media_type=media_type)


def test_a_full_disk_keeps_what_there_is(serve: Callable[..., Service]) -> None:
    running = serve(objects=Full())
    url = begin(running.client, 100 * KIB).headers["Location"]
    assert patch(running.client, url, 0, wav(10 * KIB)).status_code == 204
    refused(patch(running.client, url, 10 * KIB, b"x" * 90 * KIB), 507, "disk_full")
    assert offset(running.client, url) == 10 * KIB
    assert patch(running.client, url, 10 * KIB, b"").status_code == 204, "nobody holds it"


def test_too_little_space_and_too_long_a_queue(serve: Callable[..., Service]) -> None:
    room = {"free": 1 << 30}
    running = serve(free_bytes=lambda: room["free"], settings={"max_queued_jobs": 1, "min_free_disk_mb": 1})
    refused(begin(running.client, 1 << 30), 507, "insufficient_storage")
    url = begin(running.client, 100).headers["Location"]
    room["free"] = 1 << 20
    refused(patch(running.client, url, 0, wav(100)), 507, "insufficient_storage")
    room["free"] = 1 << 30
    running.submit()
    refused(patch(running.client, url, 0, wav(100)), 429, "queue_full")
    refused(begin(running.client, 100), 429, "queue_full")
    assert offset(running.client, url) == 0


def test_whose_it_is(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    tokens = {name: add(store, name)[0] for name in ("anna", "bert")}
    root = add(store, "root", scopes=["admin"])[0]
    models = add(store, "models", scopes=["models"])[0]
    with keyed(tmp_path, store) as running:

        def client(token: str) -> httpx.Client:
            return httpx.Client(base_url=running.client.base_url, headers={"X-API-Key": token}, trust_env=False)

        with (
            client(tokens["anna"]) as anna,
            client(tokens["bert"]) as bert,
            client(root) as admin,
            client(models) as other,
        ):
            url = begin(anna, 100).headers["Location"]
            none = url[:-12] + "0" * 12
            for stranger in (bert, admin):
                for ask in (
                    lambda u, c=stranger: c.get(u),
                    lambda u, c=stranger: c.head(u),
                    lambda u, c=stranger: patch(c, u, 0, wav(100)),
                    lambda u, c=stranger: patch(c, u, 50, wav(100)),
                    lambda u, c=stranger: c.delete(u, headers=TUS),
                ):
                    theirs, nobodys = ask(url), ask(none)
                    assert theirs.status_code == nobodys.status_code == 404
                    assert theirs.text.replace(url, none) == nobodys.text
            refused(begin(other, 100), 403, "forbidden")
            refused(patch(other, url, 0, wav(100)), 403, "forbidden")
            refused(other.options("/api/v1/uploads"), 403, "forbidden")
            refused(begin(running.client, 100), 401, "unauthorized")
            refused(patch(running.client, url, 0, wav(100)), 401, "unauthorized")
            last = patch(anna, url.upper().replace("/API/V1/UPLOADS", "/api/v1/uploads"), 0, wav(100))
            assert store.get(last.headers["X-Parascribe-Job"]).owner == "anna"
            refused(bert.get(last.headers["Location"]), 404, "job_not_found")


def test_what_a_key_may_send(tmp_path: Path) -> None:
    from core.keys import KeyLimits

    store = SqlStore.in_memory()
    token, _ = add(store, "anna", limits=KeyLimits(upload_mb=1, jobs_waiting=1))
    with keyed(tmp_path, store) as running:
        running.client.headers["X-API-Key"] = token
        assert running.client.options("/api/v1/uploads").headers["Tus-Max-Size"] == str(1 << 20)
        refused(begin(running.client, (1 << 20) + 1), 413, "too_large")
        url, other = (begin(running.client, 100).headers["Location"] for _ in range(2))
        assert patch(running.client, url, 0, wav(100)).status_code == 204
        refused(patch(running.client, other, 0, wav(100)), 429, "quota_exceeded")
        refused(begin(running.client, 100), 429, "quota_exceeded")


def test_what_it_becomes_belongs_to_a_batch(running: Service) -> None:
    batch = running.client.post("/api/v1/batches", json={"params": {"language": "de", "model": "demo"}}).json()
    url, late, gone = (
        begin(running.client, 100, batch=named, language=language).headers["Location"]
        for named, language in ((batch["id"].upper(), "fr"), (batch["id"], "en"), (batch["id"], "en"))
    )
    assert patch(running.client, url, 0, wav(100)[:50]).status_code == 204
    job = running.client.get(patch(running.client, url, 50, wav(100)[50:]).headers["Location"]).json()
    assert (job["batch"], job["params"]["language"], job["params"]["model"]) == (batch["id"], "fr", "demo")
    assert patch(running.client, late, 0, wav(100)[:50]).status_code == 204
    with half_sent(running, gone, wav(50), announced=100) as line:
        until(lambda: held(running))
        assert running.client.post(batch["links"]["close"]).json()["counts"]["total"] == 1
        line.sendall(wav(100)[50:])
        assert line.recv(4096).startswith(b"HTTP/1.1 409"), "it was open when this request began"
    refused(patch(running.client, gone, 0, wav(100)), 409, "batch_closed")
    refused(patch(running.client, late, 50, wav(100)[50:]), 409, "batch_closed")
    assert (offset(running.client, gone), offset(running.client, late)) == (0, 50), "what is counted is there"
    refused(begin(running.client, 100, batch=batch["id"]), 409, "batch_closed")
    running.client.delete(batch["links"]["self"])
    refused(patch(running.client, late, 50, wav(100)[50:]), 404, "batch_not_found")
    for none in (batch["id"], "x"):
        refused(begin(running.client, 100, batch=none), 404, "batch_not_found")
    for given_up in (gone, late):
        assert running.client.delete(given_up, headers=TUS).status_code == 204
    assert len(list(running.objects.keys("uploads/"))) == 2, "those of the one that became a job"
    other = running.client.post("/api/v1/batches", json={}).json()
    refused(begin(running.client, 100, batch=other["id"], colour="red"), 422, "validation")


def test_whose_batch_it_is(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    anna, bert = (add(store, name)[0] for name in ("anna", "bert"))
    root = add(store, "root", scopes=["admin", "jobs"])[0]
    with keyed(tmp_path, store) as running:

        def client(token: str) -> httpx.Client:
            return httpx.Client(base_url=running.client.base_url, headers={"X-API-Key": token}, trust_env=False)

        with client(anna) as own, client(bert) as stranger, client(root) as admin:
            batch_id = own.post("/api/v1/batches", json={}).json()["id"]
            refused(begin(stranger, 100, batch=batch_id), 404, "batch_not_found")
            url = begin(admin, 100, batch=batch_id).headers["Location"]
            job = own.get(patch(admin, url, 0, wav(100)).headers["Location"]).json()
            assert job["batch"] == batch_id and store.get(job["id"]).owner == "anna", "as with POST /jobs"


def test_the_sweeper_forgets_what_is_done_with(running: Service) -> None:
    store: Any = running.store
    sweeper = Sweeper(store, running.objects, MemoryHints(), interval=1, max_attempts=3)
    url = begin(running.client, 100).headers["Location"]
    job_id = patch(running.client, url, 0, wav(100)).headers["X-Parascribe-Job"]
    open_one = begin(running.client, 100).headers["Location"]
    patch(running.client, open_one, 0, wav(60))
    running.objects.put("uploads/0198f3c2-0000-7000-8000-000000000001/0.1", io.BytesIO(b"x"))
    sweeper.sweep_once()
    assert len(list(running.objects.keys("uploads/"))) == 3, "the job has not got its file"
    claim = store.claim(owner="one", consumer="here", lease_seconds=60)
    store.brought(claim, replace(claim.job.source, sha256="a" * 64, origin=None))
    sweeper.sweep_once()
    assert len(list(running.objects.keys("uploads/"))) == 2
    refused(running.client.get(url), 404, "upload_not_found")
    sweeper.collect_orphans(older_than=0)
    assert len(list(running.objects.keys("uploads/"))) == 1, "what no row knows of is gone"
    assert offset(running.client, open_one) == 60 and store.get(job_id).status is JobStatus.PROCESSING


# --- the official client


def send(
    url: str, content: bytes, *, chunk: int, stop_at: int | None = None, at: str | None = None, **options: Any
) -> Any:
    uploader = TusClient(url).uploader(
        file_stream=io.BytesIO(content),
        chunk_size=chunk,
        url=at,
        metadata={"filename": "talk.wav", "language": "de"},
        retries=options.get("retries", 0),
        retry_delay=0.1,
    )
    uploader.upload(stop_at=stop_at)
    return uploader


def test_tuspy_sends_and_resumes(running: Service) -> None:
    content = wav(500 * KIB)
    service = f"{running.client.base_url}/api/v1/uploads"
    first = send(service, content, chunk=64 * KIB, stop_at=200 * KIB)
    assert offset(running.client, first.url) == first.offset >= 200 * KIB
    again = send(service, content, chunk=100 * KIB, at=first.url)
    headers = {name.lower(): value for name, value in again.request.response_headers.items()}
    job = running.client.get(headers["location"]).json()
    assert job["source"]["filename"] == "talk.wav" and job["params"]["language"] == "de"
    assert put_together(running, job["id"]) == content
    with pytest.raises(TusUploadFailed):
        send(service, b"<html>" + b"x" * 200 * KIB, chunk=100 * KIB)


@contextmanager
def process(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.api.serving", str(folder), str(port)], cwd=ROOT, stdout=sys.stderr
    )
    try:
        until(lambda: _answers(port), 30)
        yield running
    finally:
        running.kill()
        running.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_it_goes_on_after_kill_9(tmp_path: Path) -> None:
    """So does a request for a batch of named files that was just being written down: it is there whole or not at all."""
    content, named = wav(24 << 20), {"items": [{"url": "https://files.test/a.mp3"}] * 300}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api/v1/uploads"
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:

        def ask() -> httpx.Response:
            return client.post("/api/v1/batches", json=named, headers={"Idempotency-Key": "k"})

        def asked() -> bool:
            with closing(sqlite3.connect(f"file:{tmp_path}/jobs.db?mode=ro", uri=True)) as table:
                return bool(table.execute("SELECT count(*) FROM idempotency").fetchone()[0])

        with ThreadPoolExecutor(1) as other, process(tmp_path, port) as first:
            at = url + "/" + begin(client, len(content)).headers["Location"].rpartition("/")[2]
            usual = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

            def until_killed() -> Iterator[bytes]:
                for start in range(0, len(content), 1 << 20):
                    yield content[start : start + (1 << 20)]
                    if start >= 20 << 20 and offset_of(port, at) >= 16 << 20:
                        other.submit(ask)
                        until(asked)
                        os.kill(first.pid, signal.SIGKILL)

            with pytest.raises(httpx.TransportError):
                client.patch(at, content=until_killed(), headers=TUS | usual | {"Content-Length": str(len(content))})
        with process(tmp_path, port):
            came = offset(client, at)
            assert 16 << 20 <= came < len(content)
            until(lambda: patch(client, at, came, b"").status_code == 204, 20)  # the dead one's lease
            last = send(url, content, chunk=len(content), at=at).request
            job_id = {name.lower(): value for name, value in last.response_headers.items()}["x-parascribe-job"]
            jobs = [job for job in client.get("/api/v1/jobs").json()["items"] if job["batch"] is None]
            assert [job["id"] for job in jobs] == [job_id] and jobs[0]["source"]["bytes"] == len(content)
            there = len(client.get("/api/v1/batches").json()["items"])
            until(lambda: ask().status_code == 201, 20)
            assert ask().headers["Idempotent-Replayed"] == "true"
            (batch,) = client.get("/api/v1/batches").json()["items"]
            counts = client.get(batch["links"]["self"]).json()["counts"]
            assert counts["queued"] == counts["total"] == 300, f"{there} of it was there"
        from tests.core.store_kit import open_store

        store = open_store(f"sqlite:///{tmp_path}/jobs.db", None)
        service = Service(store=store, objects=LocalObjects(tmp_path / "objects"), hints=[], client=client)
        assert put_together(service, job_id) == content
        store.close()


def offset_of(port: int, url: str) -> int:
    with httpx.Client(trust_env=False) as client:
        return int(client.head(url).headers["Upload-Offset"])
