"""Both clients follow jobs of the real API, through restarts and whatever else breaks a stream."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.events import hub, overview, stream
from core.store.sql import SqlStore
from parascribe import Client
from parascribe.client import events as client_events
from parascribe.client.bodies import Event
from parascribe.client.calls import following
from parascribe.client.errors import NotFound, WaitTimeout
from tests.api.serving import make_app, serving
from tests.api.talks import Talk
from tests.core.store_kit import new_job


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long a pause is."""
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(client_events, "POLL_FIRST", 0.02)


class Api:
    """The API on a port that stays; it can be stopped and started."""

    def __init__(self, folder: Path, store: SqlStore) -> None:
        self._folder, self._store = folder, store
        self._stack = ExitStack()
        self.port = 0
        self.start()

    def start(self) -> None:
        self.port = self._stack.enter_context(serving(make_app(self._folder, self._store), port=self.port))

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def store() -> SqlStore:
    return SqlStore.in_memory()


@pytest.fixture
def api(tmp_path: Path, store: SqlStore) -> Iterator[Api]:
    api = Api(tmp_path, store)
    yield api
    api.stop()


@pytest.fixture
def client(api: Api, kind: Any) -> Iterator[Client]:
    with kind(f"http://127.0.0.1:{api.port}") as client:
        yield client


def after(seconds: float, *acts: Callable[[], object]) -> threading.Thread:
    """Do this meanwhile."""

    def run() -> None:
        for act in acts:
            pause.wait(seconds)
            act()

    pause = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def asked(port: int, route: str) -> int:
    """How many requests there were, as the service's figures say."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    counts = re.findall(rf'^\w+_requests_total\{{[^}}]*route="{re.escape(route)}"[^}}]*\}} (\S+)$', text, re.MULTILINE)
    return int(sum(map(float, counts)))


def numbers(events: list[Event]) -> list[int]:
    return [segment["id"] for e in events if e["event"] == "segments" for segment in e["data"]["segments"]]


def test_a_job_is_followed_to_its_end(client: Client, store: SqlStore) -> None:
    talk = Talk(store)
    work = after(0.05, *(lambda n=n: talk.end(n) for n in range(3)), talk.finish)
    events = list(client.follow(talk.id))
    work.join()
    assert (events[0]["event"], events[0]["data"]["id"]) == ("job", talk.id)
    assert numbers(events) == list(range(6))
    assert (events[-1]["event"], events[-1]["data"]["status"]) == ("end", "completed")
    for n, event in enumerate(events):
        rest = list(client.follow(talk.id, after=event["id"]))
        assert numbers(events[: n + 1]) + numbers(rest) == list(range(6))
    assert rest == []
    with pytest.raises(NotFound):
        next(client.follow(talk.id[:-4] + "ffff"))


@pytest.mark.parametrize("many", [False, True])
def test_what_shows_that_a_stream_lives_is_no_event(
    client: Client, store: SqlStore, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUIET_SECONDS", 0.01)  # comments, again and again
    talks = [Talk(store) for _ in range(1 + many)]
    work = after(0.2, *(talk.whole for talk in talks))
    last = {job["id"]: job["status"] for job in client.watch([talk.id for talk in talks])}
    work.join()
    assert last == {talk.id: "completed" for talk in talks}


def test_restarts_leave_no_gap_and_no_repeat(api: Api, client: Client, store: SqlStore) -> None:
    talk = Talk(store, chunks=4)
    events: list[Event] = []
    for event in client.follow(talk.id):
        events.append(event)
        done = sum(e["event"] == "job" for e in events)
        if event["event"] == "job" and done <= 4:
            api.stop()
            talk.end(done - 1)
            api.start()
        elif event["event"] == "job" and done == 5:
            talk.finish()
    assert numbers(events) == list(range(8))
    versions = [int(e["id"].partition(".")[0]) for e in events if e["event"] == "job"]
    assert versions == sorted(set(versions))


def test_who_waits_is_told(client: Client, store: SqlStore) -> None:
    talk = Talk(store)
    seen: list[int] = []
    work = after(0.05, *(lambda n=n: talk.end(n) for n in range(3)), talk.finish)
    job = client.wait(talk.id, on_progress=lambda body: seen.append(body["progress"]["chunks_done"]))
    work.join()
    assert job["status"] == "completed" and seen == sorted(seen) and seen[-1] == 3
    assert client.wait(talk.id)["status"] == "completed", "one that has ended too"


@pytest.mark.parametrize("restart", [False, True])
def test_many_are_watched_by_one_stream(api: Api, client: Client, store: SqlStore, restart: bool) -> None:
    early = Talk(store).whole()
    talks = [Talk(store) for _ in range(3)]
    store.create(new_job())  # nobody asks for this one
    work = after(0.05, talks[0].whole, *((api.stop, api.start) if restart else ()), talks[1].whole, talks[2].whole)
    ids = [talk.id for talk in (early, *talks)]
    last = {job["id"]: job["status"] for job in client.watch(ids)}
    work.join()
    assert last == dict.fromkeys(ids, "completed")
    assert list(client.watch([])) == client.wait_all([]) == []


def test_all_are_waited_for_as_they_were_asked_for(api: Api, client: Client, store: SqlStore) -> None:
    talks = [Talk(store) for _ in range(4)]
    work = after(0.02, talks[2].whole, api.stop, talks[0].whole, api.start, *(talk.whole for talk in talks[::-2]))
    ids = [talk.id for talk in talks] + [talks[0].id]
    assert [(job["id"], job["status"]) for job in client.wait_all(ids)] == [(one, "completed") for one in ids]
    work.join()
    ended = [job["id"] for job in client.as_completed(iter(ids))]
    assert sorted(ended) == sorted({*ids}), "each once"


def test_what_ended_before_the_stream_began_is_not_missed(
    client: Client, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "RECENT_SECONDS", -60.0)  # nothing that has ended is told any more
    ids = [Talk(store).whole().id for _ in range(3)]
    assert {job["id"] for job in client.as_completed(ids)} == {*ids}
    gone = Talk(store).id
    store.request_delete(gone)
    with pytest.raises(NotFound):
        client.wait_all([ids[0], gone])


def test_more_than_the_stream_tells_of(client: Client, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST", 2)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(stream, "QUIET_SECONDS", 0.02)
    ids = [store.create(new_job()).id for _ in range(7)]
    work = after(0.1, lambda: [store.request_cancel(job_id) for job_id in ids])
    assert {job["status"] for job in client.wait_all(ids)} == {"cancelled"}
    work.join()


@pytest.mark.parametrize("many", [False, True])
def test_one_that_is_removed_is_not_waited_for(api: Api, client: Client, store: SqlStore, many: bool) -> None:
    for acts in ((), (api.stop, api.start)):
        talks = [Talk(store) for _ in range(1 + many)]
        doom = [*acts]
        doom.insert(len(doom) // 2, lambda doomed=talks[0].id: store.request_delete(doomed))
        work = after(0.1, *doom)
        with pytest.raises(NotFound):
            list(client.watch([talk.id for talk in talks]))
        work.join()


@pytest.mark.parametrize("many", [False, True])
def test_a_bounded_wait_is_told_too_until_the_last(
    api: Api, client: Client, store: SqlStore, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LAST_SECONDS", 0.1)
    monkeypatch.setattr(stream, "QUIET_SECONDS", 0.02)
    talks = [Talk(store) for _ in range(1 + many)]
    ids = [talk.id for talk in talks]
    with pytest.raises(WaitTimeout):
        client.wait_all(ids, timeout=0.4)
    looks = asked(api.port, "/api/v1/jobs/{job_id}")
    work = after(0.05, *(talk.whole for talk in talks))
    assert {job["status"] for job in client.wait_all(ids, timeout=30)} == {"completed"}
    work.join()
    assert asked(api.port, "/api/v1/jobs/{job_id}") == looks, "only the last of a time-out is polled"
    assert asked(api.port, "/api/v1/events" if many else "/api/v1/jobs/{job_id}/events") == 2


def test_a_bounded_wait_asks_the_service_to_wait(client: Client, store: SqlStore) -> None:
    talk = Talk(store)
    with pytest.raises(WaitTimeout):
        client.wait(talk.id, timeout=0.3)
    work = after(0.05, talk.whole)
    assert client.wait(talk.id, timeout=30)["status"] == "completed"
    work.join()
