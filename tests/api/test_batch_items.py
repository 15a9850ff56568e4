"""Batches of files that are only named: all of them or none, and once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.keys import KeyLimits
from core.store.sql import SqlStore
from core.submission.batches import AT_ONCE
from parascribe.client.client import Client
from tests.api.keyed import add, keyed
from tests.api.serving import Service
from tests.api.test_batches import look
from tests.api.test_sources import URL, origins
from tests.api.test_submit import refused

GOOD = {"url": URL}


@pytest.fixture
def fetching(serve: Callable[..., Service]) -> Service:
    return serve(origins=origins(), settings={"max_upload_mb": 3, "max_queued_jobs": AT_ONCE})


def ask(running: Service, items: Any, *, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return running.client.post("/api/v1/batches", json={"items": items} | body, headers=headers)


def nothing(running: Service) -> bool:
    return running.client.get("/api/v1/batches").json()["items"] == [] and not any(running.store.counts().values())


def test_named_files_become_a_batch_that_is_closed(fetching: Service) -> None:
    items = [
        GOOD | {"language": "fr", "metadata": {"n": 1}, "callback_url": None},
        {"object": "2026/talk 1.mp3", "word_timestamps": True, "language": "auto"},
        GOOD | {"language": ""},
    ]
    answer = ask(fetching, items, params={"language": "de", "model": "demo"}, metadata={"course": 1})
    assert answer.status_code == 201, answer.text
    batch = answer.json()
    assert (batch["status"], batch["counts"]["queued"], batch["refused"]) == ("processing", 3, [])
    assert (batch["params"]["language"], batch["metadata"]) == ("de", {"course": 1})
    jobs = look(fetching, batch["id"], "/items")["items"]
    assert [job["source"]["filename"] for job in jobs] == ["Vortrag ä.mp3", "talk 1.mp3", "Vortrag ä.mp3"]
    assert [job["params"]["language"] for job in jobs] == ["fr", None, "de"]
    assert {job["params"]["model"] for job in jobs} == {"demo"}
    assert [job["params"]["metadata"] for job in jobs] == [{"n": 1}, None, None]
    assert [job["params"]["word_timestamps"] for job in jobs] == [False, True, False]
    assert fetching.hints == [job["id"] for job in jobs]
    origin = fetching.store.get(jobs[0]["id"]).source.origin
    assert origin is not None and (origin.name, origin.max_bytes) == (URL, 3 << 20)
    assert "secret" not in answer.text
    refused(fetching.submit(batch=batch["id"]), 409, "batch_closed")


@pytest.mark.parametrize(
    ("items", "code", "fields"),
    [
        ([], "validation", ["items"]),
        ("x", "validation", ["items"]),
        ([GOOD] * (AT_ONCE + 1), "validation", ["items"]),
        ([GOOD, "x"], "validation", ["items.1"]),
        ([GOOD, {}], "validation", ["items.1.url"]),
        ([GOOD | {"object": "a"}, {"object": "../a"}], "validation", ["items.0.object", "items.1.object"]),
        ([GOOD | {"batch": "x"}], "validation", ["items.0.batch"]),
        (
            [GOOD | {"beam_size": 9}, GOOD, GOOD | {"language": "klingon", "colour": 1}],
            "validation",
            ["items.0.beam_size", "items.2.language", "items.2.colour"],
        ),
        ([GOOD | {"beam_size": 9}] * 30, "validation", [f"items.{n}.beam_size" for n in range(20)]),
        ([GOOD, {"url": "http://127.0.0.1/x"}], "url_refused", ["items.1"]),
        ([GOOD, {"url": "file:///etc/passwd"}], "url_refused", ["items.1"]),
        ([GOOD, GOOD | {"model": "none"}], "unknown_model", ["items.1"]),
        ([GOOD | {"model": "base.en", "task": "translate"}], "task_not_supported", ["items.0"]),
    ],
)
def test_one_that_cannot_be_taken_is_named_and_none_is(
    fetching: Service, items: Any, code: str, fields: list[str]
) -> None:
    found = refused(ask(fetching, items, key="k"), 422, code)
    assert [error["field"] for error in found["errors"]] == fields and fields[0] in found["detail"]
    assert nothing(fetching)
    assert ask(fetching, [GOOD], key="k").status_code == 201, "a refused one keeps no key"


def test_as_many_as_there_may_be_or_none(fetching: Service) -> None:
    fetching.submit()
    refused(ask(fetching, [GOOD] * AT_ONCE), 429, "queue_full")
    assert ask(fetching, [GOOD] * (AT_ONCE - 1)).json()["counts"]["queued"] == AT_ONCE - 1


def test_where_nothing_is_fetched(running: Service) -> None:
    assert "items.0: " in refused(ask(running, [GOOD]), 400, "unsupported")["detail"]
    refused(ask(running, [{"object": "a"}]), 400, "unsupported")
    assert nothing(running)


def test_sent_twice_it_is_there_once(fetching: Service) -> None:
    items = [GOOD, {"object": "a", "language": "de"}]
    first, again = (ask(fetching, items, key="k", params={"model": "demo"}) for _ in range(2))
    assert first.json()["id"] == again.json()["id"] and again.headers["Idempotent-Replayed"] == "true"
    assert sum(fetching.store.counts().values()) == 2 == len(fetching.hints)
    with Client(str(fetching.client.base_url)) as client:
        assert client.batches.create({"model": "demo"}, items=items)["counts"]["queued"] == 2
    for other in ([GOOD, {"object": "a"}], [GOOD], [*reversed(items)]):
        refused(ask(fetching, other, key="k", params={"model": "demo"}), 422, "idempotency_conflict")
    refused(ask(fetching, items, key="k"), 422, "idempotency_conflict")
    refused(
        fetching.client.post("/api/v1/batches", json={}, headers={"Idempotency-Key": "k"}), 422, "idempotency_conflict"
    )


def test_a_keys_limits_hold(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    token, _ = add(store, "anna", limits=KeyLimits(upload_mb=1, jobs_waiting=2))
    with keyed(tmp_path, store, origins=origins()) as running:
        running.client.headers["X-API-Key"] = token
        refused(ask(running, [GOOD] * 3), 429, "quota_exceeded")
        jobs = look(running, ask(running, [GOOD] * 2).json()["id"], "/items")["items"]
        stored = store.get(jobs[0]["id"])
        assert stored.owner == "anna" and stored.source.origin is not None
        assert stored.source.origin.max_bytes == 1 << 20
