"""Following jobs: events in order, each once, and on from any of them in any process."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from api.access.identity import Open
from api.events import hub as hub_module
from api.events import stream
from api.events.hub import Hub
from api.events.status import Asked, StatusReads
from api.events.stream import EventStream, Position, events
from core.errors import DatabaseUnavailable, ValidationFailed
from core.store.sql import SqlStore
from tests.api.serving import Service, make_app, service, serving
from tests.api.talks import Talk, following, segments_of
from tests.api.test_submit import refused
from tests.core.store_kit import new_job, open_store

BASE = "/api/v1"


def of(talk: Talk, what: str = "events") -> str:
    return f"{BASE}/jobs/{talk.id}/{what}"


def until(found: Iterator[ServerSentEvent], wanted: Callable[[ServerSentEvent], Any]) -> list[ServerSentEvent]:
    """All up to that one."""
    got = []
    for event in found:
        got.append(event)
        if wanted(event):
            return got
    raise AssertionError(f"it did not come; the last: {got[-1:]}")


def is_end(event: ServerSentEvent) -> bool:
    return event.event == "end"


def result(running: Service, talk: Talk) -> list[dict[str, Any]]:
    answer = running.client.get(of(talk, "result"), params={"format": "json"})
    return answer.json()["segments"]  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long a pause is."""
    monkeypatch.setattr(hub_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(hub_module, "SHORTEST_LOOK_SECONDS", 0.01)


def test_events_while_a_job_runs(running: Service) -> None:
    talk = Talk(running.store)
    with following(running.client, of(talk)) as found:
        first = next(found)
        assert (first.event, first.json()) == ("job", running.client.get(f"{BASE}/jobs/{talk.id}").json())
        got: list[ServerSentEvent] = []
        for n in range(3):
            talk.end(n)
            if n:
                got += until(found, lambda event: event.event == "segments")
        talk.finish(running.objects)
        got += until(found, is_end)
        assert next(found, None) is None, "the stream closes"
    assert segments_of(got) == result(running, talk)
    bodies = [event.json() for event in got if event.event == "job"]
    assert bodies[-1] == running.client.get(f"{BASE}/jobs/{talk.id}").json()
    assert got[-1].json() == {"id": talk.id, "status": "completed"}


def test_headers_suit_an_event_source_behind_a_proxy(running: Service) -> None:
    talk = Talk(running.store).whole()
    answer = running.client.get(of(talk))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
    head = running.client.head(of(Talk(running.store)))
    assert (head.status_code, head.content) == (200, b""), "a HEAD of what has no end has one"


def test_every_id_goes_on_behind_its_event_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    with service(tmp_path, store=open_store(url, None)) as one, service(tmp_path, store=open_store(url, None)) as other:
        talk = Talk(one.store, chunks=4)
        with following(one.client, of(talk)) as found:
            got = [next(found)]
            for n in range(4):
                talk.end(n)
                if n:
                    got += until(found, lambda event: event.event == "segments")
            talk.finish(one.objects)
            got += until(found, is_end)
        whole = segments_of(got)
        assert [segment["id"] for segment in whole] == list(range(8))
        for n, event in enumerate(got[:-1]):
            with following(other.client, of(talk), event.id) as found:
                rest = until(found, is_end)
            assert segments_of(got[: n + 1]) + segments_of(rest) == whole, "no gap and no repeat"
            versions = [int(e.id.partition(".")[0]) for e in (*got[: n + 1], *rest) if e.event == "job"]
            assert versions == sorted(set(versions)), "no body comes twice"
        answer = other.client.get(of(talk), headers={"Last-Event-ID": got[-1].id})
        assert answer.status_code == 204, "an EventSource does not come again"
        one.store.close()
        other.store.close()


def test_a_process_that_knows_less_than_the_client_says_nothing_old(running: Service) -> None:
    talk = Talk(running.store)
    version = running.store.get(talk.id).version
    with following(running.client, of(talk), f"{version + 2}.4") as found:
        for n in range(3):
            talk.end(n)
        talk.finish()
        got = until(found, is_end)
    assert all(int(event.id.partition(".")[0]) > version + 2 for event in got)
    assert [segment["id"] for segment in segments_of(got)] == [4, 5]


@pytest.mark.parametrize("last", ["x", "1", "1.2.3", "-1.0", "1.2.end.", "9999999999.1", "１.2", "1.2 "])
def test_an_id_that_is_none_is_refused(running: Service, last: str) -> None:
    with pytest.raises(ValidationFailed):
        Position.parse(last)
    if last.isascii() and last == last.strip():
        for path in (of(Talk(running.store)), f"{BASE}/events") if last != "1" else (of(Talk(running.store)),):
            refused(running.client.get(path, headers={"Last-Event-ID": last}), 422, "validation")


def test_how_a_stream_ends_otherwise(running: Service) -> None:
    failed, deleted = Talk(running.store), Talk(running.store)
    with following(running.client, of(deleted)) as found:
        assert next(found).event == "job"
        running.client.delete(f"{BASE}/jobs/{deleted.id}").raise_for_status()
        assert until(found, is_end)[-1].json() == {"id": deleted.id, "status": "deleted"}
    refused(running.client.get(of(deleted)), 404, "job_not_found")
    failed.end(0)
    running.client.post(f"{BASE}/jobs/{failed.id}/cancel").raise_for_status()
    running.store.cancelled(failed.claim)
    with following(running.client, of(failed)) as found:
        got = until(found, is_end)
    assert got[-1].json()["status"] == "cancelled" and len(segments_of(got)) == 2, "what was heard"
    refused(running.client.get(of(failed), params={"from": "1"}), 422, "validation")
    refused(running.client.get(f"{BASE}/jobs/nonsense/events"), 404, "job_not_found")


def test_many_followers_of_some_jobs_cost_one_look(tmp_path: Path) -> None:
    class Watched(SqlStore):
        looks = fetches = chunks = 0

        def versions(self, job_ids: Collection[str]) -> dict[str, tuple[str | None, int]]:
            self.looks += 1
            return super().versions(job_ids)

        def jobs_of(self, job_ids: Collection[str]) -> Any:
            self.fetches += 1
            return super().jobs_of(job_ids)

        def ended_chunks(self, job_id: str, *, first: int, limit: int) -> Any:
            self.chunks += 1
            return super().ended_chunks(job_id, first=first, limit=limit)

    store = Watched(SqlStore.in_memory().database)
    talks = [Talk(store) for _ in range(4)]

    async def run() -> None:
        reads = StatusReads(store)
        hub = Hub(store, reads)
        ends: list[int] = []
        begun = asyncio.Semaphore(0)

        async def follow(talk: Talk) -> None:
            async with hub.follow(Asked(Open.LOCAL, talk.id, BASE), {}) as follower:
                begun.release()
                count = 0
                async for event in events(hub, follower, Position()):
                    if event is not None and event.kind == "segments":
                        count += len(json.loads(event.data)["segments"])
                ends.append(count)

        followers = [asyncio.create_task(follow(talk)) for talk in talks * 25]
        for _ in followers:
            await begun.acquire()
        store.looks = store.fetches = store.chunks = 0
        for talk in talks:
            await asyncio.to_thread(talk.whole)
        await asyncio.gather(*followers)
        assert ends == [6] * 100
        assert store.looks <= 4 * 5 * 5 and store.chunks <= 4 * 5, "however many follow"
        assert not hub._watched
        hub.close()
        reads.close()

    asyncio.run(run())


def test_an_outage_of_the_database_is_borne(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "BLIND_SECONDS", 0.02)

    class Failing(SqlStore):
        fails = False
        failed = threading.Event()

        def versions(self, job_ids: Collection[str]) -> dict[str, tuple[str | None, int]]:
            if self.fails:
                self.failed.set()
                raise DatabaseUnavailable
            return super().versions(job_ids)

    store = Failing(SqlStore.in_memory().database)
    talk = Talk(store)
    with service(tmp_path, store=store) as running, following(running.client, of(talk)) as found:
        assert next(found).event == "job"
        store.fails = True
        assert store.failed.wait(10)
        refused(running.client.get(of(talk)), 503, "internal")
        store.fails = False
        talk.whole()
        assert len(segments_of(until(found, is_end))) == 6


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    talk = Talk(store)
    app = make_app(tmp_path, store)
    hub: Hub = app.state.parts.hub
    path = f"{BASE}/jobs/{talk.id}"
    with ExitStack() as stack:
        port = stack.enter_context(serving(app))
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
        with client, ThreadPoolExecutor(1) as pool:
            known = {"If-None-Match": client.get(path).headers["ETag"]}
            poll = pool.submit(client.get, f"{path}?wait=60", headers=known)
            with (
                following(client, of(talk)) as found,
                following(client, f"{BASE}/events") as everything,
                connect(f"ws://127.0.0.1:{port}{of(talk, 'ws')}") as ws,
            ):
                assert next(found).event == next(everything).event == json.loads(ws.recv(10))["event"] == "job"
                deadline = time.monotonic() + 10
                while sum(len(one.followers) for one in hub._watched.values()) < 3:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                began = time.monotonic()
                stack.close()
                assert time.monotonic() - began < 5, "nobody was waited for: that is when the rest is cut"
                assert (list(found), list(everything)) == ([], [])
                with pytest.raises(ConnectionClosed) as closed:
                    ws.recv(10)
            assert poll.result(10).status_code == 304
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012


def test_who_takes_nothing_is_dropped(running: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    class Noted(EventStream):
        async def __call__(self, *asgi: Any) -> None:
            self._stall = 0.2
            await super().__call__(*asgi)
            gone.set()

    async def endless(*_: Any) -> Any:
        while True:
            yield stream.Event(kind="job", id="1.0", data='"' + "x" * 100_000 + '"')
            await asyncio.sleep(0)

    monkeypatch.setattr(stream, "EventStream", Noted)
    monkeypatch.setattr(stream, "events", endless)
    talk = Talk(running.store)
    with socket.create_connection((running.host, running.port)) as wire:
        wire.sendall(f"GET {of(talk)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert gone.wait(20), "it was waited for"


def test_who_goes_is_forgotten(running: Service) -> None:
    talk = Talk(running.store)
    with following(running.client, of(talk)) as found:
        assert next(found).event == "job"
    deadline = time.monotonic() + 10
    while 'route="/api/v1/jobs/{job_id}/events",status="200"' not in running.client.get("/metrics").text:
        assert time.monotonic() < deadline, "the request has not ended"
        time.sleep(0.02)


def test_comments_show_that_a_quiet_stream_lives(running: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "QUIET_SECONDS", 0.05)
    talk = Talk(running.store)
    for path in (of(talk), f"{BASE}/events"):
        with running.client.stream("GET", path) as answer:
            text = ""
            for piece in answer.iter_text():
                text += piece
                if text.endswith(":\n\n:\n\n"):
                    break
        assert text.startswith("id: ")
        marked = re.search(r"\n\nid: \d+\n\n:\n\n", text) is not None
        assert marked == (path == f"{BASE}/events"), "behind the states there are comes an id alone"


# --- waiting


def test_a_look_waits_for_a_change(running: Service) -> None:
    talk = Talk(running.store)
    path = f"{BASE}/jobs/{talk.id}"
    known = {"If-None-Match": running.client.get(path).headers["ETag"]}
    assert running.client.get(f"{path}?wait=0.05", headers=known).status_code == 304
    assert running.client.get(f"{path}?wait=60").status_code == 200, "there is nothing to compare with"
    timer = threading.Timer(0.1, talk.end, [0])
    timer.start()
    changed = running.client.get(f"{path}?wait=30", headers=known)
    assert changed.json()["progress"]["chunks_done"] == 1
    timer.join()
    running.store.request_cancel(talk.id)
    running.store.cancelled(talk.claim)
    known = {"If-None-Match": running.client.get(path).headers["ETag"]}
    assert running.client.get(f"{path}?wait=60", headers=known).status_code == 304, "nothing is waited for at the end"


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "x", ""])
def test_a_wait_that_is_none_is_refused(running: Service, wait: str) -> None:
    talk = Talk(running.store)
    for path in (f"{BASE}/jobs/{talk.id}", of(talk, "segments")):
        refused(running.client.get(path, params={"wait": wait}), 422, "validation")
        refused(running.client.get(f"{path}?wait=1&wait=2"), 422, "validation")
        refused(running.client.get(f"{path}?weight=1"), 422, "validation")


def test_segments_one_look_after_the_other(running: Service) -> None:
    talk = Talk(running.store)
    found: list[dict[str, Any]] = []

    def ask(wait: float = 0.0) -> dict[str, Any]:
        answer = running.client.get(of(talk, "segments"), params={"from": len(found), "wait": wait})
        return answer.raise_for_status().json()  # type: ignore[no-any-return]

    assert ask() == ask(0.05) == {"from": 0, "segments": [], "next": 0, "ended": False}
    timers = [threading.Timer(0.05 * n, talk.end, [n]) for n in range(3)]
    for timer in timers:
        timer.start()
    while len(found) < 3:
        body = ask(30)
        assert body["from"] == len(found) and body["next"] == len(found) + len(body["segments"])
        found += body["segments"]
    for timer in timers:
        timer.join()
    talk.finish(running.objects)
    while not (body := ask(30))["ended"]:
        found += body["segments"]
    assert found + body["segments"] == result(running, talk)
    beyond = running.client.get(of(talk, "segments"), params={"from": 1000, "wait": 30}).json()
    assert beyond == {"from": 1000, "segments": [], "next": 1000, "ended": True}
    refused(running.client.get(of(talk, "segments"), params={"from": "-1"}), 422, "validation")
    running.store.expire(audio_hours=0, result_hours=1e-9, limit=10)
    refused(running.client.get(of(talk, "segments")), 410, "expired")
    with following(running.client, of(talk)) as events_:
        assert [event.event for event in events_] == ["job", "end"], "the text is gone"


# --- WebSocket


def messages(ws: ClientConnection) -> Iterator[dict[str, Any]]:
    try:
        while True:
            yield json.loads(ws.recv(20))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None and closed.rcvd.code == 1000


def test_the_same_by_websocket(running: Service) -> None:
    talk = Talk(running.store)
    address = f"ws://{running.host}:{running.port}{of(talk, 'ws')}"
    with connect(address) as ws:
        assert json.loads(ws.recv(10))["data"]["id"] == talk.id
        talk.whole(running.objects)
        got = list(messages(ws))
    assert [s for m in got if m["event"] == "segments" for s in m["data"]["segments"]] == result(running, talk)
    assert (got[-1]["event"], got[-1]["data"]) == ("end", {"id": talk.id, "status": "completed"})
    last = next(m["id"] for m in got if m["event"] == "segments")
    with connect(f"{address}?last_event_id={last}") as ws:
        assert list(messages(ws)) == got[[m["id"] for m in got].index(last) + 1 :]


def test_a_websocket_is_refused_as_a_request_is(running: Service) -> None:
    talk = Talk(running.store)
    address = f"ws://{running.host}:{running.port}"
    for path, status in (
        (f"{BASE}/jobs/nonsense/ws", 404),
        (f"{BASE}/jobs/{talk.id[:-4]}ffff/ws", 404),
        (of(talk, "ws?last_event_id=x"), 422),
        (of(talk, "ws?from=1"), 422),
        (of(talk, "ws?last_event_id=1.0&last_event_id=2.0"), 422),
    ):
        with pytest.raises(InvalidStatus) as refusal, connect(address + path):
            pass
        assert refusal.value.response.status_code == status
        assert json.loads(refusal.value.response.body)["status"] == status


def test_a_client_that_speaks_is_told_that_nobody_listens(running: Service) -> None:
    talk = Talk(running.store)
    with connect(f"ws://{running.host}:{running.port}{of(talk, 'ws')}") as ws:
        ws.recv(10)
        ws.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1003


# --- all jobs


def test_all_jobs_at_once(running: Service) -> None:
    ended, waiting = Talk(running.store).whole(), running.store.create(new_job()).id
    running.store.request_cancel(waiting)
    running.store.request_delete(ended.id)
    talk = Talk(running.store)
    with following(running.client, f"{BASE}/events") as found:
        assert talk.id in [event.json()["id"] for event in until(found, lambda e: e.json()["id"] == talk.id)]
        later = running.submit().json()["id"]
        until(found, lambda event: event.json()["id"] == later)
        talk.end(0)
        last = until(found, lambda event: event.json()["progress"]["chunks_done"] == 1)[-1]
        assert last.event == "job"
    talk.whole()
    running.client.post(f"{BASE}/jobs/{later}/cancel").raise_for_status()
    with following(running.client, f"{BASE}/events", last.id) as found:
        told = {}
        for event in found:
            if event.event == "end":
                told[event.json()["id"]] = event.json()["status"]
            if {talk.id, later} <= told.keys():
                break
        assert (told[talk.id], told[later]) == ("completed", "cancelled"), "what ended while nobody listened"
        doomed = running.submit().json()["id"]
        until(found, lambda event: event.json()["id"] == doomed)
        running.client.delete(f"{BASE}/jobs/{doomed}").raise_for_status()
        assert until(found, is_end)[-1].json() == {"id": doomed, "status": "deleted"}
