"""Uploads: what is taken, what is refused, and that what is refused leaves nothing behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Self

import httpx
import pytest

from api.http.protocol import BoundedHttp
from api.upload.filepart import clean_filename
from api.upload.receiver import UploadLimits
from core.errors import StorageUnavailable
from core.jobs.consumers import ConsumerInfo
from core.jobs.job import JobStatus
from core.jobs.turns import BULK
from core.objects.memory import MemoryObjects
from tests.api.serving import Service, wav

MIB = 1 << 20
JOB_KEYS = {
    "id",
    "status",
    "created_at",
    "started_at",
    "finished_at",
    "source",
    "retry_of",
    "params",
    "audio",
    "progress",
    "language",
    "attempts",
    "partial",
    "gaps",
    "warnings",
    "error",
    "performance",
    "links",
    "batch",
    "revision",
}


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not become true"
        time.sleep(0.01)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code"} <= set(body)
    assert (body["code"], body["status"]) == (code, status)
    return body


def test_a_file_becomes_a_job(running: Service) -> None:
    content = wav(300_000)
    answer = running.submit(
        content,
        name="Vortrag ä.wav",
        language="German",
        word_timestamps="true",
        beam_size="5",
        prompt="Müller",
        vocabulary="Anna, Zyn Trix",
    )
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == JOB_KEYS
    assert answer.headers["Location"] == job["links"]["self"] == f"/api/v1/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert job["source"] == {"filename": "Vortrag ä.wav", "bytes": 300_000, "media_type": "audio/wav"}
    assert job["audio"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert job["params"] == {
        "model": "base",
        "task": "transcribe",
        "language": "de",
        "prompt": "Müller",
        "vocabulary": ["Anna", "Zyn Trix"],
        "temperature": 0.0,
        "beam_size": 5,
        "word_timestamps": True,
        "audio_track": None,
        "diarize": False,
        "num_speakers": None,
        "min_speakers": None,
        "max_speakers": None,
        "known_speakers": None,
        "enhance": "none",
        "enhance_for": "all",
        "align": False,
        "translate_to": None,
        "channels": "mix",
        "callback_url": None,
        "metadata": None,
        "priority": "normal",
        "workers": None,
        "chunk_duration": None,
    }
    assert running.keys == [f"jobs/{job['id']}/source"]
    with running.objects.open(running.keys[0]) as stored:
        assert stored.read() == content
    until(lambda: running.hints == [job["id"]])


def form(*parts: tuple[str, str | None, bytes], boundary: bytes = b"xyz") -> tuple[bytes, dict[str, str]]:
    """A multipart body by hand: (name, filename, content) in this order."""
    body = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        body += (
            b"--"
            + boundary
            + f'\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
            + content
            + b"\r\n"
        )
    return body + b"--" + boundary + b"--\r\n", {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}


FILE = ("file", "a.wav", wav())


def test_fields_may_come_after_the_file_and_empty_ones_count_as_absent(running: Service) -> None:
    body, headers = form(("task", None, b""), FILE, ("model", None, b"tiny"), ("language", None, b"auto"))
    answer = running.client.post("/api/v1/jobs", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["params"]["model"] == "tiny"


@pytest.mark.parametrize(
    ("parts", "code", "field"),
    [
        ([FILE, ("colour", None, b"red")], "validation", "colour"),
        ([("model", None, b"tiny"), ("model", None, b"tiny"), FILE], "validation", "model"),
        ([FILE, FILE], "validation", "file"),
        ([("model", None, b"tiny")], "validation", "file"),
        ([("file", None, wav())], "validation", "file"),
        ([("model", "model.txt", b"tiny"), FILE], "validation", "model"),
        ([FILE, ("temperature", None, b"1.5")], "validation", "temperature"),
        ([("temperature", None, b"nan"), FILE], "validation", "temperature"),
        ([FILE, ("beam_size", None, b"9")], "validation", "beam_size"),
        ([FILE, ("word_timestamps", None, b"perhaps")], "validation", "word_timestamps"),
        ([FILE, ("language", None, b"klingon")], "validation", "language"),
        *[
            ([FILE, ("audio_track", None, nonsense)], "validation", "audio_track")
            for nonsense in (b"-1", b"200", b"1.5", b"the second", b"klingon")
        ],
        ([FILE, ("task", None, b"summarise")], "validation", "task"),
        ([FILE, ("prompt", None, b"x" * 2001)], "validation", "prompt"),
        ([FILE, ("prompt", None, b"a\x00b")], "validation", "prompt"),
        ([FILE, ("prompt", None, b"\xff\xfe")], "validation", "prompt"),
        ([FILE, ("prompt", None, b"x" * 20_000)], "validation", "prompt"),
        ([FILE, ("model", None, b"base.en"), ("language", None, b"de")], "validation", "language"),
        ([FILE, ("model", None, b"small"), ("language", None, b"yue")], "validation", "language"),
        ([FILE, ("model", None, b"enormous")], "unknown_model", None),
        ([FILE, ("model", None, b"../../etc/passwd")], "unknown_model", None),
        ([FILE, ("model", None, b"base.en"), ("task", None, b"translate")], "task_not_supported", None),
        ([FILE, ("model", None, b"large-v3-turbo"), ("task", None, b"translate")], "task_not_supported", None),
        ([FILE, ("enhance", None, b"vocals")], "not_available", None),
        ([FILE, ("enhance_for", None, b"speakers")], "validation", "enhance_for"),
        ([FILE, ("translate_to", None, b"klingon")], "validation", "translate_to"),
        ([FILE, ("translate_to", None, b"de"), ("task", None, b"translate")], "validation", "translate_to"),
        ([FILE, ("translate_to", None, b"de-AT"), ("language", None, b"German")], "validation", "translate_to"),
    ],
)
def test_what_cannot_be_honoured_is_refused(running: Service, parts: list[Any], code: str, field: str | None) -> None:
    body, headers = form(*parts)
    problem = refused(running.client.post("/api/v1/jobs", content=body, headers=headers), 422, code)
    if field is not None:
        assert [error["field"] for error in problem["errors"]] == [field]
    if code == "unknown_model":
        assert {"base", "demo"} <= set(problem["models"])
    assert not running.keys
    assert not any(running.store.counts().values())


def test_cleaning_is_refused_where_the_consumers_say_that_none_can(running: Service) -> None:
    def ask() -> httpx.Response:
        body, headers = form(FILE, ("enhance", None, b"denoise"))
        return running.client.post("/api/v1/jobs", content=body, headers=headers)

    assert ask().status_code == 202, "none has said anything"
    running.store.beat("here", ConsumerInfo(enhance=()))
    assert "parascribe[enhance]" in refused(ask(), 422, "not_available")["detail"]
    running.store.beat("there", ConsumerInfo(enhance=("denoise",)))
    assert ask().json()["params"]["enhance"] == "denoise"


CLOSE = b"--xyz--\r\n"
PART = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=xyz"),
        (CLOSE, "multipart/form-data; boundary=xyz"),
        (b"no boundary at all", "multipart/form-data; boundary=xyz"),
        (PART + wav(), "multipart/form-data; boundary=xyz"),  # never closed
        (PART + wav() + b"\r\n--xy", "multipart/form-data; boundary=xyz"),
        (b"--xyz\r\n\r\nno headers\r\n" + CLOSE, "multipart/form-data; boundary=xyz"),
        (b'--xyz\r\nContent-Disposition: form-data; name=""\r\n\r\n\r\n' + CLOSE, "multipart/form-data; boundary=xyz"),
        (
            b'--xyz\r\nContent-Disposition: attachment; name="file"\r\n\r\n\r\n' + CLOSE,
            "multipart/form-data; boundary=xyz",
        ),
        (b"--xyz\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n" + CLOSE, "multipart/form-data; boundary=xyz"),
        (b"--xyz\r\nX-" + b"a" * 1_000_000, "multipart/form-data; boundary=xyz"),
        (
            b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\n\r\n' * 300 + CLOSE,
            "multipart/form-data; boundary=xyz",
        ),
        (PART + wav() + b"\r\n" + CLOSE, "multipart/form-data; boundary=" + "x" * 5000),
        (PART + wav() + b"\r\n" + CLOSE, "multipart/form-data"),
        (PART + wav() + b"\r\n" + CLOSE, 'multipart/form-data; boundary=""'),
        (b'{"file": "a.wav"}', "application/json"),
        (b"file=a.wav", "application/x-www-form-urlencoded"),
        (wav(), "audio/wav"),
    ],
)
def test_hostile_bodies_are_refused(running: Service, body: bytes, content_type: str) -> None:
    problem = refused(
        running.client.post("/api/v1/jobs", content=body, headers={"Content-Type": content_type}), 422, "validation"
    )
    assert problem["errors"][0]["message"]
    assert not running.keys


@pytest.mark.parametrize(
    ("given", "kept"), [("1", 1), ("0", 0), ("de", "de"), ("German", "de"), ("gle", "gle"), ("", None)]
)
def test_a_sound_track_is_chosen_by_index_or_language(running: Service, given: str, kept: int | str | None) -> None:
    assert running.submit(audio_track=given).json()["params"]["audio_track"] == kept


def test_ffmpeg_is_asked_about_what_nobody_knows(serve: Callable[..., Service]) -> None:
    asked: list[bytes] = []

    def probe(head: bytes) -> str | None:
        asked.append(head)
        return "audio/x-odd" if head.startswith(b"\x01odd") else None

    running = serve(probe=probe)
    odd = b"\x01odd" + bytes(100_000)
    assert running.submit(odd).json()["source"]["media_type"] == "audio/x-odd"
    refused(running.submit(b"\x01even" + bytes(100_000)), 415, "not_media")
    assert [head[:4] for head in asked] == [b"\x01odd", b"\x01eve"]
    for known in (
        b"%PDF-1.7" + bytes(5000),
        b"A letter. " * 1000,
        b"<html>" + bytes(100),
        "Ein Brief.\n".encode("latin-1") * 100,
    ):
        refused(running.submit(known), 415, "not_media")
    assert len(asked) == 2, "what is known to be no media needs no ffmpeg"


def test_an_empty_file_and_a_file_that_is_no_recording(running: Service) -> None:
    refused(running.submit(b""), 400, "empty_upload")
    assert "PDF" in refused(running.submit(b"%PDF-1.7" + bytes(5000)), 415, "not_media")["detail"]
    assert not running.keys


class Wire:
    """An HTTP client that does exactly what it is told."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.create_connection((service.host, service.port), timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def post(self, *headers: str, content_type: str = "multipart/form-data; boundary=xyz") -> None:
        lines = ["POST /api/v1/jobs HTTP/1.1", "Host: test", f"Content-Type: {content_type}", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def answer(self) -> tuple[int, dict[str, Any], str]:
        """Status, body and raw head of the next answer."""
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += (more := self.socket.recv(65536))
            assert more, raw
        head, _, body = raw.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        length = next(
            (int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += (more := self.socket.recv(65536))
            assert more, body
        return status, json.loads(body) if body else {}, head.decode()


def test_no_media_is_refused_before_the_rest_is_sent(running: Service) -> None:
    with Wire(running) as wire:
        wire.post(f"Content-Length: {900 * MIB}")
        wire.socket.sendall(PART + b"%PDF-1.7" + bytes(70_000))
        assert wire.answer()[:2][0] == 415


def test_too_large_by_its_header_is_refused_before_the_body(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 1})
    with Wire(running) as wire:
        wire.post(f"Content-Length: {900 * MIB}", "Expect: 100-continue")
        start = time.monotonic()
        status, body, head = wire.answer()
        assert (status, body["code"], body["max_bytes"]) == (413, "too_large", MIB)
        assert "connection: close" in head.lower()
        assert wire.socket.recv(100) == b""  # closed at once: this client sends nothing without a 100
        assert time.monotonic() - start < 5.0


def test_expect_continue_is_answered_when_the_upload_is_wanted(running: Service) -> None:
    body, _ = form(FILE)
    with Wire(running) as wire:
        wire.post(f"Content-Length: {len(body)}", "Expect: 100-continue")
        assert wire.answer()[0] == 100
        wire.socket.sendall(body)
        assert wire.answer()[0] == 202


def test_too_large_while_reading_and_the_answer_reaches_a_client_that_goes_on_sending(
    serve: Callable[..., Service],
) -> None:
    running = serve(settings={"max_upload_mb": 1})

    def endless() -> Iterator[bytes]:  # chunked: no length is declared
        yield PART + wav(64 << 10)
        for _ in range(300):
            yield bytes(MIB)
        yield b"\r\n" + CLOSE

    answer = running.client.post(
        "/api/v1/jobs", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=xyz"}
    )
    assert refused(answer, 413, "too_large")["max_bytes"] == MIB
    assert not running.keys

    declared = running.submit(wav(20 * MIB))  # by its header, and httpx sends it all the same
    refused(declared, 413, "too_large")


def test_a_client_that_sends_for_ever_is_cut_off(running: Service) -> None:
    with Wire(running) as wire:
        wire.post(f"Content-Length: {900 * MIB}")
        wire.socket.sendall(PART + b"%PDF-1.7" + bytes(70_000))
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 300 * MIB:
                wire.socket.sendall(bytes(MIB))
                sent += MIB
        assert sent < 150 * MIB
        assert wire.answer()[0] == 415  # and it still gets its answer


def test_exactly_the_limit_is_taken(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 1})
    assert running.submit(wav(MIB)).status_code == 202
    refused(running.submit(wav(MIB + 1)), 413, "too_large")


def test_an_installation_s_own_defaults_are_in_the_job_and_in_the_description(serve: Any) -> None:
    running = serve(settings={"job_defaults": {"priority": "bulk", "word_timestamps": True}})
    job = running.submit(word_timestamps="false").json()
    assert (job["params"]["priority"], job["params"]["word_timestamps"]) == ("bulk", False)
    assert running.store.get(job["id"]).priority == BULK
    schema = running.client.get("/openapi.json").json()
    form = schema["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    shown = {name: form["properties"][name]["default"] for name in ("priority", "word_timestamps", "temperature")}
    assert shown == {"priority": "bulk", "word_timestamps": True, "temperature": 0.0}


def test_what_comes_behind_a_form_has_an_end(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_upload_mb": 1.0})
    body, headers = form(("file", "a.wav", wav()))
    pieces = iter([body, *(bytes(MIB) for _ in range(3))])  # in chunks: no header says how many
    refused(running.client.post("/api/v1/jobs", content=pieces, headers=headers), 413, "too_large")
    assert not running.keys


def test_a_full_queue_refuses_before_the_body(serve: Callable[..., Service]) -> None:
    running = serve(settings={"max_queued_jobs": 1})
    assert running.submit().status_code == 202
    with Wire(running) as wire:
        wire.post(f"Content-Length: {900 * MIB}", "Expect: 100-continue")
        status, body, head = wire.answer()
        assert (status, body["code"]) == (429, "queue_full")
        assert "retry-after:" in head.lower()
        job = running.client.get("/api/v1/jobs").json()["items"][0]
        running.client.post(job["links"]["cancel"])
        assert running.submit().status_code == 202  # only waiting jobs count
        refused(running.client.post(f"{job['links']['self']}/retry"), 429, "queue_full")


def test_too_little_disk(serve: Callable[..., Service]) -> None:
    running = serve(free_bytes=lambda: 210 * MIB, settings={"min_free_disk_mb": 200})
    refused(running.submit(wav(11 * MIB)), 507, "insufficient_storage")
    assert running.submit(wav(8 * MIB)).status_code == 202


class FailingObjects(MemoryObjects):
    """A store that goes away after some bytes."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        data.read(self.after)
        raise StorageUnavailable


@pytest.mark.parametrize("after", [0, 3 * MIB])
def test_object_store_down(serve: Callable[..., Service], after: int) -> None:
    running = serve(objects=FailingObjects(after))
    answer = running.submit(wav(8 * MIB), key="k")
    refused(answer, 503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert not any(running.store.counts().values())
    assert running.store.reserve("k", lease_seconds=1) is None  # the key is free again


def test_a_client_that_hangs_up_leaves_nothing(running: Service) -> None:
    with Wire(running) as wire:
        wire.post(f"Content-Length: {9 * MIB}", "Idempotency-Key: gone")
        wire.socket.sendall(PART + wav(3 * MIB))
        time.sleep(0.1)
        wire.socket.close()

    def free() -> bool:
        with contextlib.suppress(Exception):
            return running.store.reserve("gone", lease_seconds=60) is None
        return False

    until(free)
    assert not running.keys
    assert running.submit().status_code == 202


def test_who_sends_no_request_is_not_listened_to_for_ever(running: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "head_seconds", 1.0)
    with Wire(running) as silent, Wire(running) as slow, Wire(running) as patient:
        slow.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: te")
        body = PART + wav(5000) + b"\r\n--xyz--\r\n"
        patient.post(f"Content-Length: {len(body)}")
        for wire in (silent, slow):
            assert wire.socket.recv(100) == b""
        patient.socket.sendall(body)  # the body may take its time
        assert patient.answer()[0] == 202


def test_a_trickle_is_cut_off(serve: Callable[..., Service]) -> None:
    running = serve(limits=UploadLimits(rate=1000, window=0.5))
    with Wire(running) as wire:
        wire.post(f"Content-Length: {MIB}")
        wire.socket.sendall(PART + wav(70_000))
        start = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 2.0:
                wire.socket.sendall(b"x")
                time.sleep(0.1)
        assert wire.answer()[:2][1]["code"] == "upload_too_slow"
        assert not running.keys


def test_a_slow_store_is_not_the_clients_fault(serve: Callable[..., Service]) -> None:
    class Slow(MemoryObjects):
        def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
            time.sleep(2.5)
            return super().put(key, data, media_type=media_type)

    running = serve(objects=Slow(), limits=UploadLimits(rate=1_000_000, window=2.0))
    assert running.submit(wav(12 * MIB)).status_code == 202


@pytest.mark.parametrize(
    "limits",
    [UploadLimits(concurrent=1, patience=0.2), UploadLimits(concurrent=1, patience=60.0, waiting=0)],
    ids=["none is free in time", "too many wait"],
)
def test_who_gets_no_place_is_told_when_to_come_again(serve: Callable[..., Service], limits: UploadLimits) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def free_bytes() -> int:  # before the first byte of the upload is taken
        looking.set()
        go_on.wait(30)
        return 1 << 40

    running = serve(limits=limits, free_bytes=free_bytes)
    with Wire(running) as wire:
        wire.post(f"Content-Length: {MIB}")
        wire.socket.sendall(PART + wav(100_000))
        assert looking.wait(10)
        answer = running.submit()
        refused(answer, 429, "queue_full")
        assert int(answer.headers["Retry-After"]) >= 1
        go_on.set()
        refused(running.submit(), 429, "queue_full")  # the client is still sending
        wire.socket.close()
    if limits.waiting:
        until(lambda: running.submit().status_code == 202)


def test_a_hundred_small_uploads_at_once_are_all_taken(serve: Callable[..., Service]) -> None:
    running = serve(limits=UploadLimits(concurrent=4))
    body = PART + wav(20_000) + b"\r\n" + CLOSE
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(running)) for _ in range(100)]
        for wire in wires:
            wire.post(f"Content-Length: {len(body)}")
        for wire in wires:
            wire.socket.sendall(body)
        assert {wire.answer()[0] for wire in wires} == {202}
    assert running.store.counts()[JobStatus.QUEUED] == len(running.keys) == 100


def test_who_leaves_while_waiting_takes_no_place(serve: Callable[..., Service]) -> None:
    running = serve(limits=UploadLimits(concurrent=1))
    with Wire(running) as first:
        first.post(f"Content-Length: {MIB}")
        first.socket.sendall(PART + wav(100_000))
        until(lambda: running.client.get("/metrics").text.count("parascribe_upload_bytes_total 0.0") == 0)
        for _ in range(10):
            with Wire(running) as gone:
                gone.post(f"Content-Length: {MIB}")
                gone.socket.sendall(PART)
    assert running.submit().status_code == 202
    assert running.store.counts()[JobStatus.QUEUED] == len(running.keys) == 1


def test_a_long_prompt_is_taken_with_a_warning(running: Service) -> None:
    job = running.submit(prompt="names " * 150).json()
    assert [warning["code"] for warning in job["warnings"]] == ["prompt_long"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\talk.mp3", "talk.mp3"),
        ("a\r\nSet-Cookie: x\x00.mp3", "aSet-Cookie: x.mp3"),
        ("\u202egpj.exe", "gpj.exe"),
        ("..", "upload"),
        ("", "upload"),
        ("  talk.mp3 ", "talk.mp3"),
    ],
)
def test_file_names_are_made_harmless(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


def test_long_file_names_keep_their_extension() -> None:
    name = clean_filename("ä" * 400 + ".mp3")
    assert name.endswith("ä.mp3")
    assert len(name.encode()) in (254, 255)


@pytest.mark.parametrize(
    ("said", "code", "mapped"),
    [
        ("en-US", "en", True),
        ("nb", "no", True),
        ("fil", "tl", True),
        ("eng", "en", True),
        ("German", "de", False),
        ("DE", "de", False),
    ],
)
def test_a_language_that_is_taken_as_another_is_said(running: Service, said: str, code: str, mapped: bool) -> None:
    job = running.submit(language=said).json()
    assert job["params"]["language"] == code
    assert [warning["code"] for warning in job["warnings"]] == ["language_mapped"] * mapped
    assert all(said in warning["message"] and f" {code} (" in warning["message"] for warning in job["warnings"])


def test_a_tag_of_cantonese_needs_a_model_that_knows_it(running: Service) -> None:
    refused(running.submit(language="zh-yue-HK", model="small"), 422, "validation")
    assert running.submit(language="zh-yue-HK", model="large-v3").json()["params"]["language"] == "yue"
