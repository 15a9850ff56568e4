"""Who may ask for what: every route of the app, without a key, with another's, with the owner's."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.routing import iter_route_contexts
from sqlalchemy import event
from starlette.routing import Mount
from starlette.types import Message
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket

from api.access.authentication import METRICS
from api.access.authentication import OPEN as OPEN_PATHS
from api.access.key_table import KeyTable
from api.access.keys import KeyAuthenticator
from api.access.scopes import declared
from api.events import follower
from api.live.scripted import ScriptedLinks
from api.page.files import page
from core.errors import JobNotFound
from core.jobs.job import JobFailure, new_id
from core.keys import ADMIN, JOBS, MODELS, Key, key_of, new_token
from core.store.owners import OwnerBatches, OwnerJobs
from core.store.protocols import JobStore
from core.store.sql import SqlStore
from core.system.clock import ManualClock
from core.transcript.formats import to_result
from core.transcript.values import Speaker
from core.webhooks import EVENTS, Webhook, new_secret
from tests.api.serving import Service, make_app, service, wav
from tests.api.talks import following
from tests.api.test_results import TRANSCRIPT
from tests.api.test_submit import refused
from tests.core.store_kit import new_job, take

KEY = {name: f"psk_{name:0<8}_{name[0] * 32}" for name in ("anna", "bert", "root", "models", "late", "gone", "nobody")}
"""Keys by name: Anna's and Bert's, an administrator's, one that is for models alone, an expired and a revoked one of Anna's, and
one that is not known."""
OWNER = {"late": "anna", "gone": "anna"}
SCOPES = {"root": [ADMIN], "models": [MODELS]}

OPEN, FIGURES, MODEL, SELF, LIST, MAKE, JOB = "open", "figures", "models", "who asks", "list", "make", "job"
BATCH, HOOK, VOICE = "batch", "webhook", "a voice, tried in test_voices.py"
NEEDS = {MODEL: {JOBS, MODELS}, SELF: set(), LIST: {JOBS}, MAKE: {JOBS}, JOB: {JOBS}, BATCH: {JOBS}, HOOK: {JOBS}}
ADMINS = "administrators'"
NEEDS |= {VOICE: {JOBS}, ADMINS: {ADMIN}}
"""The scopes one of which lets in; without any, any key does."""
SOCKET, FOREIGN, FOREIGN_LIST = "a job's WebSocket", "OpenAI's, with errors of their shape", "OpenAI's list of models"
SIMPLE, TASK = "other people's, with our code beside their words", "the same, of one job"
LISTEN, FOREIGN_SOCKET = (
    "Deepgram's, with errors of their shape",
    "other people's WebSocket, with errors of their shape",
)
UPLOAD = "an upload in parts, tried in test_uploads.py"
STREAM = "a live stream, tried in test_live_route.py"
OTHERS = {
    SOCKET: {JOBS},
    STREAM: {JOBS},
    FOREIGN: {JOBS},
    LISTEN: {JOBS},
    FOREIGN_SOCKET: {JOBS},
    FOREIGN_LIST: {JOBS, MODELS},
    UPLOAD: {JOBS},
    SIMPLE: {JOBS},
    TASK: {JOBS},
}
"""Those that refuse in another way, and have tests of their own."""
ROUTES = {
    ("GET", "/"): OPEN,
    ("GET", "/favicon.ico"): OPEN,
    ("GET", "/page/{version}/{name:path}"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/version"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("MOUNT", "/docs/static"): OPEN,
    ("GET", "/metrics"): FIGURES,
    ("GET", "/api/v1/models"): MODEL,
    ("GET", "/api/v1/system"): MODEL,
    ("GET", "/api/v1/features"): MODEL,
    ("GET", "/api/v1/stats"): LIST,
    ("GET", "/api/v1/storage"): ADMINS,
    ("GET", "/api/v1/keys"): ADMINS,
    ("POST", "/api/v1/keys"): ADMINS,
    ("DELETE", "/api/v1/keys/{key_id}"): ADMINS,
    ("GET", "/api/v1/session"): SELF,
    ("POST", "/api/v1/session"): SELF,
    ("DELETE", "/api/v1/session"): SELF,
    ("GET", "/api/v1/jobs"): LIST,
    ("GET", "/api/v1/search"): LIST,
    ("POST", "/api/v1/jobs"): MAKE,
    ("OPTIONS", "/api/v1/uploads"): LIST,
    ("POST", "/api/v1/uploads"): MAKE,
    ("GET", "/api/v1/uploads/{upload_id}"): UPLOAD,
    ("PATCH", "/api/v1/uploads/{upload_id}"): UPLOAD,
    ("DELETE", "/api/v1/uploads/{upload_id}"): UPLOAD,
    ("GET", "/api/v1/jobs/{job_id}"): JOB,
    ("DELETE", "/api/v1/jobs/{job_id}"): JOB,
    ("POST", "/api/v1/jobs/{job_id}/cancel"): JOB,
    ("POST", "/api/v1/jobs/{job_id}/retry"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/result"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/transcript"): JOB,
    ("PUT", "/api/v1/jobs/{job_id}/transcript"): JOB,
    ("PATCH", "/api/v1/jobs/{job_id}/speakers"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/events"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/segments"): JOB,
    ("GET", "/api/v1/events"): LIST,
    ("WEBSOCKET", "/api/v1/jobs/{job_id}/ws"): SOCKET,
    ("WEBSOCKET", "/api/v1/live"): STREAM,
    ("POST", "/v1/audio/transcriptions"): FOREIGN,
    ("POST", "/v1/audio/translations"): FOREIGN,
    ("GET", "/v1/models"): FOREIGN_LIST,
    ("GET", "/v1/models/{model:path}"): FOREIGN_LIST,
    ("WEBSOCKET", "/v1/realtime"): FOREIGN_SOCKET,
    ("POST", "/v1/realtime/client_secrets"): FOREIGN,
    ("POST", "/v1/realtime/transcription_sessions"): FOREIGN,
    ("POST", "/v1/listen"): LISTEN,
    ("WEBSOCKET", "/v1/listen"): FOREIGN_SOCKET,
    ("POST", "/inference"): SIMPLE,
    ("POST", "/load"): SIMPLE,
    ("POST", "/asr"): SIMPLE,
    ("POST", "/detect-language"): SIMPLE,
    ("POST", "/api/v1/parallel/transcribe"): SIMPLE,
    ("POST", "/api/v1/parallel/transcribe/async"): SIMPLE,
    ("POST", "/api/v1/parallel/batch"): SIMPLE,
    ("GET", "/api/v1/parallel/stats"): SIMPLE,
    ("GET", "/api/v1/parallel/features"): SIMPLE,
    ("GET", "/api/v1/parallel/status/{task_id}"): TASK,
    ("GET", "/api/v1/parallel/result/{task_id}"): TASK,
    ("GET", "/api/v1/jobs/{job_id}/audio"): JOB,
    ("GET", "/api/v1/jobs/{job_id}/peaks"): JOB,
    ("GET", "/api/v1/voices"): LIST,
    ("POST", "/api/v1/voices"): MAKE,
    ("DELETE", "/api/v1/voices/{name:path}"): VOICE,
    ("GET", "/api/v1/webhooks"): LIST,
    ("POST", "/api/v1/webhooks"): MAKE,
    ("GET", "/api/v1/webhooks/{webhook_id}"): HOOK,
    ("DELETE", "/api/v1/webhooks/{webhook_id}"): HOOK,
    ("POST", "/api/v1/webhooks/{webhook_id}/rotate"): HOOK,
    ("POST", "/api/v1/webhooks/{webhook_id}/resume"): HOOK,
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"): HOOK,
    ("POST", "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"): HOOK,
    ("GET", "/api/v1/batches"): LIST,
    ("POST", "/api/v1/batches"): MAKE,
    ("GET", "/api/v1/batches/{batch_id}"): BATCH,
    ("DELETE", "/api/v1/batches/{batch_id}"): BATCH,
    ("GET", "/api/v1/batches/{batch_id}/items"): BATCH,
    ("GET", "/api/v1/batches/{batch_id}/results.zip"): BATCH,
    ("POST", "/api/v1/batches/{batch_id}/close"): BATCH,
    ("POST", "/api/v1/batches/{batch_id}/cancel"): BATCH,
    ("POST", "/api/v1/batches/{batch_id}/retry"): BATCH,
}
"""What each route is. One that is not here may show somebody another's job: say what it is, and it is tried."""

FILES = {
    "/docs/static": "/docs/static/swagger-ui.css",
    "/page/{version}/{name:path}": f"/page/{page().version}/app/main.js",
}
"""One of each place of files."""
NOBODYS = "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f"


def spellings(path: str, job_id: str) -> tuple[str, ...]:
    """The first one of a job goes the short way past the framework (`api.events.status`), the others do not."""
    plain, other = (re.sub(r"{(job|batch)_id}", one, path) for one in (job_id, job_id.upper()))
    return plain, other, f"{plain}?"


def of_kind(*kinds: str) -> list[tuple[str, str]]:
    return [route for route, kind in ROUTES.items() if kind in kinds]


def protocol(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


class Guarded(SqlStore):
    """Gives out the jobs of owners, and its own, which are everybody's, to nobody."""

    def __getattribute__(self, name: str) -> Any:
        assert name not in protocol(OwnerJobs), f"{name} was asked of no owner's jobs"
        return super().__getattribute__(name)


class Quiet(KeyTable):
    """Asks the database for what a request is refused for, and else never."""

    def __init__(self, store: SqlStore) -> None:
        super().__init__(store, clock=lambda: 0.0)

    def used(self, key: Key) -> None: ...


@pytest.fixture
def store() -> SqlStore:
    return with_keys(SqlStore.in_memory(clock=ManualClock()))


@pytest.fixture
def guarded(serve: Callable[..., Service], store: SqlStore) -> Iterator[Service]:
    table = Quiet(store)
    yield serve(store=Guarded(store.database), authenticator=KeyAuthenticator(table), measure=lambda job: bytes(40))
    table.close()


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all that is refused, which changes nothing; its store is the plain one."""
    store = with_keys(SqlStore.in_memory(clock=ManualClock()))
    table = Quiet(store)
    parts: dict[str, Any] = {"authenticator": KeyAuthenticator(table), "measure": lambda job: bytes(40)}
    with service(tmp_path_factory.mktemp("shut"), store=Guarded(store.database), **parts) as running:
        yield replace(running, store=store)
    table.close()


def with_keys(store: SqlStore) -> SqlStore:
    for name in KEY.keys() - {"nobody"}:
        expires = datetime.now(UTC) - timedelta(seconds=1) if name == "late" else None
        scopes = SCOPES.get(name, [JOBS, MODELS])
        store.add_key(key_of(KEY[name], name, owner=OWNER.get(name), scopes=scopes, expires_at=expires))
    store.revoke(KEY["gone"][4:12])
    return store


def ask(running: Service, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= more.pop("headers", {})
    return running.client.request(method, path, headers=headers, **more)


def submit(running: Service, token: str, **more: Any) -> httpx.Response:
    headers = {"X-API-Key": token} | more.pop("headers", {})
    return running.client.post("/api/v1/jobs", files={"file": ("talk.wav", wav())}, headers=headers, **more)


def state(store: SqlStore, some_id: str) -> Any:
    """Of a job or a batch."""
    try:
        return store.get(some_id)
    except JobNotFound:
        return store.batches_of("root", all_jobs=True).tally(some_id)


def ready(running: Service, store: SqlStore, method: str, path: str) -> str:
    """Id of a job, or of a batch with a job, of Anna's for which the route has a good answer."""
    batch_id = ""
    if "{batch_id}" in path:
        batch_id = ask(running, "POST", "/api/v1/batches", KEY["anna"], json={}).json()["id"]
    job_id: str = submit(running, KEY["anna"], data={"batch": batch_id} if batch_id else {}).json()["id"]
    if path.endswith("/retry"):
        failure = JobFailure(code="audio_undecodable", message="no", stage="decoding")
        store.fail(take(store), failure)
    elif path.endswith(("/result", "/transcript", "/speakers", "/events", "/segments", "/ws", "/results.zip")):
        claim = take(store)
        spoken = replace(TRANSCRIPT, speakers=(Speaker(id="SPEAKER_00", name="SPEAKER_00", seconds=1.0),))
        running.objects.put("r", io.BytesIO(json.dumps(to_result(spoken)).encode()))
        store.finish(claim, result_key="r", partial=False, gaps=[], warnings=[], performance={})
    return batch_id or job_id


def given(method: str, path: str, job_id: str) -> dict[str, Any]:
    """What the route needs besides, for a good answer."""
    if method == "PATCH":
        return {"json": {"SPEAKER_00": "Anna"}}
    segments = [{"start": 0.0, "end": 1.0, "text": "Hallo"}]
    return {"json": {"segments": segments}, "headers": {"If-Match": f'"{job_id}.0"'}} if method == "PUT" else {}


@contextmanager
def app_of(folder: Path, store: SqlStore, **parts: Any) -> Iterator[FastAPI]:
    table = Quiet(store)
    app = make_app(folder, store, authenticator=KeyAuthenticator(table), **parts)
    yield app
    app.state.parts.close()
    table.close()


def ask_from(
    app: FastAPI, path: str, *, host: str = "192.0.2.1", root_path: str = "", token: str = ""
) -> httpx.Response:
    """As from another machine."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(host, 1), root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers={"X-API-Key": token} if token else {})

    return asyncio.run(ask())


def connect(
    app: FastAPI, path: str, token: str = "", *, denial: bool = True, subprotocols: Sequence[str] = ()
) -> list[Message]:
    """What a WebSocket's client is sent, who then goes. denial: the server can answer a refusal with a response"""
    sent: list[Message] = []
    come = iter([{"type": "websocket.connect"}])

    async def receive() -> Message:
        return next(come, {"type": "websocket.disconnect", "code": 1005})

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": path,
        "headers": [(b"x-api-key", token.encode())] if token else [],
        "query_string": b"",
        "client": ("192.0.2.1", 1),
        "extensions": {"websocket.http.response": {}} if denial else {},
        "subprotocols": [*subprotocols],
    }
    asyncio.run(app(scope, receive, send))
    return sent


def same(one: httpx.Response, other: httpx.Response, job_id: str) -> bool:
    """Whether nothing tells the two answers apart but which job they are of."""

    def seen(answer: httpx.Response) -> tuple[Any, ...]:
        # "connection: close" says that the answer came before the end of the upload was read: the network's chance
        headers = {n: v for n, v in answer.headers.items() if n not in ("date", "x-request-id", "connection")}
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


def test_every_route_says_which_scope_it_needs(tmp_path: Path) -> None:
    app = make_app(tmp_path, SqlStore.in_memory())
    app.state.parts.close()
    for context in iter_route_contexts(app.routes):
        scopes = declared(context.original_route)
        if context.path in {*OPEN_PATHS, METRICS, *FILES}:
            assert scopes is None, "nobody looks at it there"
            continue
        for method in (context.methods or {"WEBSOCKET"}) - {"HEAD"}:
            assert scopes is not None, f"{method} {context.path}: name it with api.access.scopes.needs"
            assert scopes == (NEEDS | OTHERS)[ROUTES[method, str(context.path)]]


def test_the_description_says_where_a_key_is_needed(tmp_path: Path) -> None:
    app = make_app(tmp_path, SqlStore.in_memory())
    app.state.parts.close()
    schema = app.openapi()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "key", "session"}
    known = {(method, path.replace(":path}", "}")): kind for (method, path), kind in ROUTES.items()}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if known[method.upper(), path] is OPEN:
                assert "security" not in operation and "401" not in operation["responses"]
            else:
                assert operation["security"] == [{"bearer": []}, {"key": []}, {"session": []}]
                assert {"401", "403", "429"} <= set(operation["responses"])
    submit = schema["paths"]["/api/v1/jobs"]["post"]
    assert "Scope: `jobs`." in submit["description"]
    assert "`queue_full`" in submit["responses"]["429"]["description"]
    assert "`rate_limited`" in submit["responses"]["429"]["description"]


def test_what_routes_can_reach_holds_no_store(tmp_path: Path) -> None:
    app = make_app(tmp_path, SqlStore.in_memory())
    parts = app.state.parts
    reached = [*vars(parts).values(), *vars(parts.deps).values()]
    assert not [value for value in reached if isinstance(value, SqlStore)]
    parts.close()
    assert not protocol(JobStore) & (protocol(OwnerJobs) | protocol(OwnerBatches)), (
        "what is typed as the store gives out no job by itself"
    )


@pytest.mark.parametrize(("method", "path"), of_kind(*NEEDS))
def test_without_a_key_that_is_known_nothing_is_answered(shut: Service, method: str, path: str) -> None:
    job_id = shut.store.of("anna").create(new_job()).id
    wrong = KEY["anna"][:-1] + "b"
    for headers in (
        {},
        {"Authorization": "Bearer no-key"},
        {"Authorization": "Basic a2V5"},
        {"X-API-Key": "no-key"},
        {"X-API-Key": KEY["nobody"]},
        {"X-API-Key": wrong},
        {"Authorization": f"Bearer {wrong}", "X-API-Key": KEY["anna"]},
        {"Cookie": "parascribe_session=none", "Origin": str(shut.client.base_url).rstrip("/")},
    ):
        for spelled in spellings(path, job_id):
            for verb in {method, "OPTIONS", "HEAD" if method == "GET" else method}:
                answer = shut.client.request(verb, spelled, headers=headers)
                assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
                assert verb == "HEAD" or refused(answer, 401, "unauthorized")
    refused(shut.client.get("/nothing/here"), 401, "unauthorized")


@pytest.mark.parametrize(("method", "path"), of_kind(*NEEDS))
@pytest.mark.parametrize(("name", "said"), [("late", "has expired"), ("gone", "has been revoked")])
def test_a_key_that_is_over_opens_nothing(shut: Service, method: str, path: str, name: str, said: str) -> None:
    job_id = shut.store.of("anna").create(new_job()).id
    for spelled in spellings(path, job_id):
        answer = ask(shut, method, spelled, KEY[name])
        assert said in refused(answer, 401, "unauthorized")["detail"]
    assert shut.store.get(job_id).version == 1, "nothing was done to it"


@pytest.mark.parametrize(("method", "path"), of_kind(*(kind for kind in NEEDS if NEEDS[kind] == {JOBS})))
def test_a_key_for_something_else_opens_nothing(shut: Service, method: str, path: str) -> None:
    job_id = shut.store.of("models").create(new_job()).id
    for spelled in (*spellings(path, job_id), *spellings(path, NOBODYS)):
        answer = ask(shut, method, spelled, KEY["models"])
        assert "scope jobs" in refused(answer, 403, "forbidden")["detail"]
    assert shut.store.get(job_id).version == 1, "nothing was done to it"


@pytest.mark.parametrize(("method", "path"), of_kind(ADMINS))
def test_what_is_for_administrators_is_for_nobody_else(
    guarded: Service, store: SqlStore, method: str, path: str
) -> None:
    before, path = store.keys(), path.replace("{key_id}", KEY["bert"][4:12])
    more = {"json": {"name": "anna"}} if method == "POST" else {}
    for name in ("anna", "models"):
        assert "scope admin" in refused(ask(guarded, method, path, KEY[name], **more), 403, "forbidden")["detail"]
    assert store.keys() == before, "nothing was done"
    assert ask(guarded, method, path, KEY["root"], **more).is_success


@pytest.mark.parametrize(("method", "path"), of_kind(MODEL, SELF))
def test_a_key_for_models_is_one(guarded: Service, method: str, path: str) -> None:
    assert ask(guarded, method, path, KEY["models"]).is_success


def test_an_unknown_key_and_a_wrong_one_are_refused_alike(guarded: Service, store: SqlStore) -> None:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    assert ask(guarded, "GET", "/api/v1/jobs", KEY["bert"]).is_success
    event.listen(store.database.engine, "before_cursor_execute", note)
    asked = []
    for token in (KEY["nobody"], KEY["anna"][:-1] + "b", "psk_", "x" * 200):
        statements.clear()
        asked.append((ask(guarded, "GET", "/api/v1/jobs", token), [*statements]))
    event.remove(store.database.engine, "before_cursor_execute", note)
    (first, looked), *others = asked
    for other, looked_too in others:
        assert same(first, other, NOBODYS) and looked == looked_too != []


def test_keys_are_in_no_log_line_and_in_no_figure(guarded: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        submit(guarded, KEY["anna"])
        for token in (KEY["nobody"], KEY["late"]):
            ask(guarded, "GET", "/api/v1/jobs", token)
        cookie = guarded.client.post("/api/v1/session", headers={"X-API-Key": KEY["anna"]}).cookies[
            "parascribe_session"
        ]
        ask(guarded, "DELETE", "/api/v1/session")
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]  # our own client's
    shown = "\n".join([*lines, guarded.client.get("/metrics").text])
    secrets = {token.rpartition("_")[2] for token in KEY.values()} | {cookie}
    assert "/api/v1/jobs" in shown and not [secret for secret in secrets if secret in shown]
    assert not re.search(r"psk_\w{8}_", shown)


@pytest.mark.parametrize(("method", "path"), of_kind(FOREIGN, FOREIGN_LIST))
def test_a_client_of_openais_is_refused_in_its_words(shut: Service, method: str, path: str) -> None:
    for token in (None, KEY["nobody"], KEY["late"], KEY["gone"]):
        answer = ask(shut, method, path.replace("{model:path}", "base"), token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ask(shut, method, path.replace("{model:path}", "base"), KEY["bert"]).status_code not in (401, 403)
    answer = ask(shut, method, path.replace("{model:path}", "base"), KEY["models"])
    if ROUTES[method, path] is FOREIGN:
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    else:
        assert answer.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), of_kind(LISTEN))
def test_a_client_of_deepgrams_is_refused_in_its_words(shut: Service, method: str, path: str) -> None:
    def shown(token: str | None) -> httpx.Response:
        headers = {"Authorization": f"Token {token}"} if token else {}
        return shut.client.request(method, path, headers=headers, json={})

    for token in (None, "no-key", KEY["nobody"], KEY["late"], KEY["gone"]):
        answer = shown(token)
        assert (answer.status_code, answer.json()["err_code"]) == (401, "INVALID_AUTH")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    answer = shown(KEY["models"])
    assert (answer.status_code, answer.json()["err_code"]) == (403, "INSUFFICIENT_PERMISSIONS")
    assert shown(KEY["bert"]).status_code == 400, "there is no address in it"


@pytest.mark.parametrize(("method", "path"), of_kind(FOREIGN_SOCKET))
def test_a_page_shows_its_key_as_a_subprotocol(tmp_path: Path, method: str, path: str) -> None:
    pairs = [["realtime", "openai-insecure-api-key.{}"], ["token", "{}"], ["bearer", "{}"]]
    with app_of(tmp_path, with_keys(SqlStore.in_memory()), live=ScriptedLinks()) as app:
        for name, status in (("nobody", 401), ("late", 401), ("gone", 401), ("models", 403)):
            for pair in pairs:
                start, body = connect(app, path, subprotocols=[one.format(KEY[name]) for one in pair])
                said = json.loads(body["body"])
                assert start["status"] == status and ("err_code" in said or said["error"]["code"])
            assert connect(app, path, KEY[name])[0]["status"] == status
        for pair in pairs:
            assert connect(app, path, subprotocols=[one.format(KEY["anna"]) for one in pair])[0]["type"] == (
                "websocket.accept"
            )
        offered = [["token"], ["token", "x", KEY["anna"]], [KEY["anna"]]]
        assert {connect(app, path, subprotocols=some)[0]["status"] for some in offered} == {401}


@pytest.mark.parametrize(("method", "path"), of_kind(SIMPLE, TASK))
def test_other_peoples_clients_are_refused_in_their_words(shut: Service, method: str, path: str) -> None:
    path = path.replace("{task_id}", NOBODYS)
    words = "error" if path in ("/inference", "/load") else "detail"
    for token, status, code in [
        *((token, 401, "unauthorized") for token in (None, KEY["nobody"], KEY["late"], KEY["gone"])),
        (KEY["models"], 403, "forbidden"),
    ]:
        answer = ask(shut, method, path, token)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {words, "code"} and isinstance(answer.json()[words], str)
        assert status == 403 or answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ask(shut, method, path, KEY["bert"]).status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), of_kind(TASK))
def test_anothers_task_is_none(guarded: Service, store: SqlStore, method: str, path: str) -> None:
    job_id = ready(guarded, store, "GET", "/api/v1/jobs/{job_id}/result")
    for spelled in (job_id, job_id.upper()):
        theirs, none = (ask(guarded, method, path.replace("{task_id}", one), KEY["bert"]) for one in (spelled, NOBODYS))
        assert theirs.status_code == 404 and theirs.json()["detail"] == "Task not found"
        assert same(theirs, none, job_id)
        for name in ("anna", "root"):
            assert ask(guarded, method, path.replace("{task_id}", spelled), KEY[name]).is_success


def test_figures_of_tasks_are_ones_own(guarded: Service, store: SqlStore) -> None:
    job_id = ready(guarded, store, "GET", "/api/v1/jobs/{job_id}/result")
    waits = submit(guarded, KEY["anna"]).json()["id"]
    seen = {name: ask(guarded, "GET", "/api/v1/parallel/stats", KEY[name]).json() for name in ("anna", "bert", "root")}
    assert (seen["anna"]["total_tasks"], seen["anna"]["completed_tasks"], seen["root"]["total_tasks"]) == (2, 1, 2)
    assert [task["task_id"] for task in seen["anna"]["active_tasks"]] == [waits] != [job_id]
    assert seen["bert"]["total_tasks"] == 0 and seen["bert"]["active_tasks"] == []
    assert seen["bert"]["average_processing_time"] is None


@pytest.mark.parametrize(("method", "path"), of_kind(OPEN))
def test_what_is_open_is_open(shut: Service, method: str, path: str) -> None:
    path = FILES.get(path, path)
    for token in (None, "no-key", KEY["bert"]):
        assert ask(shut, "GET", path, token).status_code == ask(shut, "HEAD", path, token).status_code == 200


@pytest.mark.parametrize(("method", "path"), of_kind(JOB, BATCH))
def test_anothers_job_is_none(guarded: Service, store: SqlStore, method: str, path: str) -> None:
    job_id = ready(guarded, store, method, path)
    before = state(store, job_id)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    assert ask(guarded, "GET", "/api/v1/models", KEY["bert"]).is_success, "what keys there are is known now"
    event.listen(store.database.engine, "before_cursor_execute", note)
    for theirs, none in zip(spellings(path, job_id), spellings(path, NOBODYS), strict=True):
        for verb in (method, "HEAD") if method == "GET" else (method,):
            asked = []
            for one in (theirs, none):
                statements.clear()
                asked.append((ask(guarded, verb, one, KEY["bert"]), [*statements]))
            (refusal, looked), (usual, looked_usually) = asked
            assert refusal.status_code == 404 and same(refusal, usual, job_id)
            assert looked == looked_usually != [], "how it is looked for tells nothing either"
    event.remove(store.database.engine, "before_cursor_execute", note)
    after = state(store, job_id)
    assert after == before or after[0] == before[0]
    good = given(method, path, job_id)
    assert ask(guarded, method, spellings(path, job_id)[0], KEY["anna"], **good).is_success


@pytest.mark.parametrize(("method", "path"), of_kind(JOB, BATCH))
def test_an_administrator_sees_everybodys(guarded: Service, store: SqlStore, method: str, path: str) -> None:
    job_id = ready(guarded, store, method, path)
    answer = ask(guarded, method, spellings(path, job_id)[0], KEY["root"], **given(method, path, job_id))
    assert answer.is_success
    if path.endswith("/jobs/{job_id}/retry"):
        assert store.get(answer.json()["id"]).owner == "anna", "the file is hers"


@pytest.mark.parametrize(("method", "path"), of_kind(HOOK))
def test_anothers_webhook_is_none(guarded: Service, store: SqlStore, method: str, path: str) -> None:
    hook = Webhook(id=new_id(), url="https://a.test/", events=EVENTS, secrets=(new_secret(),))
    store.webhooks_of("anna").add(hook)
    store.of("anna").create(new_job())
    store.fail(take(store), JobFailure(code="audio_undecodable", message="no", stage="decoding"))
    (told,) = store.claim_deliveries(limit=9, lease_seconds=60, per_receiver=9)
    path = path.replace("{delivery_id}", told.delivery.id)
    before = store.webhooks_of("anna").get(hook.id)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    assert ask(guarded, "GET", "/api/v1/models", KEY["bert"]).is_success, "what keys there are is known now"
    event.listen(store.database.engine, "before_cursor_execute", note)
    asked = []
    for one in (hook.id, NOBODYS):
        statements.clear()
        asked.append((ask(guarded, method, path.replace("{webhook_id}", one), KEY["bert"]), [*statements]))
    event.remove(store.database.engine, "before_cursor_execute", note)
    (refusal, looked), (usual, looked_usually) = asked
    assert refusal.status_code == 404 and same(refusal, usual, hook.id) and looked == looked_usually != []
    assert store.webhooks_of("anna").get(hook.id) == before
    for name in ("root", "anna") if method == "GET" else ("anna",):
        assert ask(guarded, method, path.replace("{webhook_id}", hook.id), KEY[name]).is_success


def listed(running: Service, token: str, **query: Any) -> list[str]:
    return [job["id"] for job in ask(running, "GET", "/api/v1/jobs", token, params=query).json()["items"]]


def test_lists_are_ones_own(guarded: Service) -> None:
    annas, berts, roots = (submit(guarded, KEY[name]).json()["id"] for name in ("anna", "bert", "root"))
    assert (listed(guarded, KEY["anna"]), listed(guarded, KEY["bert"], status="queued")) == ([annas], [berts])
    assert listed(guarded, KEY["root"]) == [roots, berts, annas]
    cursor = ask(guarded, "GET", "/api/v1/jobs?limit=2", KEY["root"]).json()["next"]
    assert listed(guarded, KEY["bert"], after=cursor) == [], "what comes after is Anna's"


def test_what_is_told_of_all_jobs_is_ones_own(guarded: Service) -> None:
    annas, berts = (submit(guarded, KEY[name]).json()["id"] for name in ("anna", "bert"))
    for name, theirs in (("anna", [annas]), ("bert", [berts]), ("root", [annas, berts])):
        with following(guarded.client, "/api/v1/events", **{"X-API-Key": KEY[name]}) as found:
            told = [next(found).json()["id"] for _ in theirs]
            submit(guarded, KEY["anna"])  # news for some of them
            theirs.append(submit(guarded, KEY[name]).json()["id"])
            while theirs[-1] not in told:
                told.append(next(found).json()["id"])
        assert name == "root" or set(told) <= set(listed(guarded, KEY[name]))
        assert {*theirs} <= {*told}


def test_a_stream_ends_with_its_key(guarded: Service, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "READMIT_SECONDS", 0.05)
    token = new_token()
    key = store.add_key(key_of(token, "anna"))
    headers = {"X-API-Key": token}
    address = f"ws://{guarded.host}:{guarded.port}{submit(guarded, token).json()['links']['self']}/ws"
    with (
        following(guarded.client, "/api/v1/events", **headers) as found,
        websocket(address, additional_headers=headers) as socket,
    ):
        assert next(found).json()["status"] == json.loads(socket.recv(10))["data"]["status"] == "queued"
        store.revoke(key.id)
        refused(ask(guarded, "GET", "/api/v1/jobs", KEY["nobody"]), 401, "unauthorized")  # has the table looked at
        assert list(found) == []
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_nobody_joins_anothers_batch(guarded: Service, store: SqlStore) -> None:
    batch_id = ask(guarded, "POST", "/api/v1/batches", KEY["anna"], json={}).json()["id"]
    theirs, none = (submit(guarded, KEY["bert"], data={"batch": one}) for one in (batch_id, NOBODYS))
    assert theirs.status_code == 404 and same(theirs, none, batch_id) and not guarded.keys
    lists = [ask(guarded, "GET", "/api/v1/batches", KEY[name]).json()["items"] for name in ("anna", "bert", "root")]
    assert [[batch["id"] for batch in one] for one in lists] == [[batch_id], [], [batch_id]]
    job = submit(guarded, KEY["root"], data={"batch": batch_id}).json()
    assert store.get(job["id"]).owner == "anna", "what is in her batch is hers"


def test_the_same_idempotency_key_of_two_owners_is_two_keys(guarded: Service, store: SqlStore) -> None:
    first, other, again = (submit(guarded, KEY[n], headers={"Idempotency-Key": "k"}) for n in ("anna", "bert", "anna"))
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert [store.get(answer.json()["id"]).owner for answer in (first, other)] == ["anna", "bert"]


def test_figures_are_for_this_machine_and_for_administrators(guarded: Service, tmp_path: Path) -> None:
    assert (
        ask(guarded, "GET", "/metrics").status_code == ask(guarded, "GET", "/metrics", KEY["bert"]).status_code == 200
    )
    with app_of(tmp_path, with_keys(SqlStore.in_memory())) as app:
        refused(ask_from(app, "/metrics"), 401, "unauthorized")
        refused(ask_from(app, "/metrics", token=KEY["bert"]), 403, "forbidden")
        assert ask_from(app, "/metrics", token=KEY["root"]).status_code == 200


@pytest.mark.parametrize(
    "path", ["/healthz/../api/v1/jobs", "/docs/static/../../api/v1/jobs", "//healthz", "/healthz/", "/docs/static"]
)
def test_no_way_round_through_what_is_open(shut: Service, path: str) -> None:
    wire = http.client.HTTPConnection(shut.host, shut.port, timeout=10)  # sends what it is given
    for spelled in (path, path.replace("..", "%2e%2e"), path.replace("/..", "%2f..")):
        wire.request("GET", spelled)
        answer = wire.getresponse()
        assert answer.status in (401, 404), answer.read()
        answer.read()
    wire.close()


def test_behind_a_proxy_that_serves_a_sub_path(tmp_path: Path, store: SqlStore) -> None:
    job_id = store.of("anna").create(new_job()).id
    with app_of(tmp_path, Guarded(store.database)) as app:
        for path in ("/healthz", "/", FILES["/page/{version}/{name:path}"]):
            assert ask_from(app, f"/speech{path}", root_path="/speech").status_code == 200
        for name, status in (("anna", 200), ("bert", 404), ("nobody", 401)):
            path = f"/speech/api/v1/jobs/{job_id}"
            assert ask_from(app, path, root_path="/speech", token=KEY[name]).status_code == status


@pytest.mark.parametrize(("method", "path"), of_kind(SOCKET))
def test_anothers_job_is_none_to_a_websocket(
    guarded: Service, store: SqlStore, tmp_path: Path, method: str, path: str
) -> None:
    job_id = ready(guarded, store, method, path)
    with app_of(tmp_path, Guarded(store.database)) as app:
        for spelled in {job_id, job_id.upper()}:
            theirs, none = (connect(app, path.replace("{job_id}", one), KEY["bert"]) for one in (spelled, NOBODYS))
            assert theirs[0]["status"] == none[0]["status"] == 404
            assert theirs[1]["body"].lower().replace(job_id.encode(), NOBODYS.encode()) == none[1]["body"].lower()
            for token, status in (("", 401), (KEY["late"], 401), (KEY["gone"], 401), (KEY["models"], 403)):
                assert connect(app, path.replace("{job_id}", spelled), token)[0]["status"] == status
            for name in ("anna", "root"):
                sent = connect(app, path.replace("{job_id}", spelled), KEY[name])
                assert [message["type"] for message in sent[:2]] == ["websocket.accept", "websocket.send"]


def test_a_websocket_needs_a_key_and_has_its_id_and_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(str(socket.scope["identity"].owner))
        await socket.close()

    with app_of(tmp_path, with_keys(SqlStore.in_memory())) as app, caplog.at_level(logging.INFO, "api.http.middleware"):
        app.add_api_websocket_route("/live", live)
        start, body = connect(app, "/live")
        assert (start["status"], json.loads(body["body"])["code"]) == (401, "unauthorized")
        assert connect(app, "/live", denial=False) == [
            {"type": "websocket.close", "code": 1008, "reason": "unauthorized"}
        ]
        accept, said, _ = connect(app, "/live", KEY["anna"])
        assert (accept["type"], said["text"]) == ("websocket.accept", "anna")
    lines = [record.getMessage() for record in caplog.records if "WEBSOCKET /live" in record.getMessage()]
    assert [line.partition(" in ")[0] for line in lines] == [f"WEBSOCKET /live -> {n}" for n in (401, 403, 101)]
    for line, message in ((lines[0], start), (lines[2], accept)):
        assert dict(message["headers"])[b"x-request-id"].decode() in line
