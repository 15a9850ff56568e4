"""Jobs whose file is only named: what may be named, and what the job looks like until it is here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.keys import KeyLimits
from core.objects.memory import MemoryObjects
from core.outbound.client import Outbound, Rules
from core.store.sql import SqlStore
from core.submission.origins import Origins
from tests.api.keyed import add, keyed
from tests.api.serving import Service
from tests.api.test_submit import JOB_KEYS, refused, until

URL = "https://files.test/a%20b/Vortrag%20%C3%A4.mp3?token=secret"


def origins() -> Origins:
    objects = MemoryObjects()
    return Origins(web=Outbound(Rules(max_bytes=10**6)), bucket=objects.open, objects=objects)


@pytest.fixture
def fetching(serve: Callable[..., Service]) -> Service:
    return serve(origins=origins(), settings={"max_upload_mb": 3})


def submit(running: Service, *, key: str | None = None, **body: Any) -> Any:
    return running.client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": key} if key else {})


def test_an_address_becomes_a_job_at_once(fetching: Service) -> None:
    answer = submit(fetching, url=URL, language="German", word_timestamps=True, beam_size=5, vocabulary=["a, b"])
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == JOB_KEYS and answer.headers["Location"] == job["links"]["self"]
    assert job["source"] == {"filename": "Vortrag ä.mp3", "bytes": None, "media_type": None}
    assert job["audio"]["sha256"] is None and job["status"] == "queued"
    assert (job["params"]["language"], job["params"]["beam_size"]) == ("de", 5)
    assert job["params"]["vocabulary"] == ["a, b"]
    until(lambda: fetching.hints == [job["id"]])
    stored = fetching.store.get(job["id"])
    assert stored.source.origin is not None
    assert (stored.source.origin.name, stored.source.origin.max_bytes) == (URL, 3 << 20)
    assert not stored.short, "nobody knows how long it is"
    assert "secret" not in answer.text + fetching.client.get("/api/v1/jobs").text
    refused(fetching.client.get(f"/api/v1/jobs/{job['id']}/audio"), 409, "not_ready")


def test_an_object_becomes_a_job(fetching: Service) -> None:
    job = submit(fetching, object="2026/März/talk 1.mp3", model="tiny").json()
    assert job["source"]["filename"] == "talk 1.mp3" and job["params"]["model"] == "tiny"
    origin = fetching.store.get(job["id"]).source.origin
    assert origin is not None and (origin.kind, origin.name) == ("object", "2026/März/talk 1.mp3")


def test_where_it_is_not_wanted_it_is_refused(running: Service) -> None:
    assert "URL_INGEST" in refused(submit(running, url=URL), 400, "unsupported")["detail"]
    assert "INGEST_BUCKET" in refused(submit(running, object="a.mp3"), 400, "unsupported")["detail"]
    assert running.client.get("/api/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "validation", "url"),
        ({"language": "de"}, "validation", "url"),
        ({"url": URL, "object": "a.mp3"}, "validation", "object"),
        ({"url": 5}, "validation", "url"),
        ({"url": ["a"]}, "validation", "url"),
        ({"url": "https://files.test/a b"}, "validation", "url"),
        ({"url": "https://files.test/\na"}, "validation", "url"),
        ({"object": ""}, "validation", "object"),
        ({"object": "/a.mp3"}, "validation", "object"),
        ({"object": "a//b.mp3"}, "validation", "object"),
        ({"object": "../parascribe/jobs/1/source"}, "validation", "object"),
        ({"object": "a/./b"}, "validation", "object"),
        ({"object": ".."}, "validation", "object"),
        ({"object": "a\0b"}, "validation", "object"),
        ({"object": "ä" * 600}, "validation", "object"),
        ({"url": URL, "colour": "red"}, "validation", "colour"),
        ({"url": URL, "file": "a"}, "validation", "file"),
        ({"url": URL, "language": "klingon"}, "validation", "language"),
        ({"url": URL, "beam_size": 9}, "validation", "beam_size"),
        ({"url": URL, "beam_size": True}, "validation", "beam_size"),
        ({"url": URL, "prompt": ["a"]}, "validation", "prompt"),
        ({"url": URL, "vocabulary": ["a\tb"]}, "validation", "vocabulary"),
        *[({"url": URL, "batch": odd}, "validation", "batch") for odd in (5, ["a"], {}, True)],
        ({"url": URL, "model": "none"}, "unknown_model", None),
    ],
)
def test_what_cannot_be_is_refused(fetching: Service, body: dict[str, Any], code: str, field: str | None) -> None:
    found = refused(submit(fetching, **body), 422, code)
    assert field is None or [error["field"] for error in found["errors"]] == [field]
    assert fetching.client.get("/api/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://files.test/a", "files.test/a", "http://", "https://a:b@files.test/x", "x" * 9]
)
def test_what_is_no_address_of_the_web(fetching: Service, url: str) -> None:
    refused(submit(fetching, url=url), 422, "url_refused")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"url"',
        b"null",
        b'{"url": "https://a.test/", "url": "https://b.test/"}',
        b'{"url": "https://a.test/", "temperature": NaN}',
        b'{"url": "https://a.test/", "prompt": "\\ud800"}',
        b'{"url": "https://a.test/", "prompt": "\xff"}',
        b"[" * 60_000,
        b'{"url": "https://a.test/", "beam_size": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object(fetching: Service, body: bytes) -> None:
    answer = fetching.client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "validation")


def test_a_body_has_an_end(fetching: Service) -> None:
    answer = fetching.client.post("/api/v1/jobs", json={"url": URL, "prompt": "x" * 70_000})
    refused(answer, 413, "too_large")


def test_the_same_key_gives_the_same_job(fetching: Service) -> None:
    first, again = (submit(fetching, key="k", url=URL, language="de") for _ in range(2))
    assert first.json()["id"] == again.json()["id"] and again.headers["Idempotent-Replayed"] == "true"
    for other in ({"url": URL}, {"url": URL + "2", "language": "de"}, {"object": "a", "language": "de"}):
        refused(submit(fetching, key="k", **other), 422, "idempotency_conflict")
    refused(fetching.submit(key="k"), 422, "idempotency_conflict")
    fetching.client.delete(first.json()["links"]["self"])
    fetching.submit(key="f")
    refused(submit(fetching, key="f", url=URL), 422, "idempotency_conflict")
    refused(submit(fetching, key="bad", url="ftp://a.test/"), 422, "url_refused")
    assert submit(fetching, key="bad", url=URL).status_code == 202, "a refused one keeps no key"


def test_a_retry_of_one_that_was_never_fetched_fetches_its_own(fetching: Service) -> None:
    from core.jobs.job import JobFailure

    job = submit(fetching, url=URL).json()
    claim = fetching.store.claim(owner="one", consumer="here", lease_seconds=60)
    assert claim is not None
    fetching.store.fail(claim, JobFailure(code="url_unreachable", message="no", stage="fetching"))
    again = fetching.client.post(f"/api/v1/jobs/{job['id']}/retry").json()
    stored = fetching.store.get(again["id"])
    assert stored.source.origin == claim.job.source.origin and stored.source.key == f"jobs/{again['id']}/source"


def test_a_keys_limits_hold(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    token, _ = add(store, "anna", limits=KeyLimits(upload_mb=1, jobs_waiting=1))
    with keyed(tmp_path, store, origins=origins()) as running:
        running.client.headers["X-API-Key"] = token
        job = submit(running, url=URL).json()
        origin = store.get(job["id"]).source.origin
        assert origin is not None and origin.max_bytes == 1 << 20
        refused(submit(running, url=URL), 429, "quota_exceeded")


def test_the_description_has_both_bodies(fetching: Service) -> None:
    described = fetching.client.get("/openapi.json").json()["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(described) == {"multipart/form-data", "application/json"}
    named = described["application/json"]["schema"]
    form = described["multipart/form-data"]["schema"]
    assert named["properties"].keys() - {"url", "object"} == form["properties"].keys() - {"file"}
    assert json.dumps(named["oneOf"]) == '[{"required": ["url"]}, {"required": ["object"]}]'
