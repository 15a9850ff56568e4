"""The OpenAPI description holds: generated requests, good and bad, against a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from core.transcript.formats import to_result
from tests.api.serving import Service, service, wav
from tests.api.test_jobs import complete, fail
from tests.api.test_results import TRANSCRIPT

EXAMPLES = 30
OPERATIONS = [
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/{job_id}"),
    ("DELETE", "/api/v1/jobs/{job_id}"),
    ("POST", "/api/v1/jobs/{job_id}/cancel"),
    ("POST", "/api/v1/jobs/{job_id}/retry"),
    ("GET", "/api/v1/jobs/{job_id}/result"),
    ("GET", "/api/v1/jobs/{job_id}/audio"),
    ("GET", "/api/v1/jobs/{job_id}/peaks"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/system"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/metrics"),
]


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
def schema(described: Service) -> schemathesis.BaseSchema:
    loaded = schemathesis.openapi.from_url(f"{described.client.base_url}/openapi.json")
    loaded.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return loaded


def test_the_list_of_operations_is_complete(schema: schemathesis.BaseSchema) -> None:
    described = {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_requests(schema: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode) -> None:
    """Every answer is a documented one. At /jobs the schema cannot tell model names, languages and cursors from other words."""
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not operation.body and not operation.query:
        return  # nothing to get wrong

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "file" in case.body:
            case.body["file"] = wav()  # no schema can say what a recording is
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if path == "/api/v1/jobs" else [])

    check()


@pytest.mark.parametrize("tail", ["", "/result", "/audio", "/peaks", "/retry", "/cancel"])
def test_jobs_that_exist(described: Service, schema: schemathesis.BaseSchema, tail: str) -> None:
    """Generated ids lead nowhere, so here are some that do, one for each state."""
    path = f"/api/v1/jobs/{{job_id}}{tail}"
    for job in described.client.get("/api/v1/jobs").json()["items"]:
        operation = schema[path]["POST" if tail in ("/retry", "/cancel") else "GET"]
        operation.Case(path_parameters={"job_id": job["id"]}).call_and_validate()
