"""Webhooks: what a receiver gets, when it gets it again, and what becomes of receivers that are not there."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.deps import PREFIX
from api.http.json_body import MAX_BYTES
from api.http.metrics import Asked, Metrics
from api.webhooks.bodies import job_data
from api.webhooks.sender import JITTER, WebhookSender, pause
from core.errors import UrlRefused
from core.jobs.params import JobParams
from core.outbound.client import Outbound
from core.outbound.resolver import ScriptedResolver
from core.outbound.values import Rules
from core.store.sql import SqlStore
from core.system.clock import ManualClock
from core.webhooks import CALLBACK, EVENTS, MOST, PAUSED_AFTER, SCHEDULE, WebhookStatus, masked, new_secret
from tests.api.receiver import Receiver, receiving
from tests.api.serving import Service
from tests.api.test_jobs import claim, fail
from tests.api.test_submit import refused
from tests.core.store_kit import new_job, open_store

HOOKS = "/api/v1/webhooks"
NOBODYS = "0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def out() -> Outbound:
    answers = {"inside.test": [["169.254.169.254"]], "moves.test": [["127.0.0.1"], ["10.0.0.1", "127.0.0.1"]]}
    rules = Rules(allow_private=True, connect_seconds=2.0, read_seconds=0.5, total_seconds=10.0)
    return Outbound(rules, resolver=ScriptedResolver({"127.0.0.1": [["127.0.0.1"]], **answers}))


@pytest.fixture
def running(serve: Callable[..., Service], clock: ManualClock, out: Outbound) -> Service:
    return serve(store=SqlStore.in_memory(clock=clock), check_url=out.check)


@pytest.fixture
def metrics(running: Service) -> Metrics:
    store = running.store
    asked = Asked(counts=store.counts, backlog=store.backlog, consumers=store.consumers, undelivered=store.undelivered)
    return Metrics(asked, version="0")


@pytest.fixture
def sender(running: Service, out: Outbound, metrics: Metrics) -> Iterator[WebhookSender]:
    """Sends when it is told to."""
    data = {"job": job_data(running.store, base=PREFIX)}
    made = WebhookSender(running.store, lambda: out, data, tell=metrics.attempt)
    yield made
    made.stop()


def send(sender: WebhookSender) -> int:
    """All that is due; returns when it is known what came of it."""
    begun = total = sender.send_due()
    while begun:
        while sender._busy:
            assert sender._wake.wait(20)
            sender._wake.clear()
        begun = sender.send_due()
        total += begun
    return total


def add(running: Service, url: str, **more: Any) -> dict[str, Any]:
    answer = running.client.post(HOOKS, json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def deliveries(running: Service, hook: str = CALLBACK, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.client.get(f"{HOOKS}/{hook}/deliveries", params=query).json()["items"]
    return found


def complete(running: Service, **fields: str) -> dict[str, Any]:
    job: dict[str, Any] = running.submit(**fields).json()
    running.objects.put("r", io.BytesIO(b"{}"))
    running.store.finish(claim(running), result_key="r", partial=False, gaps=[], warnings=[], performance={})
    found: dict[str, Any] = running.client.get(job["links"]["self"]).json()
    return found


def test_a_job_s_end_is_told_to_its_callback_and_to_the_owner_s_webhooks(
    running: Service, sender: WebhookSender, receiver: Receiver
) -> None:
    hook = add(running, receiver.url)
    assert hook["events"] == list(EVENTS) and hook["status"] == "active" and hook["secret"].startswith("whsec_")
    secret = running.client.post(f"{HOOKS}/callback/rotate").json()["secret"]
    receiver.secrets = [hook["secret"], secret]
    metadata = {"case": 7, "ü": [None, {"x": "\u0000"}], "": 0.1}
    job = complete(running, callback_url=f"{receiver.url}/mine?token=t1", metadata=json.dumps(metadata))
    assert job["params"]["metadata"] == metadata and job["params"]["callback_url"].endswith("?token=t1")
    assert send(sender) == 2
    told = {message.path: message for message in receiver.wait(2)}
    assert set(told) == {"/hook", "/hook/mine?token=t1"}
    assert told["/hook"].signed == [hook["secret"]] and told["/hook/mine?token=t1"].signed == [secret]
    for message in told.values():
        assert message.headers["content-type"] == "application/json" and "authorization" not in message.headers
        assert set(message.body) == {"type", "timestamp", "data"} and message.body["type"] == "job.completed"
        data = message.body["data"]
        assert data["params"].pop("callback_url") == f"{receiver.url}/mine", "what it opens is nobody else's business"
        assert data == job | {"params": {k: v for k, v in job["params"].items() if k != "callback_url"}}
    for name, message in ((hook["id"], told["/hook"]), (CALLBACK, told["/hook/mine?token=t1"])):
        (kept,) = deliveries(running, name)
        assert (kept["id"], kept["status"], kept["last_status"], kept["attempts"]) == (message.id, "delivered", 204, 1)
        assert (kept["subject"], kept["event"], kept["next_attempt_in"]) == (job["id"], "job.completed", None)
    assert send(sender) == 0


def test_each_webhook_hears_of_what_it_wants(running: Service, sender: WebhookSender, receiver: Receiver) -> None:
    add(running, f"{receiver.url}/failed", events=["job.failed"])
    add(running, f"{receiver.url}/cancelled", events=["job.cancelled", "batch.completed"])
    failed = fail(running)
    gone = running.submit().json()
    running.client.post(gone["links"]["cancel"])
    complete(running)
    send(sender)
    told = {message.path: (message.body["type"], message.body["data"]["id"]) for message in receiver.wait(2)}
    assert told == {"/hook/failed": ("job.failed", failed["id"]), "/hook/cancelled": ("job.cancelled", gone["id"])}
    assert len(receiver.messages) == 2


def test_what_fails_comes_again_after_longer_and_longer_pauses(
    running: Service, sender: WebhookSender, receiver: Receiver, clock: ManualClock, metrics: Metrics
) -> None:
    receiver.answers = [500, 404, 301, 429, 502, 199 + 200, 503]
    complete(running, callback_url=receiver.url)
    for number, seconds in enumerate(SCHEDULE):
        if seconds:
            clock.advance(seconds - 1)
            assert send(sender) == 0
            clock.advance(1 + seconds * JITTER)
        assert send(sender) == 1
        (kept,) = deliveries(running)
        assert (kept["attempts"], kept["last_error"]) == (number + 1, None)
        assert kept["status"] == ("waiting" if number + 1 < len(SCHEDULE) else "failed")
        waiting = f'parascribe_webhook_deliveries{{state="waiting"}} {kept["status"] == "waiting":.1f}'
        assert waiting in running.client.get("/metrics").text
    assert (
        len({message.raw for message in receiver.messages}) == len({message.id for message in receiver.messages}) == 1
    )
    clock.advance(10**6)
    assert send(sender) == 0 and len(receiver.messages) == len(SCHEDULE)
    receiver.answers = [200]
    again = running.client.post(f"{HOOKS}/callback/deliveries/{kept['id']}/redeliver")
    assert (again.status_code, again.json()["status"], again.json()["attempts"]) == (202, "waiting", 0)
    assert send(sender) == 1 and receiver.messages[-1].id == kept["id"]
    assert [one["status"] for one in deliveries(running)] == ["delivered"]
    assert deliveries(running, status="failed") == []
    counted = {"put_off": len(SCHEDULE) - 1, "failed": 1, "delivered": 1}
    for outcome, count in counted.items():
        assert metrics.registry.get_sample_value("parascribe_webhook_attempts_total", {"outcome": outcome}) == count
    assert metrics.registry.get_sample_value("parascribe_webhook_attempt_seconds_count") == len(SCHEDULE) + 1


def test_pauses_are_longer_by_chance_and_end() -> None:
    for number, seconds in enumerate(SCHEDULE[1:], 1):
        found = [pause(number) or 0.0 for _ in range(50)]
        assert all(seconds <= one <= seconds * (1 + JITTER) for one in found) and len({*found}) > 1
    assert pause(len(SCHEDULE)) is None


def test_receivers_that_are_not_there_or_lead_elsewhere(
    running: Service, sender: WebhookSender, receiver: Receiver, clock: ManualClock
) -> None:
    """Row 30: down, slow, redirects to where clouds keep their secrets, and names that lead there or move."""
    with socket.create_server(("127.0.0.1", 0)) as bound, socket.create_server(("127.0.0.1", 0)) as silent:
        down, slow = bound.getsockname()[1], silent.getsockname()[1]
        bound.close()
        receiver.answers, receiver.redirect = [307], f"http://127.0.0.1:{slow}/elsewhere"
        urls = {
            f"http://127.0.0.1:{down}/": "url_unreachable",
            f"http://127.0.0.1:{slow}/": "url_unreachable",
            "http://inside.test/": "url_refused",
            "http://unknown.test/": "url_unreachable",
            receiver.url: None,
        }
        for url in urls:
            complete(running, callback_url=url)
        assert send(sender) == len(urls)
        for kept in deliveries(running):
            code = urls[kept["url"]]
            assert kept["status"] == "waiting" and kept["next_attempt_in"] > 25
            assert (kept["last_error"] or "None").startswith(str(code)) and kept["last_status"] == (
                None if code else 307
            )
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()  # nobody followed the redirect
    assert len(receiver.messages) == 1
    moving = complete(running, callback_url=f"http://moves.test:{receiver.server_address[1]}/")
    receiver.answers = [500]
    send(sender)
    assert receiver.wait(2)[1].body["data"]["id"] == moving["id"]
    clock.advance(40)
    send(sender)
    assert [one["last_status"] for one in deliveries(running) if one["subject"] == moving["id"]] == [500]
    strict = Outbound(Rules(), resolver=ScriptedResolver({"moves.test": [["8.8.8.8", "127.0.0.1"]]}))
    with pytest.raises(UrlRefused):
        strict.post("http://moves.test/", b"{}", {})


def test_410_ends_it_and_50_failures_in_a_row_pause_it(
    running: Service, sender: WebhookSender, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.answers = [410]
    hook = add(running, receiver.url)
    complete(running)
    complete(running, callback_url=f"{receiver.url}/mine")
    send(sender)
    assert running.client.get(f"{HOOKS}/{hook['id']}").json()["status"] == "disabled"
    assert [one["status"] for one in deliveries(running)] == ["failed"], "of a callback, this one alone"
    complete(running)
    assert send(sender) == 0
    assert running.client.post(f"{HOOKS}/{hook['id']}/resume").json()["status"] == "active"
    receiver.answers = [503]
    while running.client.get(f"{HOOKS}/{hook['id']}").json()["status"] == "active":
        complete(running)
        assert send(sender) > 0
        assert len(receiver.messages) < 2 * PAUSED_AFTER
    paused = running.client.get(f"{HOOKS}/{hook['id']}").json()
    assert (paused["status"], paused["failures"]) == (WebhookStatus.PAUSED, PAUSED_AFTER)
    clock.advance(10**6)
    assert send(sender) == 0
    receiver.answers = [200]
    running.client.post(f"{HOOKS}/{hook['id']}/resume")
    assert send(sender) >= PAUSED_AFTER
    assert {one["status"] for one in deliveries(running, hook["id"], limit=200)} == {"delivered", "failed"}


def test_two_secrets_sign_while_one_takes_the_place_of_the_other(
    running: Service, sender: WebhookSender, receiver: Receiver
) -> None:
    hook = add(running, receiver.url)
    new = running.client.post(f"{HOOKS}/{hook['id']}/rotate").json()["secret"]
    receiver.secrets = [hook["secret"], new, new_secret()]
    complete(running)
    send(sender)
    (message,) = receiver.wait(1)
    assert message.signed == [hook["secret"], new] and len(message.headers["webhook-signature"].split()) == 2


def test_callbacks_are_unsigned_until_there_is_a_secret(
    running: Service, sender: WebhookSender, receiver: Receiver
) -> None:
    assert running.client.get(f"{HOOKS}/callback").json()["signed"] is False
    complete(running, callback_url=receiver.url)
    send(sender)
    (message,) = receiver.wait(1)
    assert "webhook-signature" not in message.headers
    running.client.post(f"{HOOKS}/callback/rotate")
    assert running.client.get(f"{HOOKS}/callback").json()["signed"] is True
    assert running.client.get(HOOKS).json() == {"items": []}


def test_secrets_are_shown_once_and_in_no_log_line(
    running: Service, sender: WebhookSender, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        hook = add(running, f"{receiver.url}?token=opensesame")
        new = running.client.post(f"{HOOKS}/{hook['id']}/rotate").json()["secret"]
        receiver.answers = [500, 200]
        complete(running, callback_url=f"{receiver.url}?token=opensesame")
        complete(running, callback_url="http://inside.test/?token=opensesame")
        send(sender)
    shown = [running.client.get(path).text for path in (HOOKS, f"{HOOKS}/{hook['id']}", "/metrics")]
    ours = [
        record.getMessage() for record in caplog.records if not record.name.startswith(("http", "python_multipart"))
    ]
    assert any("Attempt 1" in line for line in ours) and any("Delivered" in line for line in ours)
    for secret in (hook["secret"], new):
        assert not [line for line in [*shown, *ours] if secret in line]
    assert not [line for line in [*ours, *(str(one["last_error"]) for one in deliveries(running))] if "sesame" in line]
    assert masked(f"a {new} b") == "a whsec_... b"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "https://a.test/" + "a" * 2048}, "url"),
        ({"url": "https://a.test/", "events": []}, "events"),
        ({"url": "https://a.test/", "events": ["job.sung"]}, "events.0"),
        ({"url": "https://a.test/", "events": "job.failed"}, "events"),
        ({"url": "https://a.test/", "secret": "mine"}, "secret"),
        ([], "body"),
    ],
)
def test_what_a_webhook_cannot_be(running: Service, body: Any, field: str) -> None:
    problem = refused(running.client.post(HOOKS, json=body), 422, "validation")
    assert field in {error["field"] for error in problem["errors"]}
    assert running.client.get(HOOKS).json() == {"items": []}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.test",
        "ftp://a.test/",
        "http://a:b@a.test/",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://",
    ],
)
def test_where_nothing_is_sent(running: Service, url: str) -> None:
    refused(running.client.post(HOOKS, json={"url": url}), 422, "url_refused")
    answer = running.submit(callback_url=url)
    if url:
        assert answer.status_code == 422 and answer.json()["code"] in ("url_refused", "validation")
        assert not running.keys and running.store.counts()["queued"] == 0


def test_private_addresses_are_refused_unless_they_are_allowed(serve: Callable[..., Service]) -> None:
    running = serve(check_url=Outbound(Rules()).check)
    for url in ("http://127.0.0.1:9000/", "http://10.1.2.3/", "http://[::1]/", "http://[::ffff:7f00:1]/"):
        refused(running.client.post(HOOKS, json={"url": url}), 422, "url_refused")
        refused(running.submit(callback_url=url), 422, "url_refused")
    assert not running.keys


def test_bodies_and_parameters_that_are_too_much(running: Service) -> None:
    large = b'{"url": "' + b"a" * MAX_BYTES + b'"}'
    for content in (large, iter([large[: MAX_BYTES // 2], large[MAX_BYTES // 2 :]])):
        answer = running.client.post(HOOKS, content=content, headers={"Content-Type": "application/json"})
        refused(answer, 413, "too_large")
    for content in (b"{", b"\x18_v\xfa+z", b"[" * 60_000, b""):
        answer = running.client.post(HOOKS, content=content, headers={"Content-Type": "application/json"})
        refused(answer, 422, "validation")
    refused(running.client.get(f"{HOOKS}?all=1"), 422, "validation")
    refused(running.client.get(f"{HOOKS}/callback/deliveries?after=x"), 422, "validation")
    refused(running.client.get(f"{HOOKS}/callback/deliveries?limit=1&limit=2"), 422, "validation")


@pytest.mark.parametrize("webhook_id", [NOBODYS, "x", "%00", "a" * 500])
def test_what_is_not_there(running: Service, webhook_id: str) -> None:
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/resume"), ("GET", "/deliveries")):
        refused(running.client.request(method, f"{HOOKS}/{webhook_id}{tail}"), 404, "webhook_not_found")
    answer = running.client.post(f"{HOOKS}/callback/deliveries/{webhook_id}/redeliver")
    refused(answer, 404, "delivery_not_found")
    refused(running.client.delete(f"{HOOKS}/callback"), 404, "webhook_not_found")


def test_webhooks_come_and_go(running: Service, sender: WebhookSender, receiver: Receiver) -> None:
    made = [add(running, f"{receiver.url}/{n}", events=["job.failed", "job.completed"]) for n in range(MOST)]
    refused(running.client.post(HOOKS, json={"url": receiver.url}), 422, "validation")
    assert [one["url"] for one in running.client.get(HOOKS).json()["items"]] == [one["url"] for one in made]
    assert made[0]["events"] == ["job.completed", "job.failed"]
    for one in made[1:]:
        assert running.client.delete(f"{HOOKS}/{one['id'].upper()}").status_code == 204
    complete(running)
    assert send(sender) == 1


def test_of_a_job_that_is_deleted_nothing_is_sent(running: Service, sender: WebhookSender, receiver: Receiver) -> None:
    job = complete(running, callback_url=receiver.url)
    running.client.delete(job["links"]["self"])
    assert send(sender) == 0 and deliveries(running) == []


def test_a_retry_tells_the_same_address(running: Service, sender: WebhookSender, receiver: Receiver) -> None:
    job = running.submit(callback_url=receiver.url, metadata='{"a": 1}').json()
    running.client.post(job["links"]["cancel"])
    again = running.client.post(job["links"]["self"] + "/retry").json()
    running.client.post(again["links"]["cancel"])
    send(sender)
    assert {message.body["data"]["id"] for message in receiver.wait(2)} == {job["id"], again["id"]}
    assert all(message.body["data"]["params"]["metadata"] == {"a": 1} for message in receiver.messages)


def test_what_cannot_be_made_comes_to_an_end_too(
    running: Service, receiver: Receiver, out: Outbound, clock: ManualClock
) -> None:
    """A newer version's event, say."""
    sender = WebhookSender(running.store, lambda: out, {})
    complete(running, callback_url=receiver.url)
    for _ in SCHEDULE:
        assert send(sender) == 1
        clock.advance(2 * max(SCHEDULE))
    assert send(sender) == 0
    (kept,) = deliveries(running)
    assert kept["status"] == "failed" and "inside the service" in kept["last_error"] and not receiver.messages
    sender.stop()


def test_many_senders_send_each_once(tmp_path: Path, receiver: Receiver, out: Outbound) -> None:
    """As several API processes do: each has its own pool and asks the same table."""
    stores = [open_store(f"sqlite:///{tmp_path}/jobs.db", None) for _ in range(3)]
    for _ in range(40):
        job = stores[0].create(new_job(params=JobParams(model="base", callback_url=receiver.url)))
        stores[0].request_cancel(job.id)
    with _started(stores, out):
        receiver.wait(40)
    ids = [message.id for message in receiver.messages]
    assert len(ids) == len({*ids}) == 40
    kept, _ = stores[0].webhooks_of(None).deliveries(CALLBACK, limit=200)
    assert {(one.status, one.attempts) for one in kept} == {("delivered", 1)}
    for store in stores:
        store.close()


@contextmanager
def _started(stores: list[SqlStore], out: Outbound) -> Iterator[None]:
    senders = [WebhookSender(store, lambda: out, {"job": job_data(store, base=PREFIX)}) for store in stores]
    for sender in senders:
        sender.start()
    yield
    for sender in senders:
        sender.stop()
