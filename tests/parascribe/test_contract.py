"""Both clients against the real API: what the pretended service of the other tests says must be what the real one says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from core.objects.memory import MemoryObjects
from core.submission.origins import Origins
from parascribe import Client
from parascribe.client.bodies import Job
from parascribe.client.errors import ApiError, Conflict, NotFound
from parascribe.client.parts import FROM_BYTES
from testbed.faults.proxy import FaultProxy
from tests.api.serving import service, wav
from tests.parascribe.fake_service import FakeService


def shape(value: Any) -> Any:
    """Keys all the way down; what is empty or not there yet tells nothing."""
    return {key: shape(inner) for key, inner in value.items() if key != "version"} if isinstance(value, dict) else None


def test_the_real_api_understands_the_client(tmp_path: Path, service_job: Job, kind: Any) -> None:
    file = tmp_path / "talk.wav"
    file.write_bytes(wav(300_000))
    with service(tmp_path) as running, kind(f"http://127.0.0.1:{running.port}") as client:
        seen: list[Job] = []
        asked: dict[str, Any] = {
            "model": "demo",
            "language": "de",
            "word_timestamps": True,
            "temperature": 0.4,
            "beam_size": 3,
            "prompt": "Grüße",
            "vocabulary": ["a, b", "Zyn"],
        }
        job = client.submit(file, idempotency_key="k", **asked)
        assert job["params"] | asked == job["params"]
        assert job["source"]["bytes"] == 300_000
        for part in ("progress", "source", "audio"):
            assert shape(cast("dict[str, Any]", job)[part]) == shape(cast("dict[str, Any]", service_job)[part])
        assert set(job) == set(service_job) - {"version"}
        assert client.submit(file, idempotency_key="k", **asked)["id"] == job["id"]

        def look(body: Job) -> None:
            seen.append(body)
            if len(seen) == 1:
                running.client.post(f"/api/v1/jobs/{job['id']}/cancel").raise_for_status()

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


def test_a_large_file_goes_in_parts_over_a_line_that_breaks(tmp_path: Path, kind: Any) -> None:
    file = tmp_path / "Vortrag ä.wav"
    file.write_bytes(wav(FROM_BYTES + 1000))
    breaks = [10 << 20, 30 << 20, 60 << 20]
    with service(tmp_path) as running, FaultProxy("127.0.0.1", running.port) as line:

        def on_bytes(sent: int, total: int) -> None:
            if breaks and sent > breaks[0]:
                del breaks[0]
                line.set("reset")
                line.set("pass")

        with kind(f"http://{line.address}") as client:
            job = client.submit(file, language="de", word_timestamps=True, on_bytes=on_bytes)
        assert not breaks and job["params"]["language"] == "de" and job["params"]["word_timestamps"] is True
        assert job["source"] == {"filename": "Vortrag ä.wav", "bytes": FROM_BYTES + 1000, "media_type": "audio/wav"}
        origin = running.store.get(job["id"]).source.origin
        assert origin is not None
        origins = Origins(objects=running.objects, upload_parts=running.store.upload_parts)
        with origins.open(origin, cancel=threading.Event()) as data:
            assert data.read() == file.read_bytes()
        assert len(running.client.get("/api/v1/jobs").json()["items"]) == 1


def test_a_large_file_that_is_refused_leaves_nothing(tmp_path: Path, kind: Any) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(b"<html>" * (FROM_BYTES // 6 + 1))
    with service(tmp_path) as running, kind(f"http://127.0.0.1:{running.port}") as client:
        with pytest.raises(ApiError, match="HTML|page|text") as error:
            client.submit(file)
        assert error.value.code == "not_media"
        with pytest.raises(ApiError) as error:
            client.submit(file, language="klingon")
        assert error.value.code == "validation"
        assert list(running.objects.keys("uploads/")) == []


def test_a_file_that_the_service_is_to_fetch(tmp_path: Path, kind: Any) -> None:
    objects = MemoryObjects()
    with (
        service(tmp_path, origins=Origins(bucket=objects.open, objects=objects)) as running,
        kind(f"http://127.0.0.1:{running.port}") as client,
    ):
        job = client.submit_from(object="talk.mp3", language="de", idempotency_key="k")
        assert client.submit_from(object="talk.mp3", language="de", idempotency_key="k")["id"] == job["id"]
        assert job["source"]["filename"] == "talk.mp3" and job["params"]["language"] == "de"
        with pytest.raises(ApiError) as error:
            client.submit_from(url="https://files.test/a.mp3")
        assert error.value.code == "unsupported"
