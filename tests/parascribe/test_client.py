"""What both clients promise, over a service that pretends."""

from __future__ import annotations

import inspect
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parascribe import AsyncClient, Client
from parascribe.client.bodies import Job
from parascribe.client.calls import polling
from parascribe.client.calls.batches import AsyncBatches, Batches
from parascribe.client.calls.voices import AsyncVoices, Voices
from parascribe.client.calls.webhooks import AsyncWebhooks, Webhooks
from parascribe.client.errors import ApiError, Conflict, NotFound, Overloaded, ServiceUnreachable, WaitTimeout
from parascribe.client.events import POLL_FIRST
from tests.parascribe.fake_service import FakeService

Upload = Callable[..., Path]


@pytest.fixture
def client(service: FakeService, kind: Any) -> Iterator[Client]:
    with kind() as client:
        yield client


@pytest.mark.parametrize(
    ("of", "asynchronous"),
    [(Client, AsyncClient), (Batches, AsyncBatches), (Voices, AsyncVoices), (Webhooks, AsyncWebhooks)],
)
def test_both_have_the_same_calls(of: type, asynchronous: type) -> None:
    def calls(kind: type) -> dict[str, Any]:
        return {name: call for name, call in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}

    blocking, waited = calls(of), calls(asynchronous)
    if of is Client:
        del blocking["close"], waited["aclose"]
        del waited["live"]  # whose calls may not wait for one another
    assert blocking.keys() == waited.keys()
    for name, call in blocking.items():
        there = waited[name]
        assert inspect.signature(call).parameters == inspect.signature(there).parameters, name
        assert inspect.iscoroutinefunction(there) or inspect.isasyncgenfunction(there)
        assert not (inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call))
        assert call.__doc__ == there.__doc__ and call.__doc__, name
    assert "Async" not in str(inspect.signature(Client.follow))


def test_a_file_goes_up_and_its_transcript_comes_back(client: Client, upload: Upload) -> None:
    stages: list[str] = []

    def note(job: Job) -> None:
        stages.append(job["progress"]["stage"])

    job = client.submit(upload(), language="en", word_timestamps=True, temperature=0.2)
    assert job["params"] | {"language": "en", "word_timestamps": "true", "temperature": "0.2"} == job["params"]
    assert client.wait(job["id"], on_progress=note)["status"] == "completed"
    assert stages == ["queued", "decoding", "transcribing", "done"]
    assert client.result(job["id"])["segments"][1]["text"] == "The café opens."
    assert client.result(job["id"], "txt") == "Good morning.\nThe café opens.\n"
    assert client.result(job["id"], "vtt", word_cues=True, max_chars_per_second=17.5).startswith("WEBVTT")


def test_upload_is_streamed_and_counted(client: Client, service: FakeService, upload: Upload) -> None:
    content = bytes(range(256)) * 4096  # 1 MiB
    seen: list[tuple[int, int]] = []
    job = client.submit(upload(content), on_bytes=lambda sent, total: seen.append((sent, total)))
    assert service.kinds[job["id"]] == content
    assert len(seen) > 10, "sent in pieces, not in one"
    assert seen[-1] == (len(content), len(content))
    assert [sent for sent, _ in seen] == sorted(sent for sent, _ in seen)


def test_a_broken_connection_never_doubles_a_job(client: Client, service: FakeService, upload: Upload) -> None:
    service.drop_answers = 2
    job = client.submit(upload())
    assert [request[0] for request in service.requests] == ["POST"] * 3
    assert list(service.jobs) == [job["id"]]


def test_a_retry_is_never_sent_twice(client: Client, service: FakeService, upload: Upload) -> None:
    job = client.submit(upload(b"fail"))
    service.drop_answers = 1
    with pytest.raises(ServiceUnreachable, match="broke"):
        client.retry(job["id"])
    assert len(service.jobs) == 2, "the service did make the job; a second one would be a double"


def test_what_was_done_before_its_answer_was_lost_is_no_error(
    client: Client, service: FakeService, upload: Upload
) -> None:
    job = client.submit(upload(b"slow"))
    service.drop_answers = 1
    assert client.cancel(job["id"])["status"] == "cancelled"
    with pytest.raises(Conflict):
        client.cancel(job["id"])
    service.drop_answers = 1
    client.delete(job["id"])
    with pytest.raises(NotFound):
        client.delete(job["id"])


def test_errors_carry_code_and_problem(client: Client, upload: Upload) -> None:
    with pytest.raises(NotFound) as missing:
        client.get("nothing")
    assert (missing.value.status, missing.value.code) == (404, "job_not_found")
    with pytest.raises(ApiError) as refused:
        client.submit(upload(), beam_size=9)
    assert refused.value.explain() == "A parameter cannot be used. (validation)\n  beam_size: must be at most 8"
    with pytest.raises(Overloaded) as full:
        client.submit(upload(b"full"))
    assert (full.value.code, full.value.retry_after) == ("queue_full", 1.0)
    job = client.submit(upload(b"slow"))
    with pytest.raises(Conflict, match="no result yet"):
        client.result(job["id"])


def test_unreachable_says_what_to_do(kind: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with (
        kind(address) as client,
        pytest.raises(ServiceUnreachable, match=r"Is the service running\?.*parascribe serve"),
    ):
        client.get("x")


def test_another_service_at_the_address_is_noticed(client: Client, kind: Any) -> None:
    with kind(client.base_url + "/html") as other, pytest.raises(ApiError, match="not like a Parascribe service"):
        other.models()


def test_wait_is_bounded_and_polls_with_etag(
    client: Client, service: FakeService, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "POLL_FIRST", POLL_FIRST)
    job = client.submit(upload(b"slow"))
    start = time.monotonic()
    with pytest.raises(WaitTimeout):
        client.wait(job["id"], timeout=2.0)
    assert time.monotonic() - start < 10.0
    looks = [status for method, _, status in service.requests if method == "GET"]
    assert 304 in looks
    assert len(looks) < 8, "the pause grows"
    assert client.cancel(job["id"])["status"] == "cancelled"


def test_where_no_events_are_told_many_are_polled(client: Client, upload: Upload) -> None:
    ids = [client.submit(upload(content))["id"] for content in (b"ok", b"fail", b"ok")]
    assert [job["status"] for job in client.wait_all(ids)] == ["completed", "failed", "completed"]
    assert {job["id"] for job in client.as_completed(ids)} == {*ids}


def test_wait_honours_retry_after(client: Client, service: FakeService, upload: Upload) -> None:
    service.retry_after = "1"
    job = client.submit(upload(b"slow"))
    with pytest.raises(WaitTimeout):
        client.wait(job["id"], timeout=0.9)
    assert sum(method == "GET" for method, _, _ in service.requests) == 1


def test_wait_bears_a_restart_of_the_service(client: Client, service: FakeService, upload: Upload) -> None:
    job = client.submit(upload())
    port = int(client.base_url.rpartition(":")[2])
    seen: list[str] = []
    for body in client.watch([job["id"]]):
        seen.append(body["status"])
        if len(seen) == 1:
            service.stop()
            service.start(port, delay=0.6)
    assert seen[-1] == "completed"


def test_pages(client: Client, upload: Upload) -> None:
    ids = [client.submit(upload())["id"] for _ in range(3)]
    page = client.list(limit=2)
    assert [job["id"] for job in page["items"]] == ids[:0:-1]
    assert [job["id"] for job in client.list(limit=2, after=page["next"])["items"]] == ids[:1]
    client.delete(ids[0])
    with pytest.raises(NotFound):
        client.get(ids[0])
