"""Administrators make, see and revoke keys over the API; what the installation keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.access.key_table import FRESH_SECONDS
from core.jobs.job import JobFailure
from core.keys import ADMIN, digest, key_of, new_token
from core.store.sql import SqlStore
from tests.api.keyed import Clock, add, keyed
from tests.api.serving import Service, wav
from tests.api.test_submit import refused
from tests.core.store_kit import new_job, take

KEYS, SESSION = "/api/v1/keys", "/api/v1/session"
GIVEN = new_token()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def running(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    with keyed(tmp_path, SqlStore.in_memory(), clock=clock) as service:
        yield service


def as_admin(running: Service) -> str:
    """Id of an administrator's key, which the client sends from now on."""
    token, key = add(running.store, "root", scopes=[ADMIN])
    running.client.headers["X-API-Key"] = token
    return key.id


def test_the_first_key_shuts_the_door(running: Service, clock: Clock) -> None:
    assert running.client.get(KEYS).json()["items"] == []
    refused(running.client.delete(f"{KEYS}/none"), 404, "key_not_found")
    refused(running.client.post(KEYS, json={"name": "anna"}), 409, "no_admin_left")
    assert not running.store.has_keys(), "it was not made"
    text = json.dumps({"name": "anna", "scopes": ["admin"]})
    refused(running.client.post(KEYS, content=text, headers={"Content-Type": "text/plain"}), 422, "validation")
    made = running.client.post(KEYS, json={"name": "root", "scopes": ["admin"]})
    assert made.status_code == 201 and made.headers["Cache-Control"] == "no-store"
    body = made.json()
    assert (body["owner"], body["scopes"], body["state"], body["expires_at"]) == ("root", ["admin"], "good", None)
    # for a second it is not known here that there is one, but nobody makes another meanwhile
    refused(running.client.post(KEYS, json={"name": "late", "scopes": ["admin"]}), 401, "unauthorized")
    refused(running.client.delete(f"{KEYS}/{body['id']}?force=true"), 401, "unauthorized")
    clock.seconds += FRESH_SECONDS + 0.1
    refused(running.client.get(KEYS), 401, "unauthorized")
    assert running.client.post(SESSION, headers={"X-API-Key": body["key"]}).json()["owner"] == "root"
    assert [key["current"] for key in running.client.get(KEYS).json()["items"]] == [True]


def test_a_first_key_that_is_no_administrators_where_that_is_meant(running: Service) -> None:
    assert running.client.post(f"{KEYS}?force=true", json={"name": "anna"}).json()["scopes"] == ["jobs", "models"]


def test_a_key_is_shown_once_and_never_again(running: Service, caplog: pytest.LogCaptureFixture) -> None:
    as_admin(running)
    limits = {"requests_per_minute": 60, "jobs_waiting": None, "audio_seconds_per_day": 3600.0, "upload_mb": 0.0}
    wish = {"name": "Anna B.", "owner": "lab", "scopes": ["jobs"], "expires_in": 3600, "limits": limits}
    with caplog.at_level("DEBUG"):
        made = running.client.post(KEYS, json=wish).json()
    token = made["key"]
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert {name: made[name] for name in ("name", "owner", "scopes", "limits")} == {
        k: wish[k] for k in ("name", "owner", "scopes", "limits")
    }
    assert running.client.get(SESSION, headers={"X-API-Key": token}).json()["owner"] == "lab"
    listed = running.client.get(KEYS)
    root, anna = listed.json()["items"]
    assert (root["current"], anna["current"], anna["id"], anna["name"]) == (True, False, made["id"], "Anna B.")
    secret = token.rpartition("_")[2]
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    for shown in (listed.text, ours):
        assert secret not in shown and digest(secret) not in shown
    assert f"Key {made['id']} was made by key {root['id']}" in ours


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": " a"}, "name"),
        ({"name": "a", "owner": "b,c"}, "owner"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes"),
        ({"name": "a", "expires_in": 0}, "expires_in"),
        ({"name": "a", "expires_in": 1e30}, "expires_in"),
        ({"name": "a", "limits": {"speed": 3}}, "limits.speed"),
        ({"name": "a", "limits": {"jobs_waiting": -1}}, "limits.jobs_waiting"),
        ({"name": "a", "digest": "x"}, "digest"),
    ],
)
def test_what_makes_no_key(running: Service, wish: dict[str, Any], field: str) -> None:
    as_admin(running)
    said = refused(running.client.post(KEYS, json=wish), 422, "validation")
    assert [error["field"].partition(".0")[0] for error in said["errors"]] == [field]
    assert len(running.store.keys()) == 1


def test_revoking(running: Service, clock: Clock) -> None:
    root = as_admin(running)
    token, anna = add(running.store, "anna")
    cookie = running.client.post(SESSION, headers={"X-API-Key": token}).cookies
    gone = running.client.delete(f"{KEYS}/{anna.id}").json()
    assert (gone["state"], gone["id"]) == ("revoked", anna.id)
    assert running.client.delete(f"{KEYS}/{anna.id}").json() == gone, "the first time counts"
    clock.seconds += FRESH_SECONDS + 0.1
    alone = running.client.headers.pop("X-API-Key")
    refused(running.client.get(SESSION, headers={"X-API-Key": token}), 401, "unauthorized")
    refused(
        running.client.get(SESSION, headers={"Cookie": f"parascribe_session={cookie['parascribe_session']}"}),
        401,
        "unauthorized",
    )
    running.client.cookies.clear()
    running.client.headers["X-API-Key"] = alone
    refused(running.client.delete(f"{KEYS}/nobody"), 404, "key_not_found")
    refused(running.client.delete(f"{KEYS}/{root}"), 409, "no_admin_left")
    refused(running.client.delete(f"{KEYS}/{root}?really=1"), 422, "validation")
    assert running.client.get(KEYS).json()["items"][0]["state"] == "good"
    assert running.client.delete(f"{KEYS}/{root}?force=true").json()["state"] == "revoked"


def test_keys_of_the_settings_are_listed_as_such(tmp_path: Path) -> None:
    given = (key_of(GIVEN, "program"),)
    settings = {"api_keys": f"program:{GIVEN}", "limit_jobs_waiting": 7}
    with keyed(tmp_path, SqlStore.in_memory(), given=given, settings=settings) as running:
        refused(running.client.get(KEYS, headers={"X-API-Key": GIVEN}), 403, "forbidden")
        as_admin(running)
        listed = running.client.get(KEYS).json()
        assert listed["limits"]["jobs_waiting"] == 7
        assert [(key["id"], key["in_settings"], key["state"]) for key in listed["items"]][1] == (
            given[0].id,
            True,
            "good",
        )
        assert listed["items"][1]["created_at"] is None
        refused(running.client.delete(f"{KEYS}/{given[0].id}"), 409, "key_in_settings")


def test_what_is_kept(serve: Callable[..., Service], tmp_path: Path) -> None:
    running = serve(settings={"retention_hours": 48.0, "audio_retention_hours": 12.0})
    running.submit(wav(1000))
    store = running.store
    store.fail(take(store), JobFailure(code="audio_undecodable", message="no", stage="decoding"))
    jobs = store.of(None)
    (job,) = jobs.list(limit=9)[0]
    assert running.client.post(f"/api/v1/jobs/{job.id}/retry").status_code == 202, "it shares the file"
    found = running.client.get("/api/v1/storage").json()
    assert (found["place"], found["sources"], found["results"]) == (
        "folder",
        {"count": 1, "bytes": 1000},
        {"count": 0, "bytes": None},
    )
    assert found["uploads"] == {"count": 0, "bytes": 0} and found["models"]["count"] == 1, "the demo model"
    assert found["retention"] == {"audio_hours": 12.0, "result_hours": 48.0}
    assert 0 < found["disk"]["free_bytes"] < found["disk"]["total_bytes"] and found["database_bytes"] is None
    store.of(None).create(new_job())
    again = running.client.get("/api/v1/storage").json()
    assert again["counted_at"] == found["counted_at"] and again["sources"] == found["sources"], "once a minute"
