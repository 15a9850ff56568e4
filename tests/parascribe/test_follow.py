"""The client follows jobs of the real API, through restarts and whatever else breaks a stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.events import hub, stream
from core.store.sql import SqlStore
from parascribe import Client
from parascribe.client import events as client_events
from parascribe.client.bodies import Event
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
def client(api: Api) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{api.port}") as client:
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
    assert list(client.watch([])) == []


@pytest.mark.parametrize("many", [False, True])
def test_one_that_is_removed_is_not_waited_for(client: Client, store: SqlStore, many: bool) -> None:
    talks = [Talk(store) for _ in range(1 + many)]
    work = after(0.1, lambda: store.request_delete(talks[0].id))
    with pytest.raises(NotFound):
        list(client.watch([talk.id for talk in talks]))
    work.join()


def test_a_bounded_wait_asks_the_service_to_wait(client: Client, store: SqlStore) -> None:
    talk = Talk(store)
    with pytest.raises(WaitTimeout):
        client.wait(talk.id, timeout=0.3)
    work = after(0.05, talk.whole)
    assert client.wait(talk.id, timeout=30)["status"] == "completed"
    work.join()
