"""From the first key on everybody needs one; what changes is seen within a second; browsers have cookies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from api.access.credentials import COOKIE, from_own_page
from api.access.key_table import FRESH_SECONDS, USED_SECONDS, KeyTable
from api.access.keys import SESSION_HOURS, KeyAuthenticator
from core.errors import DatabaseUnavailable, Forbidden, Unauthorized
from core.keys import ADMIN, JOBS, key_of, new_token
from core.store.sql import SqlStore
from tests.api.keyed import Clock, CountingStore, add, counting, keyed
from tests.api.serving import Service, wav
from tests.api.test_submit import refused
from tests.core.store_kit import new_job

JOBS_PATH = "/api/v1/jobs"
SESSION = "/api/v1/session"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> CountingStore:
    return counting()


@pytest.fixture
def running(tmp_path: Path, store: CountingStore, clock: Clock) -> Iterator[Service]:
    with keyed(tmp_path, store, clock=clock) as service:
        yield service


def get(running: Service, token: str = "", path: str = JOBS_PATH) -> httpx.Response:
    return running.client.get(path, headers={"X-API-Key": token} if token else {})


# --- from the first key on


def test_without_any_key_nobody_needs_one(running: Service) -> None:
    assert get(running).status_code == get(running, "whatever").status_code == 200
    who = {"needed": False, "owner": None, "scopes": ["admin", "jobs", "models"], "expires_at": None}
    assert get(running, path=SESSION).json() == who
    answer = running.client.post(SESSION)
    assert answer.json() == who and "set-cookie" not in answer.headers


def test_from_the_first_key_on_everybody_needs_one(running: Service, store: CountingStore, clock: Clock) -> None:
    job_id = running.submit().json()["id"]
    token, key = add(store)
    clock.seconds += FRESH_SECONDS + 0.1
    refused(get(running), 401, "unauthorized")
    assert get(running, token).json()["items"] == [], "what was made before is nobody's"
    admin, _ = add(store, "root", scopes=[ADMIN])
    assert [job["id"] for job in get(running, admin).json()["items"]] == [job_id]
    store.revoke(key.id)
    clock.seconds += FRESH_SECONDS + 0.1
    refused(get(running, token), 401, "unauthorized")
    refused(get(running), 401, "unauthorized")


def test_where_others_can_reach_it_nobody_comes_in_without_a_key(tmp_path: Path, store: CountingStore) -> None:
    with keyed(tmp_path, store, open_without_keys=False) as running:
        refused(get(running), 401, "unauthorized")
        refused(get(running, new_token()), 401, "unauthorized")
        assert running.client.get("/healthz").status_code == 200


def test_keys_that_are_in_no_table(tmp_path: Path, store: CountingStore) -> None:
    token = new_token()
    with keyed(tmp_path, store, given=(key_of(token, "anna"),)) as running:
        refused(get(running), 401, "unauthorized")
        assert get(running, token, SESSION).json() == {
            "needed": True,
            "owner": "anna",
            "scopes": ["jobs", "models"],
            "expires_at": None,
        }
        other, _ = add(store, "bert")
        assert get(running, other, SESSION).json()["owner"] == "bert"
        cookie = running.client.post(SESSION, headers={"X-API-Key": token})
        assert cookie.json()["owner"] == running.client.get(SESSION).json()["owner"] == "anna"


# --- seen within a second


def test_a_new_key_is_good_at_once_and_a_revoked_one_for_a_second_at_most(
    running: Service, store: CountingStore, clock: Clock
) -> None:
    _, first = add(store, "bert")
    assert get(running).status_code == 401
    token, key = add(store)
    assert get(running, token).status_code == 200
    looks = store.looks
    store.revoke(key.id)
    assert get(running, token).status_code == 200 and store.looks == looks, "known for a second, without asking"
    clock.seconds += FRESH_SECONDS + 0.1
    assert "revoked" in refused(get(running, token), 401, "unauthorized")["detail"]
    bearer = running.client.get(JOBS_PATH, headers={"Authorization": f"bearer  {token}"})
    assert "revoked" in refused(bearer, 401, "unauthorized")["detail"]


def test_a_key_in_use_is_noted_once_a_minute(running: Service, store: CountingStore, clock: Clock) -> None:
    token, key = add(store)
    for _ in range(3):
        assert get(running, token).status_code == 200
    assert store.noted.acquire(timeout=10)
    used = store.keys()[0].used_at
    clock.seconds += USED_SECONDS
    assert get(running, token).status_code == 200
    assert store.noted.acquire(timeout=10)
    again = store.keys()[0].used_at
    assert used is not None and again is not None and again > used
    assert not store.noted.acquire(blocking=False)
    assert store.keys()[0].id == key.id


@pytest.mark.parametrize(
    ("host", "origin", "comes_in"),
    [
        ("127.0.0.1:8000", None, True),
        ("localhost", None, True),
        ("parascribe.localhost:1", "http://parascribe.localhost:1", True),
        ("[::1]:8000", None, True),
        (None, None, True),  # HTTP/1.0
        ("rebound.example:8000", None, False),
        ("rebound.example:8000", "http://rebound.example:8000", False),
        ("127.0.0.1:8000", "https://evil.example", False),
        ("127.0.0.1:8000", "null", False),
        ("192.168.1.7:8000", None, False),
        ("[::1", None, False),
        ("", None, False),
    ],
)
def test_without_keys_no_page_of_the_internet_reaches_it(host: str | None, origin: str | None, comes_in: bool) -> None:
    store = SqlStore.in_memory()
    table = KeyTable(store, clock=Clock())
    given = {b"host": host, b"origin": origin}
    headers = [(name, value.encode()) for name, value in given.items() if value is not None]
    request = Request({"type": "http", "method": "GET", "scheme": "http", "headers": headers})

    async def ask(**how: bool) -> bool:
        try:
            return (await KeyAuthenticator(table, **how).identify(request)).all_jobs
        except Forbidden:
            return False

    assert asyncio.run(ask(this_machine_only=True)) is comes_in
    assert asyncio.run(ask()), "ALLOW_OPEN=true"
    token, _ = add(store)
    request.scope["headers"].append((b"x-api-key", token.encode()))
    keyed_table = KeyTable(store, clock=Clock())
    assert asyncio.run(KeyAuthenticator(keyed_table, this_machine_only=True).identify(request)).owner == "anna"
    table.close()
    keyed_table.close()


def test_an_expired_key() -> None:
    store = SqlStore.in_memory()
    token, key = add(store, expires_at=datetime.now(UTC) + timedelta(hours=1))
    moment = datetime.now(UTC)
    table = KeyTable(store, clock=Clock())
    authenticator = KeyAuthenticator(table, now=lambda: moment)
    request = Request({"type": "http", "method": "GET", "headers": [(b"x-api-key", token.encode())]})

    async def ask() -> None:
        nonlocal moment
        assert (await authenticator.identify(request)).key_id == key.id
        moment += timedelta(hours=1)
        with pytest.raises(Unauthorized, match="expired"):
            await authenticator.identify(request)

    asyncio.run(ask())
    table.close()


def test_many_at_once_share_few_looks(store: CountingStore) -> None:
    add(store)
    table = KeyTable(store, clock=Clock())

    async def ask() -> None:
        states = await asyncio.gather(*(table.look() for _ in range(100)))
        assert all(state is states[0] for state in states)

    asyncio.run(ask())
    assert store.looks <= 2
    table.close()


class Away(SqlStore):
    """A database that goes away."""

    away = False

    def key_state(self, known: str | None):
        if self.away:
            raise DatabaseUnavailable("The database cannot be used: gone")
        return super().key_state(known)


def test_while_the_database_is_away_nobody_comes_in_on_old_knowledge(tmp_path: Path, clock: Clock) -> None:
    store = Away(SqlStore.in_memory().database)
    token, _ = add(store)
    with keyed(tmp_path, store, clock=clock) as running:
        assert get(running, token, "/api/v1/system").status_code == 200
        store.away = True
        clock.seconds += FRESH_SECONDS + 0.1
        assert refused(get(running, token, "/api/v1/system"), 503, "internal")
        assert running.client.get("/healthz").status_code == 200
        store.away = False
        assert get(running, token, "/api/v1/system").status_code == 200


def test_requests_at_once_with_good_and_bad_keys(running: Service, store: CountingStore) -> None:
    tokens = [add(store, f"user {n}")[0] for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        good = pool.map(lambda token: get(running, token, SESSION).json()["owner"], tokens * 5)
        bad = pool.map(
            lambda token: get(running, token[:-1] + ("a" if token[-1] != "a" else "b")).status_code, tokens * 5
        )
    assert [*good] == [f"user {n}" for n in range(8)] * 5 and {*bad} == {401}


# --- browsers


def log_in(running: Service, token: str) -> httpx.Response:
    return running.client.post(SESSION, headers={"Authorization": f"Bearer {token}"})


def origin(running: Service) -> dict[str, str]:
    return {"Origin": f"http://127.0.0.1:{running.port}"}


def test_a_session_stands_for_its_key(running: Service, store: CountingStore) -> None:
    token, _ = add(store, scopes=[JOBS])
    answer = log_in(running, token)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/;" in f"{cookie};" and "Secure" not in cookie
    assert token not in cookie and token[13:] not in cookie
    ends = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=SESSION_HOURS) - ends < timedelta(minutes=1)
    assert running.client.get(SESSION).json()["owner"] == "anna"
    assert running.client.get(JOBS_PATH).status_code == 200
    made = running.client.post(JOBS_PATH, files={"file": ("talk.wav", wav())}, headers=origin(running))
    assert store.get(made.json()["id"]).owner == "anna"


def test_what_changes_something_needs_our_own_origin(running: Service, store: CountingStore) -> None:
    token, _ = add(store)
    log_in(running, token)
    job_id = store.of("anna").create(new_job()).id
    for given in (
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://127.0.0.1:{running.port + 1}"},
    ):
        for method, path in (
            ("POST", JOBS_PATH),
            ("POST", f"{JOBS_PATH}/{job_id}/cancel"),
            ("DELETE", f"{JOBS_PATH}/{job_id}"),
            ("DELETE", SESSION),
        ):
            refused(running.client.request(method, path, headers=given), 403, "forbidden")
    assert store.get(job_id).version == 1
    assert (
        running.client.delete(f"{JOBS_PATH}/{job_id}", headers={"Authorization": f"Bearer {token}"}).status_code == 204
    ), "a key is nothing that a browser sends by itself"


def test_logging_out_ends_the_session(running: Service, store: CountingStore, clock: Clock) -> None:
    token, _ = add(store)
    log_in(running, token)
    cookie = running.client.cookies[COOKIE]
    assert running.client.delete(SESSION, headers=origin(running)).status_code == 204
    assert COOKIE not in running.client.cookies
    clock.seconds += FRESH_SECONDS + 0.1
    refused(running.client.get(SESSION, headers={"Cookie": f"{COOKIE}={cookie}"}), 401, "unauthorized")
    state = store.key_state(None)
    assert state is not None and state.sessions == {}


def test_a_session_ends_with_its_key(running: Service, store: CountingStore, clock: Clock) -> None:
    token, key = add(store)
    log_in(running, token)
    store.revoke(key.id)
    clock.seconds += FRESH_SECONDS + 0.1
    refused(running.client.get(SESSION), 401, "unauthorized")


def test_a_session_is_begun_with_a_key(running: Service, store: CountingStore) -> None:
    token, _ = add(store)
    refused(running.client.post(SESSION), 401, "unauthorized")
    log_in(running, token)
    refused(running.client.post(SESSION, headers=origin(running)), 403, "forbidden")


@pytest.mark.parametrize(
    ("scheme", "host", "given", "own"),
    [
        ("http", "a.example:8000", "http://a.example:8000", True),
        ("http", "A.example", "https://a.example", True),  # TLS ends before us
        ("https", "a.example", "https://a.example", True),
        ("https", "a.example", "http://a.example", False),
        ("wss", "a.example", "https://a.example", True),
        ("http", "a.example", "http://b.example", False),
        ("http", "a.example", "http://a.example.evil.example", False),
        ("http", "a.example", "http://a.example@evil.example", False),
        ("http", "a.example", "null", False),
        ("http", "a.example", "", False),
        ("http", "", "http://", False),
        ("http", "[", "http://[", False),
    ],
)
def test_whose_page_it_is(scheme: str, host: str, given: str, own: bool) -> None:
    headers = [(b"host", host.encode()), (b"origin", given.encode())]
    assert from_own_page(Request({"type": "http", "scheme": scheme, "headers": headers})) is own


def test_the_cookie_is_for_tls_where_there_is_tls(tmp_path: Path, store: CountingStore) -> None:
    token, _ = add(store)
    with keyed(tmp_path, store) as running:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-Proto": "https"}
        assert "Secure" in running.client.post(SESSION, headers=headers).headers["set-cookie"]
