"""Who may ask for what: every route of the app, without a key, with another's, with the owner's."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.routing import iter_route_contexts
from sqlalchemy import event
from starlette.routing import Mount
from starlette.types import Message

from api.access.identity import ADMIN, Identity, Tokens
from core.jobs.job import JobFailure
from core.store.protocols import JobStore, OwnerJobs
from core.store.sql import SqlStore
from core.system.clock import ManualClock
from core.transcript.formats import to_result
from tests.api.serving import Service, make_app, wav
from tests.api.test_results import TRANSCRIPT
from tests.api.test_submit import refused
from tests.core.store_kit import new_job, take

ANNA, BERT = (Identity(owner=name, scopes=frozenset({"jobs", "models"})) for name in ("anna", "bert"))
ROOT = Identity(owner="root", scopes=frozenset({ADMIN}))
TOKENS = Tokens({"key-of-anna": ANNA, "key-of-bert": BERT, "key-of-root": ROOT})

OPEN, FIGURES, ANYBODY, LIST, MAKE, JOB = "open", "figures", "anybody with a key", "list", "make", "job"
ROUTES = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/version"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("MOUNT", "/docs/static"): OPEN,
    ("GET", "/metrics"): FIGURES,
    ("GET", "/api/v1/models"): ANYBODY,
    ("GET", "/api/v1/system"): ANYBODY,
    ("GET", "/api/v1/jobs"): LIST,
    ("POST", "/api/v1/jobs"): MAKE,
    ("GET", "/api/v1/jobs/{job_id}"): JOB,
    ("DELETE", "/api/v1/jobs/{job_id}"): JOB,
    ("POST", "/api/v1/jobs/{job_id}/cancel"): JOB,
    ("POST", "/api/v1/jobs/{job_id}/retry"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/result"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/audio"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/peaks"): JOB,
}
"""What each route is. One that is not here may show somebody another's job: say what it is, and it is tried."""

FILE = "/docs/static/swagger-ui.css"
NOBODYS = "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f"


def spellings(path: str, job_id: str) -> tuple[str, ...]:
    """The first one of a job goes the short way past the framework (`api.events.status`), the others do not."""
    plain = path.replace("{job_id}", job_id)
    return plain, path.replace("{job_id}", job_id.upper()), f"{plain}?"


def of_kind(*kinds: str) -> list[tuple[str, str]]:
    return [route for route, kind in ROUTES.items() if kind in kinds]


def protocol(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


class Guarded(SqlStore):
    """Gives out the jobs of owners, and its own, which are everybody's, to nobody."""

    def __getattribute__(self, name: str) -> Any:
        assert name not in protocol(OwnerJobs), f"{name} was asked of no owner's jobs"
        return super().__getattribute__(name)


@pytest.fixture
def store() -> SqlStore:
    return SqlStore.in_memory(clock=ManualClock())


@pytest.fixture
def guarded(serve: Callable[..., Service], store: SqlStore) -> Service:
    return serve(store=Guarded(store.database), authenticator=TOKENS, measure=lambda job: bytes(40))


def ask(running: Service, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return running.client.request(method, path, headers=headers, **more)


def submit(running: Service, token: str, **more: Any) -> httpx.Response:
    headers = {"X-API-Key": token} | more.pop("headers", {})
    return running.client.post("/api/v1/jobs", files={"file": ("talk.wav", wav())}, headers=headers, **more)


def ready(running: Service, store: SqlStore, method: str, path: str) -> str:
    """Id of a job of Anna's for which the route has a good answer."""
    job_id: str = submit(running, "key-of-anna").json()["id"]
    if path.endswith("/retry"):
        failure = JobFailure(code="audio_undecodable", message="no", stage="decoding")
        store.fail(take(store), failure)
    elif path.endswith("/result"):
        claim = take(store)
        running.objects.put("r", io.BytesIO(json.dumps(to_result(TRANSCRIPT)).encode()))
        store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})
    return job_id


@contextmanager
def app_of(folder: Path, store: SqlStore) -> Iterator[FastAPI]:
    app = make_app(folder, store, authenticator=TOKENS)
    yield app
    app.state.parts.close()


def ask_from(
    app: FastAPI, path: str, *, host: str = "192.0.2.1", root_path: str = "", token: str = ""
) -> httpx.Response:
    """As from another machine."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(host, 1), root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers={"X-API-Key": token} if token else {})

    return asyncio.run(ask())


def connect(app: FastAPI, path: str, token: str = "", *, denial: bool = True) -> list[Message]:
    """What a WebSocket's client is sent. denial: the server can answer a refusal with a response"""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": path,
        "headers": [(b"x-api-key", token.encode())] if token else [],
        "query_string": b"",
        "client": ("192.0.2.1", 1),
        "extensions": {"websocket.http.response": {}} if denial else {},
    }
    asyncio.run(app(scope, receive, send))
    return sent


def same(one: httpx.Response, other: httpx.Response, job_id: str) -> bool:
    """Whether nothing tells the two answers apart but which job they are of."""

    def seen(answer: httpx.Response) -> tuple[Any, ...]:
        headers = {n: v for n, v in answer.headers.items() if n not in ("date", "x-request-id")}
        return answer.status_code, headers, answer.text.lower().replace(job_id, NOBODYS)

    return seen(one) == seen(other)


def test_every_route_is_known_here(tmp_path: Path) -> None:
    app = make_app(tmp_path, SqlStore.in_memory())
    found = set()
    for route in iter_route_contexts(app.routes):
        methods = {"MOUNT"} if isinstance(route.original_route, Mount) else route.methods or {"WEBSOCKET"}
        found |= {(method, route.path) for method in methods - {"HEAD"}}  # HEAD is a GET to all that follows
    app.state.parts.close()
    assert found == set(ROUTES), "say in ROUTES what it is"


def test_what_routes_can_reach_holds_no_store(tmp_path: Path) -> None:
    app = make_app(tmp_path, SqlStore.in_memory())
    parts = app.state.parts
    reached = [*vars(parts).values(), *vars(parts.deps).values()]
    assert not [value for value in reached if isinstance(value, SqlStore)]
    parts.close()
    assert not protocol(JobStore) & protocol(OwnerJobs), "what is typed as the store gives out no job by itself"


@pytest.mark.parametrize(("method", "path"), of_kind(ANYBODY, LIST, MAKE, JOB))
def test_without_a_key_that_is_known_nothing_is_answered(
    guarded: Service, store: SqlStore, method: str, path: str
) -> None:
    job_id = store.of("anna").create(new_job()).id
    for headers in ({}, {"Authorization": "Bearer no-key"}, {"Authorization": "Basic a2V5"}, {"X-API-Key": "no-key"}):
        for spelled in spellings(path, job_id):
            for verb in {method, "OPTIONS", "HEAD" if method == "GET" else method}:
                answer = guarded.client.request(verb, spelled, headers=headers)
                assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
                assert verb == "HEAD" or refused(answer, 401, "unauthorized")
    refused(guarded.client.get("/nothing/here"), 401, "unauthorized")


@pytest.mark.parametrize(("method", "path"), of_kind(OPEN))
def test_what_is_open_is_open(guarded: Service, method: str, path: str) -> None:
    path = FILE if method == "MOUNT" else path
    for token in (None, "no-key", "key-of-bert"):
        assert ask(guarded, "GET", path, token).status_code == ask(guarded, "HEAD", path, token).status_code == 200


@pytest.mark.parametrize(("method", "path"), of_kind(JOB))
def test_anothers_job_is_none(guarded: Service, store: SqlStore, method: str, path: str) -> None:
    job_id = ready(guarded, store, method, path)
    before = store.get(job_id)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", note)
    for theirs, none in zip(spellings(path, job_id), spellings(path, NOBODYS), strict=True):
        for verb in (method, "HEAD") if method == "GET" else (method,):
            asked = []
            for one in (theirs, none):
                statements.clear()
                asked.append((ask(guarded, verb, one, "key-of-bert"), [*statements]))
            (refusal, looked), (usual, looked_usually) = asked
            assert refusal.status_code == 404 and same(refusal, usual, job_id)
            assert looked == looked_usually != [], "how it is looked for tells nothing either"
    event.remove(store.database.engine, "before_cursor_execute", note)
    assert store.get(job_id) == before
    assert ask(guarded, method, path.replace("{job_id}", job_id), "key-of-anna").is_success


@pytest.mark.parametrize(("method", "path"), of_kind(JOB))
def test_an_administrator_sees_everybodys(guarded: Service, store: SqlStore, method: str, path: str) -> None:
    job_id = ready(guarded, store, method, path)
    answer = ask(guarded, method, path.replace("{job_id}", job_id), "key-of-root")
    assert answer.is_success
    if path.endswith("/retry"):
        assert store.get(answer.json()["id"]).owner == "anna", "the file is hers"


def test_lists_are_ones_own(guarded: Service) -> None:
    def listed(token: str, **query: Any) -> list[str]:
        return [job["id"] for job in ask(guarded, "GET", "/api/v1/jobs", token, params=query).json()["items"]]

    annas, berts, roots = (submit(guarded, f"key-of-{name}").json()["id"] for name in ("anna", "bert", "root"))
    assert (listed("key-of-anna"), listed("key-of-bert", status="queued")) == ([annas], [berts])
    assert listed("key-of-root") == [roots, berts, annas]
    cursor = ask(guarded, "GET", "/api/v1/jobs?limit=2", "key-of-root").json()["next"]
    assert listed("key-of-bert", after=cursor) == [], "what comes after is Anna's"


def test_the_same_idempotency_key_of_two_owners_is_two_keys(guarded: Service, store: SqlStore) -> None:
    first, other, again = (
        submit(guarded, f"key-of-{n}", headers={"Idempotency-Key": "k"}) for n in ("anna", "bert", "anna")
    )
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert [store.get(answer.json()["id"]).owner for answer in (first, other)] == ["anna", "bert"]


def test_figures_are_for_this_machine_and_for_administrators(guarded: Service, tmp_path: Path) -> None:
    assert (
        ask(guarded, "GET", "/metrics").status_code == ask(guarded, "GET", "/metrics", "key-of-bert").status_code == 200
    )
    with app_of(tmp_path, SqlStore.in_memory()) as app:
        refused(ask_from(app, "/metrics"), 401, "unauthorized")
        refused(ask_from(app, "/metrics", token="key-of-bert"), 403, "forbidden")
        assert ask_from(app, "/metrics", token="key-of-root").status_code == 200


@pytest.mark.parametrize(
    "path", ["/healthz/../api/v1/jobs", "/docs/static/../../api/v1/jobs", "//healthz", "/healthz/", "/docs/static"]
)
def test_no_way_round_through_what_is_open(guarded: Service, path: str) -> None:
    wire = http.client.HTTPConnection(guarded.host, guarded.port, timeout=10)  # sends what it is given
    for spelled in (path, path.replace("..", "%2e%2e"), path.replace("/..", "%2f..")):
        wire.request("GET", spelled)
        answer = wire.getresponse()
        assert answer.status in (401, 404), answer.read()
        answer.read()
    wire.close()


def test_behind_a_proxy_that_serves_a_sub_path(tmp_path: Path, store: SqlStore) -> None:
    job_id = store.of("anna").create(new_job()).id
    with app_of(tmp_path, Guarded(store.database)) as app:
        assert ask_from(app, "/speech/healthz", root_path="/speech").status_code == 200
        for name, status in (("anna", 200), ("bert", 404), ("nobody", 401)):
            path = f"/speech/api/v1/jobs/{job_id}"
            assert ask_from(app, path, root_path="/speech", token=f"key-of-{name}").status_code == status


def test_a_websocket_needs_a_key_and_has_its_id_and_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(str(socket.scope["identity"].owner))
        await socket.close()

    with app_of(tmp_path, SqlStore.in_memory()) as app, caplog.at_level(logging.INFO, "api.http.middleware"):
        app.add_api_websocket_route("/live", live)
        start, body = connect(app, "/live")
        assert (start["status"], json.loads(body["body"])["code"]) == (401, "unauthorized")
        assert connect(app, "/live", denial=False) == [
            {"type": "websocket.close", "code": 1008, "reason": "unauthorized"}
        ]
        accept, said, _ = connect(app, "/live", "key-of-anna")
        assert (accept["type"], said["text"]) == ("websocket.accept", "anna")
    lines = [record.getMessage() for record in caplog.records if "WEBSOCKET /live" in record.getMessage()]
    assert [line.partition(" in ")[0] for line in lines] == [f"WEBSOCKET /live -> {n}" for n in (401, 403, 101)]
    for line, message in ((lines[0], start), (lines[2], accept)):
        assert dict(message["headers"])[b"x-request-id"].decode() in line
