"""The uploaded file for players: whole, in parts, unchanged, gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import httpx
import pytest

from api.http.downloads import part_of
from core.errors import InvalidRange
from core.objects.memory import MemoryObjects
from tests.api.serving import Service, wav
from tests.api.test_jobs import complete
from tests.api.test_submit import refused

FILE = wav(1_000_000, b"\x07") + bytes(range(256))


@pytest.fixture
def job(running: Service) -> dict[str, Any]:
    made: dict[str, Any] = running.submit(FILE, name="Grüße.wav").json()
    return made


def get(running: Service, job: dict[str, Any], **headers: str) -> httpx.Response:
    return running.client.get(f"{job['links']['self']}/audio", headers=headers)


def test_all_of_it(running: Service, job: dict[str, Any]) -> None:
    answer = get(running, job)
    assert (answer.status_code, answer.content) == (200, FILE)
    assert answer.headers["Content-Type"] == job["source"]["media_type"]
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == f'"{job["audio"]["sha256"]}"'
    assert answer.headers["Content-Disposition"].startswith("inline; ")
    assert get(running, job, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304
    head = running.client.head(f"{job['links']['self']}/audio")
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(FILE)), b"")


def test_what_only_the_head_is_asked_of_is_not_read(serve: Callable[..., Service]) -> None:
    class Counted(MemoryObjects):
        opened = 0

        def open(self, key: str, *, offset: int = 0) -> BinaryIO:
            self.opened += 1
            return super().open(key, offset=offset)

    objects = Counted()
    running = serve(objects=objects)
    job = running.submit(FILE).json()
    before = objects.opened
    head = running.client.head(f"{job['links']['self']}/audio", headers={"Range": "bytes=10-19"})
    assert (head.status_code, head.headers["Content-Length"]) == (206, "10")
    assert objects.opened == before
    assert get(running, job).content == FILE and objects.opened > before


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-999", 5, 1000),
        ("bytes=1000000-", 1_000_000, len(FILE)),
        ("bytes=-256", len(FILE) - 256, len(FILE)),
        ("bytes=-99999999", 0, len(FILE)),
        ("bytes=10-99999999", 10, len(FILE)),
    ],
)
def test_a_part(running: Service, job: dict[str, Any], asked: str, start: int, end: int) -> None:
    answer = get(running, job, Range=asked)
    assert (answer.status_code, answer.content) == (206, FILE[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(FILE)}"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=-", "bytes=5-1", "items=0-1", "bytes", "bytes=\u0663-"])
def test_what_is_no_single_range_is_answered_by_all(running: Service, job: dict[str, Any], asked: str) -> None:
    answer = running.client.get(f"{job['links']['self']}/audio", headers={"Range": asked.encode()})
    assert (answer.status_code, len(answer.content)) == (200, len(FILE))


def test_behind_the_end(running: Service, job: dict[str, Any]) -> None:
    for asked in (f"bytes={len(FILE)}-", "bytes=-0"):
        answer = get(running, job, Range=asked)
        refused(answer, 416, "invalid_range")
        assert answer.headers["Content-Range"] == f"bytes */{len(FILE)}"
    with pytest.raises(InvalidRange):
        part_of(0, "bytes=0-")


def test_a_part_of_another_file_is_all_of_this_one(running: Service, job: dict[str, Any]) -> None:
    etag = f'"{job["audio"]["sha256"]}"'
    assert get(running, job, Range="bytes=0-0", **{"If-Range": etag}).status_code == 206
    for other in ('"other"', f"W/{etag}", "Sat, 28 Nov 2026 12:00:00 GMT"):
        assert get(running, job, Range="bytes=0-0", **{"If-Range": other}).status_code == 200


def test_gone(running: Service) -> None:
    job = complete(running)
    running.objects.delete(running.store.get(job["id"]).source.key)
    refused(get(running, job), 500, "internal")
    assert running.store.expire(audio_hours=1e-12, result_hours=1e-12, limit=10)
    refused(get(running, job), 410, "expired")
    refused(running.client.get(f"{job['links']['self']}/audio?format=wma"), 422, "validation")
