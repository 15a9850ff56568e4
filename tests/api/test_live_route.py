"""WS /api/v1/live: what its clients say and are told, and who may."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from api.access.identity import Identity
from api.access.keys import KeyAuthenticator
from api.live import client, conversation
from api.live.scripted import Line, ScriptedLink, ScriptedLinks
from core.errors import LiveFull, ServiceError
from core.jobs.consumers import ConsumerInfo
from core.keys import KeyLimits, key_of, new_token
from core.live.events import Ack, End, Final, event_of
from core.live.options import Start
from core.store.sql import SqlStore
from tests.api.live_process import LiveProcess
from tests.api.serving import Service
from tests.api.test_access import KEY, Quiet, with_keys
from tests.api.test_live_links import SCRIPT, TEXTS
from tests.core.store_kit import new_job

SECOND = bytes(32_000)


@contextmanager
def stream(running: Service, start: Any = None, *, headers: dict[str, str] | None = None) -> Iterator[ClientConnection]:
    address = f"ws://{running.host}:{running.port}/api/v1/live"
    with connect(address, additional_headers=headers or {}) as socket:
        if start is not None:
            socket.send(json.dumps({"type": "start"} | start))
        yield socket


def told(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """All messages up to the end, and the code that the connection was closed with."""
    messages: list[dict[str, Any]] = []
    try:
        while True:
            messages.append(json.loads(socket.recv(20)))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return messages, closed.rcvd.code


def refused(running: Service, *said: Any, headers: dict[str, str] | None = None) -> tuple[dict[str, Any], int]:
    """The error that comes of saying that, and the close code."""
    with stream(running, headers=headers) as socket:
        for message in said:
            socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        messages, code = told(socket)
    assert messages[-1]["type"] == "error"
    return messages[-1], code


@pytest.fixture
def scripted(serve: Callable[..., Service]) -> Service:
    return serve(live=ScriptedLinks(SCRIPT))


@pytest.fixture
def keyed(serve: Callable[..., Service]) -> Iterator[Service]:
    store = with_keys(SqlStore.in_memory())
    table = Quiet(store)
    yield serve(store=store, authenticator=KeyAuthenticator(table), live=ScriptedLinks(SCRIPT))
    table.close()


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY[name]}"}


def test_speech_becomes_text_and_a_job(scripted: Service) -> None:
    with stream(scripted, {"translate_to": "de"}) as socket:
        ready = json.loads(socket.recv(10))
        assert ready["type"] == "ready" and ready["session"]
        for _ in range(6):
            socket.send(SECOND)
        socket.send(b"")
        socket.send('{"type": "end"}')
        messages, code = told(socket)
    assert code == 1000
    events = [event_of(message) for message in messages]
    assert [event.text for event in events if isinstance(event, Final)] == TEXTS
    assert isinstance(events[-1], End) and events[-1].job
    assert [event.to_dict() for event in events if event] == messages


def test_a_client_whose_connection_broke_goes_on_with_its_session(scripted: Service) -> None:
    with stream(scripted, {}) as socket:
        session = json.loads(socket.recv(10))["session"]
        for _ in range(2):
            socket.send(SECOND)
        ack = None
        while not isinstance(ack, Ack):
            ack = event_of(json.loads(socket.recv(10)))
        socket.socket.close()  # no goodbye
    with stream(scripted, {"session": session, "from": ack.position}) as socket:
        ready = json.loads(socket.recv(10))
        assert (ready["resumed"], ready["session"]) == (True, session)
        socket.send(bytes(6 * 32_000 - 2 * ack.position))
        socket.send('{"type": "end"}')
        messages, code = told(socket)
    assert code == 1000
    assert [message["text"] for message in messages if message["type"] == "final"] == TEXTS[1:]


def test_what_cannot_be_is_said_with_a_code_and_a_close_code(scripted: Service) -> None:
    start = {"type": "start"}
    for said in ("no JSON", b"audio", "[1]", {"type": "end"}, "😀", "[" * 5000):
        error, code = refused(scripted, said)
        assert (error["code"], code) == ("live_protocol", 1008)
    error, code = refused(scripted, start | {"sample_rate": 12, "colour": "red"})
    assert (error["code"], code) == ("validation", 1008)
    assert {one["field"] for one in error["errors"]} == {"sample_rate", "colour"}
    assert refused(scripted, start, {"type": "pause"})[0]["code"] == "live_protocol"
    error, code = refused(scripted, start, {"type": "flush", "now": True})
    assert (error["code"], error["errors"][0]["field"], code) == ("validation", "now", 1008)
    error, code = refused(scripted, start | {"session": "nobody's"})
    assert (error["code"], code) == ("live_session_not_found", 1008)


def test_a_full_service_says_try_again_later(serve: Callable[..., Service]) -> None:
    running = serve(live=ScriptedLinks(refuse=LiveFull()))
    error, code = refused(running, {"type": "start"})
    assert (error["code"], code) == ("live_full", 1013)
    defect = serve(live=ScriptedLinks(refuse=ServiceError("It broke.")))
    error, code = refused(defect, {"type": "start"})
    assert (error["code"], code) == ("internal", 1011)


def test_without_any_live_process_that_is_said(running: Service) -> None:
    error, code = refused(running, {"type": "start"})
    assert (error["code"], code) == ("live_unavailable", 1013)
    live = running.client.get("/api/v1/features").json()["live"]
    assert live["available"] is False and "mulaw" in live["encodings"] and "translate_to" in live["options"]
    assert 'parascribe_live_refusals_total{code="live_unavailable"} 1.0' in running.client.get("/metrics").text


def test_parameters_in_the_query_are_refused(scripted: Service) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(f"ws://127.0.0.1:{scripted.port}/api/v1/live?model=tiny"):
        pass
    assert refusal.value.response.status_code == 422


def test_only_keys_for_jobs_may_stream_and_sessions_are_their_owners(keyed: Service) -> None:
    for headers, status in (
        ({}, 401),
        (bearer("late"), 401),
        (bearer("nobody"), 401),
        (bearer("models"), 403),
        ({"Cookie": "parascribe_session=x", "Origin": "https://elsewhere.example"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refusal, stream(keyed, headers=headers):
            pass
        assert refusal.value.response.status_code == status
    with stream(keyed, {}, headers=bearer("anna")) as socket:
        session = json.loads(socket.recv(10))["session"]
    again = {"type": "start", "session": session}
    assert refused(keyed, again, headers=bearer("bert"))[0]["code"] == "live_session_not_found"
    with stream(keyed, {"session": session}, headers=bearer("anna")) as socket:
        assert json.loads(socket.recv(10))["resumed"] is True


def test_limits_of_a_key_hold_for_streams_that_become_jobs(keyed: Service) -> None:
    token = new_token()
    keyed.store.add_key(key_of(token, "few", owner="few", limits=KeyLimits(jobs_waiting=1)))
    keyed.store.of("few", all_jobs=False).create(new_job())
    headers = {"X-API-Key": token}
    error, code = refused(keyed, {"type": "start"}, headers=headers)
    assert (error["code"], code) == ("quota_exceeded", 1013)
    with stream(keyed, {"save": False}, headers=headers) as socket:
        assert json.loads(socket.recv(10))["type"] == "ready"


def test_a_key_that_is_revoked_ends_its_streams(keyed: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READMIT_SECONDS", 0.05)
    with stream(keyed, {}, headers=bearer("bert")) as socket:
        assert json.loads(socket.recv(10))["type"] == "ready"
        keyed.store.revoke(KEY["bert"][4:12])
        keyed.client.get("/api/v1/jobs", headers=bearer("nobody"))  # has the table looked at
        messages, code = told(socket)
    assert (messages[-1]["code"], code) == ("unauthorized", 1008)


def test_who_says_nothing_is_not_waited_for(scripted: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "START_SECONDS", 0.05)
    with stream(scripted) as socket:
        messages, code = told(socket)
    assert (messages[-1]["code"], code) == ("live_idle", 1013)


def test_a_client_that_never_reads_is_dropped(serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STALL_SECONDS", 0.2)
    let_go = threading.Event()

    class Link(ScriptedLink):
        async def close(self) -> None:
            await super().close()
            let_go.set()

    class Links(ScriptedLinks):
        async def open(self, start: Mapping[str, Any], who: Identity) -> ScriptedLink:
            wanted = Start.of(start)
            return Link(self.stream(wanted, who.owner), wanted)

    much = [Line(start=n / 10, end=n / 10 + 0.05, text="a" * 500_000) for n in range(40)]
    running = serve(live=Links(much))
    upgrade = (
        f"GET /api/v1/live HTTP/1.1\r\nHost: {running.host}:{running.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with create_connection((running.host, running.port)) as line:  # clients of libraries read ahead
        line.sendall(upgrade.encode())
        assert b" 101 " in line.recv(4096)
        for kind, data in ((1, b'{"type": "start"}'), (2, 5 * SECOND)):
            line.sendall(struct.pack("!BBQL", 0x80 | kind, 0xFF, len(data), 0) + data)
        assert let_go.wait(20)


def test_the_process_that_a_consumer_tells_of_serves_the_stream(running: Service, tmp_path: Path) -> None:
    process = LiveProcess(name="one", sessions=ScriptedLinks(SCRIPT), path=tmp_path / "live")
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serving() -> None:
        async with process.running():
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serving()))
    thread.start()
    try:
        assert ready.wait(10)
        running.store.beat("one", ConsumerInfo(live=process.row.info.live))
        assert running.client.get("/api/v1/features").json()["live"]["available"] is True
        assert "let-me-in" not in running.client.get("/api/v1/system").text
        with stream(running, {"model": "tiny"}) as socket:
            socket.send(6 * SECOND)
            socket.send('{"type": "end"}')
            messages, code = told(socket)
        assert code == 1000 and [one["text"] for one in messages if one["type"] == "final"] == TEXTS
        error, code = refused(running, {"type": "start", "model": "gigantic"})
        assert (error["code"], code) == ("unknown_model", 1008)
        figures = running.client.get("/metrics").text
        assert "parascribe_live_bytes_total 192000.0" in figures and "parascribe_live_streams 0.0" in figures
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
