"""The OpenAPI description holds: generated requests, good and bad, against a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from core.keys import ADMIN
from core.store.sql import SqlStore
from core.transcript.formats import to_result
from tests.api.keyed import add, keyed
from tests.api.serving import Service, service, wav
from tests.api.test_jobs import complete, fail
from tests.api.test_results import TRANSCRIPT

EXAMPLES = 30
GENERATED = settings(
    deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
OPERATIONS = [
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs"),
    ("OPTIONS", "/api/v1/uploads"),
    ("POST", "/api/v1/uploads"),
    ("GET", "/api/v1/uploads/{upload_id}"),
    ("PATCH", "/api/v1/uploads/{upload_id}"),
    ("DELETE", "/api/v1/uploads/{upload_id}"),
    ("GET", "/api/v1/jobs/{job_id}"),
    ("DELETE", "/api/v1/jobs/{job_id}"),
    ("POST", "/api/v1/jobs/{job_id}/cancel"),
    ("POST", "/api/v1/jobs/{job_id}/retry"),
    ("GET", "/api/v1/jobs/{job_id}/result"),
    ("GET", "/api/v1/jobs/{job_id}/transcript"),
    ("PUT", "/api/v1/jobs/{job_id}/transcript"),
    ("PATCH", "/api/v1/jobs/{job_id}/speakers"),
    ("GET", "/api/v1/jobs/{job_id}/events"),
    ("GET", "/api/v1/jobs/{job_id}/segments"),
    ("GET", "/api/v1/jobs/{job_id}/audio"),
    ("GET", "/api/v1/jobs/{job_id}/peaks"),
    ("GET", "/api/v1/voices"),
    ("POST", "/api/v1/voices"),
    ("DELETE", "/api/v1/voices/{name}"),
    ("GET", "/api/v1/webhooks"),
    ("POST", "/api/v1/webhooks"),
    ("GET", "/api/v1/webhooks/{webhook_id}"),
    ("DELETE", "/api/v1/webhooks/{webhook_id}"),
    ("POST", "/api/v1/webhooks/{webhook_id}/rotate"),
    ("POST", "/api/v1/webhooks/{webhook_id}/resume"),
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"),
    ("POST", "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"),
    ("POST", "/api/v1/batches"),
    ("GET", "/api/v1/batches"),
    ("GET", "/api/v1/batches/{batch_id}"),
    ("DELETE", "/api/v1/batches/{batch_id}"),
    ("GET", "/api/v1/batches/{batch_id}/items"),
    ("GET", "/api/v1/batches/{batch_id}/results.zip"),
    ("POST", "/api/v1/batches/{batch_id}/close"),
    ("POST", "/api/v1/batches/{batch_id}/cancel"),
    ("POST", "/api/v1/batches/{batch_id}/retry"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/system"),
    ("GET", "/api/v1/stats"),
    ("GET", "/api/v1/features"),
    ("GET", "/api/v1/storage"),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/{key_id}"),
    ("GET", "/api/v1/search"),
    ("POST", "/api/v1/session"),
    ("GET", "/api/v1/session"),
    ("DELETE", "/api/v1/session"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/metrics"),
]
WORDS = {
    "/api/v1/jobs",
    "/api/v1/search",
    "/api/v1/uploads",
    "/api/v1/voices",
    "/api/v1/webhooks",
    "/api/v1/batches",
    "/api/v1/keys",
    "/api/v1/batches/{batch_id}/items",
}
"""Where no schema can tell what is good: names of models, languages, cursors, Base64, addresses, ids, what there is room for."""
ENDLESS = {("GET", "/api/v1/events")}
"""What nobody can read to its end."""
FOREIGN = {
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/translations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("POST", "/v1/realtime/client_secrets"),
    ("POST", "/v1/realtime/transcription_sessions"),
    ("POST", "/v1/listen"),
    ("POST", "/inference"),
    ("POST", "/load"),
    ("POST", "/asr"),
    ("POST", "/detect-language"),
    ("POST", "/api/v1/parallel/transcribe"),
    ("POST", "/api/v1/parallel/transcribe/async"),
    ("POST", "/api/v1/parallel/batch"),
    ("GET", "/api/v1/parallel/status/{task_id}"),
    ("GET", "/api/v1/parallel/result/{task_id}"),
    ("GET", "/api/v1/parallel/stats"),
    ("GET", "/api/v1/parallel/features"),
}
"""Other people's, with errors in their shapes, and most of them wait for a job: tried as their clients ask."""


@schemathesis.serializer("application/offset+octet-stream")
def _bytes(_: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def with_recordings(case: schemathesis.Case) -> None:
    """No schema can say what a recording is."""
    if isinstance(case.body, dict) and "file" in case.body:
        case.body["file"] = wav()
    if isinstance(case.body, dict) and "files" in case.body:
        case.body["files"] = [wav()]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a job in each kind of state."""
    with service(tmp_path_factory.mktemp("api"), measure=lambda job: bytes(40)) as running:
        done = complete(running)
        running.objects.put(f"jobs/{done['id']}/result.json", io.BytesIO(json.dumps(to_result(TRANSCRIPT)).encode()))
        fail(running)
        running.submit()
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that needs a key, which its client has."""
    store = SqlStore.in_memory()
    token, _ = add(store, scopes=[ADMIN])
    with keyed(tmp_path_factory.mktemp("keyed"), store) as running:
        running.client.headers["Authorization"] = f"Bearer {token}"
        yield running


@pytest.fixture(scope="module")
def schema(described: Service) -> schemathesis.BaseSchema:
    loaded = schemathesis.openapi.from_url(f"{described.client.base_url}/openapi.json")
    loaded.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return loaded


@pytest.fixture(scope="module")
def locked_schema(locked: Service) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{locked.client.base_url}/openapi.json")


def test_the_list_of_operations_is_complete(schema: schemathesis.BaseSchema) -> None:
    described = {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()}
    assert described == {*OPERATIONS} | ENDLESS | FOREIGN


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests(schema: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode) -> None:
    """Every answer is a documented one."""
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not operation.body and not operation.query:
        return  # nothing to get wrong

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(GENERATED, max_examples=EXAMPLES)
    def check(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE:
            with_recordings(case)
        words = [positive_data_acceptance] if path in WORDS else []
        if path.startswith("/api/v1/uploads"):
            words.append(negative_data_rejection)  # 412, as tus has it, for who does not say its version
        case.call_and_validate(excluded_checks=[ignored_auth, *words])

    check()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_where_a_key_is_needed(locked: Service, locked_schema: schemathesis.BaseSchema, method: str, path: str) -> None:
    """What the description says needs a key is answered with one, and as described without, or with one that is none."""
    operation = locked_schema[path][method]

    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    @settings(GENERATED, max_examples=3)
    def check(case: schemathesis.Case) -> None:
        with_recordings(case)
        excluded = [positive_data_acceptance] if path in WORDS else []
        if path == "/metrics":
            excluded.append(ignored_auth)  # from this machine
        case.call_and_validate(
            headers={"Authorization": locked.client.headers["Authorization"]}, excluded_checks=excluded
        )

    check()


@pytest.mark.parametrize("tail", ["", "/result", "/audio", "/peaks", "/retry", "/cancel"])
def test_jobs_that_exist(described: Service, schema: schemathesis.BaseSchema, tail: str) -> None:
    """Generated ids lead nowhere, so here are some that do, one for each state."""
    path = f"/api/v1/jobs/{{job_id}}{tail}"
    for job in described.client.get("/api/v1/jobs").json()["items"]:
        operation = schema[path]["POST" if tail in ("/retry", "/cancel") else "GET"]
        operation.Case(path_parameters={"job_id": job["id"]}).call_and_validate(excluded_checks=[ignored_auth])


@pytest.mark.parametrize("tail", ["", "/items", "/results.zip", "/close", "/retry", "/cancel"])
def test_batches_that_exist(described: Service, schema: schemathesis.BaseSchema, tail: str) -> None:
    path, batches = f"/api/v1/batches/{{batch_id}}{tail}", described.store.batches_of(None)
    made = described.client.post("/api/v1/batches", json={"metadata": {"n": 1}}).json()["id"]
    for _ in range(2):  # with nothing in it, then with a file
        operation = schema[path]["POST" if tail in ("/close", "/retry", "/cancel") else "GET"]
        operation.Case(path_parameters={"batch_id": made}).call_and_validate(excluded_checks=[ignored_auth])
        if batches.get(made).closed_at is None:
            described.submit(batch=made)
