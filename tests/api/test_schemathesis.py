"""The OpenAPI description holds: generated requests, good and bad, against a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from core.formats import to_result
from tests.api.serving import Service, service
from tests.api.test_jobs import complete, fail
from tests.api.test_results import TRANSCRIPT

EXAMPLES = 25


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with jobs in several states, so that ids taken from answers lead somewhere."""
    with service(tmp_path_factory.mktemp("api")) as running:
        done = complete(running)
        running.objects.put(f"jobs/{done['id']}/result.json", io.BytesIO(json.dumps(to_result(TRANSCRIPT)).encode()))
        fail(running)
        running.submit()
        yield running


@pytest.fixture
def schema(described: Service) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{described.client.base_url}/openapi.json")


loaded = schemathesis.pytest.from_fixture("schema")


@loaded.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_every_operation_answers_as_described(case: schemathesis.Case) -> None:
    case.call_and_validate()


def test_known_jobs_too(described: Service) -> None:
    """Generated ids hit nothing: the same checks on every operation of jobs that exist."""
    schema = schemathesis.openapi.from_url(f"{described.client.base_url}/openapi.json")
    paths = ["", "/result", "/retry", "/cancel"]
    for job in described.client.get("/api/v1/jobs").json()["items"]:
        for path in paths:
            methods = schema[f"/api/v1/jobs/{{job_id}}{path}"]
            for method in methods:
                if method.upper() == "DELETE":
                    continue
                case = methods[method].Case(path_parameters={"job_id": job["id"]})
                case.call_and_validate()

