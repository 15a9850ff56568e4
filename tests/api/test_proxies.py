"""The configurations of docs/how-to/proxies.md do what the page says, each in front of a real service."""

from __future__ import annotations

import io
import json
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from core.config.settings import Settings
from core.jobs.job import JobStatus
from tests.api.consuming import TEXT, consuming
from tests.api.proxies import CLIENT, HOST, PAGE, PROXIES, UPLOAD_MB, Proxied, proxied
from tests.api.serving import wav
from tests.api.talks import Talk, following
from tests.api.test_submit import refused
from tests.api.test_uploads import begin, offset, patch

MB = 1 << 20
JOBS = "/api/v1/jobs"


@pytest.fixture(scope="module", params=PROXIES)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with proxied(tmp_path_factory.mktemp(request.param), request.param) as started:
        yield started


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_the_service_sees_who_asks_and_how(there: Proxied) -> None:
    assert there.client.get(JOBS, headers={"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}).is_success
    scope = there.scopes[-1]
    assert scope["client"][0] == CLIENT, "not the proxy, nor who it says it is"
    assert scope["scheme"] == "https"
    assert dict(scope["headers"])[b"host"] == f"{HOST}:{there.port}".encode()


def test_figures_stay_inside(there: Proxied) -> None:
    assert there.client.get("/metrics").status_code == 404
    direct = there.service.client.get("/metrics")
    assert direct.status_code == 200, "for monitoring on the machine itself"


def test_a_login_by_cookie(there: Proxied) -> None:
    logged_in = there.client.post("/api/v1/session")
    assert "Secure" in logged_in.headers["set-cookie"]
    cookie = logged_in.headers["set-cookie"].partition(";")[0]
    talk = Talk(there.service.store, owner="anna")
    headers = {"Cookie": cookie, "Origin": there.origin, "X-API-Key": ""}
    assert there.client.post(f"{JOBS}/{talk.id}/cancel", headers=headers).status_code == 202
    refused(there.client.get(JOBS, headers={"X-API-Key": "", "Cookie": ""}), 401, "unauthorized")
    there.service.store.cancelled(talk.claim)


def test_large_uploads_and_those_that_are_too_large(there: Proxied) -> None:
    sent = there.client.post(JOBS, files={"file": ("talk.wav", wav(5 * MB))})
    assert sent.status_code == 202, sent.text
    there.client.delete(f"{JOBS}/{sent.json()['id']}")
    answer = there.client.post(JOBS, files={"file": ("talk.wav", wav((UPLOAD_MB + 2) * MB))})
    refused(answer, 413, "too_large")


def test_an_upload_is_passed_on_as_it_comes(there: Proxied) -> None:
    """What had come when the line broke need not be sent again."""
    content = wav(6 * MB)
    begun = begin(there.client, len(content))
    url = begun.headers["Location"]

    def half() -> Iterator[bytes]:
        yield content[: 3 * MB]
        raise ConnectionResetError

    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    with pytest.raises(ConnectionResetError):
        there.client.patch(url, content=half(), headers=headers | {"Content-Length": str(len(content))})
    until(lambda: offset(there.client, url))

    def rest() -> httpx.Response:
        came = offset(there.client, url)
        return patch(there.client, url, came, content[came:])

    # whoever was cut off may hold it, and store what came, a moment longer
    done = until(lambda: (answer := rest()).status_code not in (409, 423) and answer)
    assert done.status_code == 204, done.text
    assert there.client.get(done.headers["Location"]).json()["source"]["bytes"] == len(content)
    there.client.delete(done.headers["Location"])


def test_events_come_one_by_one(there: Proxied) -> None:
    """The next part is made when the one before has been seen: nobody on the way may wait for more."""
    talk = Talk(there.service.store, owner="anna")
    with following(there.client, f"{JOBS}/{talk.id}/events") as events:
        assert next(events).event == "job"
        talk.end(0)
        for n in (1, 2):
            talk.end(n)
            assert next(event for event in events if event.event == "segments").json()["from"] == 2 * n - 2
        talk.finish(there.service.objects)
        assert [event.event for event in events][-1] == "end"


def test_a_websocket_and_its_events(there: Proxied) -> None:
    talk = Talk(there.service.store, owner="anna")
    line = socket.create_connection(("127.0.0.1", there.port), source_address=(CLIENT, 0))
    address = f"wss://{HOST}:{there.port}{JOBS}/{talk.id}/ws"
    with connect(address, sock=line, ssl=there.tls, additional_headers={"X-API-Key": there.key}, proxy=None) as ws:
        assert json.loads(ws.recv(20))["event"] == "job"
        talk.end(0)
        talk.end(1)
        events = iter(lambda: json.loads(ws.recv(20)), None)
        assert next(event for event in events if event["event"] == "segments")["data"]["from"] == 0
        talk.whole(there.service.objects)
        assert next(event for event in events if event["event"] == "end")
    assert there.scopes[-1]["scheme"] == "wss" and there.scopes[-1]["client"][0] == CLIENT


def test_who_waits_gets_the_text_and_who_goes_is_noticed(there: Proxied) -> None:
    form: dict[str, Any] = {"files": {"file": ("talk.wav", wav())}, "data": {"model": "whisper-1"}}
    with consuming(there.service):
        assert there.client.post("/v1/audio/transcriptions", **form).json()["text"] == TEXT
    with pytest.raises(httpx.ReadTimeout):
        there.client.post("/v1/audio/transcriptions", timeout=0.5, **form)
    (job,) = until(lambda: there.service.store.of("anna").list(limit=1)[0])
    until(lambda: there.service.store.get(job.id).status is JobStatus.CANCELLED)


def test_results_of_a_batch_and_parts_of_a_file(there: Proxied) -> None:
    batch = there.client.post("/api/v1/batches", json={}).json()["id"]
    content = wav(2 * MB)
    files = {"file": ("talk.wav", content)}
    job = there.client.post(JOBS, files=files, data={"batch": batch}).json()["id"]
    with consuming(there.service) as done:
        until(lambda: done)
    answer = there.client.get(f"/api/v1/batches/{batch}/results.zip", params={"format": "txt"})
    assert "content-length" not in answer.headers, "it is sent while it is made"
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    assert packed.testzip() is None and packed.namelist() == ["talk.txt"]
    part = there.client.get(f"{JOBS}/{job}/audio", headers={"Range": f"bytes={MB}-"})
    assert part.status_code == 206 and part.content == content[MB:]


def test_times_of_the_page_are_above_the_settings() -> None:
    wait = Settings.model_fields["sync_wait_seconds"].default
    found = [int(seconds) for seconds in re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", PAGE)]
    assert len(found) == 2 and min(found) > wait
