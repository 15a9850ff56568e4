"""`parascribe webhooks` and `Client.webhooks`, against a real API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from core.outbound.client import Outbound
from core.outbound.values import Rules
from parascribe.cli.program import app
from parascribe.client.client import Client
from parascribe.client.errors import ApiError, NotFound
from tests.api.serving import Service, service
from tests.api.test_jobs import fail

Run = Callable[..., Result]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, check_url=Outbound(Rules()).check) as running:
        yield running


@pytest.fixture
def run(running: Service) -> Run:
    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["webhooks", *arguments, "--url", f"http://127.0.0.1:{running.port}"])

    return call


def test_from_adding_to_removing(running: Service, run: Run) -> None:
    added = run("add", "https://a.test/hook", "--event", "job.failed")
    assert added.exit_code == 0 and added.stdout.startswith("whsec_") and "not shown again" in added.stderr
    made = json.loads(run("add", "https://b.test/", "--json").stdout)
    assert made["secret"].startswith("whsec_") and len(made["events"]) == 4
    first, second = json.loads(run("list", "--json").stdout)
    assert (first["url"], first["events"], second["id"]) == ("https://a.test/hook", ["job.failed"], made["id"])
    assert "https://a.test/hook" in run("list").stdout and "whsec_" not in run("list").stdout
    job = fail(running)
    (told,) = json.loads(run("deliveries", first["id"], "--json").stdout)["items"]
    assert (told["subject"], told["status"]) == (job["id"], "waiting")
    assert job["id"] in run("deliveries", first["id"], "--status", "waiting").stdout
    assert run("redeliver", first["id"], told["id"]).exit_code == 0
    assert run("rotate", first["id"]).stdout.strip().startswith("whsec_") and run("resume", first["id"]).exit_code == 0
    assert run("rotate", "callback").stdout.startswith("whsec_")
    assert run("remove", first["id"], made["id"]).exit_code == 0 and json.loads(run("list", "--json").stdout) == []


def test_what_the_service_refuses_is_said(running: Service, run: Run, kind: Any) -> None:
    assert run("remove", "nothing").exit_code == 1
    with kind(f"http://127.0.0.1:{running.port}") as client:
        with pytest.raises(ApiError) as refused:
            client.webhooks.add("http://127.0.0.1:9/")
        assert refused.value.code == "url_refused"
        with pytest.raises(NotFound):
            client.webhooks.deliveries("0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f")


def test_a_job_s_own_things_go_with_the_file(running: Service, tmp_path: Path) -> None:
    file = tmp_path / "talk.wav"
    file.write_bytes(b"RIFF\xff\xff\xff\x00WAVEfmt " + b"\x01" * 1000)
    metadata = {"case": [1, None], "ü": "\n"}
    with Client(f"http://127.0.0.1:{running.port}") as client:
        job = client.submit(file, callback_url="https://a.test/hook", metadata=metadata)
    assert (job["params"]["metadata"], job["params"]["callback_url"]) == (metadata, "https://a.test/hook")
