"""The client against the real API: what the pretended service of the other tests says must be what the real one says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from parascribe import Client
from parascribe.client.bodies import Job
from parascribe.client.errors import ApiError, Conflict, NotFound
from tests.api.serving import service, wav
from tests.parascribe.fake_service import FakeService


def shape(value: Any) -> Any:
    """Keys all the way down; what is empty or not there yet tells nothing."""
    return {key: shape(inner) for key, inner in value.items() if key != "version"} if isinstance(value, dict) else None


def test_the_real_api_understands_the_client(tmp_path: Path, service_job: Job) -> None:
    file = tmp_path / "talk.wav"
    file.write_bytes(wav(300_000))
    with service(tmp_path) as running, Client(f"http://127.0.0.1:{running.port}") as client:
        seen: list[Job] = []
        job = client.submit(
            file,
            model="demo",
            language="de",
            word_timestamps=True,
            temperature=0.4,
            beam_size=3,
            prompt="Grüße",
            idempotency_key="k",
        )
        asked = {
            "model": "demo",
            "language": "de",
            "word_timestamps": True,
            "temperature": 0.4,
            "beam_size": 3,
            "prompt": "Grüße",
        }
        assert job["params"] | asked == job["params"]
        assert job["source"]["bytes"] == 300_000
        for part in ("progress", "source", "audio"):
            assert shape(cast("dict[str, Any]", job)[part]) == shape(cast("dict[str, Any]", service_job)[part])
        assert set(job) == set(service_job) - {"version"}
        assert (
            client.submit(
                file,
                model="demo",
                language="de",
                word_timestamps=True,
                temperature=0.4,
                beam_size=3,
                prompt="Grüße",
                idempotency_key="k",
            )["id"]
            == job["id"]
        )

        def look(body: Job) -> None:
            seen.append(body)
            if len(seen) == 1:
                client.cancel(job["id"])

        assert client.wait(job["id"], on_progress=look, timeout=30)["status"] == "cancelled"
        assert len(seen) == 2
        again = client.retry(job["id"], all=True)
        assert again["retry_of"] == job["id"]
        assert [item["id"] for item in client.list(limit=1)["items"]] == [again["id"]]
        assert "demo" in {model["name"] for model in client.models()["items"]}
        assert client.system() == {"cores": 2.0}
        with pytest.raises(Conflict, match="queued"):
            client.result(again["id"], "srt")
        (active,) = client.get_active_tasks()
        assert (active["task_id"], active["progress"], active["started_at"]) == (again["id"], 0.0, None)
        status = client.get_task_status(again["id"])
        assert status is not None and (status["status"], status["error"]) == ("queued", None)
        stats = client.get_processing_stats()
        assert (stats["total_tasks"], stats["completed_tasks"], stats["failed_tasks"]) == (2, 0, 1)
        client.delete(again["id"])
        assert client.get_task_status(again["id"]) is None and client.get_active_tasks() == []
        with pytest.raises(NotFound):
            client.get(again["id"])
        with pytest.raises(ApiError) as refused:
            client.submit(file, beam_size=99)
        assert (refused.value.status, refused.value.problem["errors"][0]["field"]) == (422, "beam_size")


@pytest.fixture
def service_job(client: Client, service: FakeService, upload: Callable[..., Path]) -> Job:
    """A job as the pretended service shows it."""
    return cast(Job, json.loads(json.dumps(client.submit(upload()))))
