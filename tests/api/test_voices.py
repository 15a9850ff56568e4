"""Voices over HTTP: kept when their owner asks for it, there for nobody else, shown to nobody."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from api.access.keys import KeyAuthenticator
from core.jobs.tasks import Task, TaskState
from core.store.sql import SqlStore
from core.transcript.formats import to_result
from core.transcript.values import Speaker
from tests.api.serving import Service, wav
from tests.api.test_access import KEY, NOBODYS, Guarded, Quiet, ask, same, submit, with_keys
from tests.api.test_results import TRANSCRIPT
from tests.api.test_submit import refused
from tests.core.store_kit import take
from tests.core.test_known_speakers import SAMPLES, data_url

SECRET = 0.1234567


@pytest.fixture
def store() -> SqlStore:
    return with_keys(SqlStore.in_memory())


@pytest.fixture
def guarded(serve: Callable[..., Service], store: SqlStore) -> Iterator[Service]:
    table = Quiet(store)
    yield serve(store=Guarded(store.database), authenticator=KeyAuthenticator(table))
    table.close()


def spoken(running: Service, store: SqlStore, name: str = "anna", *, speakers: int = 2, **provenance: Any) -> str:
    """Id of a completed job of that owner's, in which so many voices were heard."""
    job_id: str = submit(running, KEY[name], data={"diarize": "true"}).json()["id"]
    claim = take(store)
    lease = store.take(claim, Task(stage="diarize"))
    assert lease is not None
    output = {"turns": [], "voices": [[SECRET] * 192] * speakers, "embedding": "e 1"}
    store.commit(lease, Task(stage="diarize", state=TaskState.DONE, output=output))
    named = tuple(Speaker(id=f"SPEAKER_0{n}", name=f"SPEAKER_0{n}", seconds=1.0) for n in range(speakers))
    heard = provenance or {"voices": [*range(speakers)]}
    found = replace(TRANSCRIPT, speakers=named if speakers > 1 else (), provenance=heard)
    running.objects.put(f"jobs/{job_id}/r", io.BytesIO(json.dumps(to_result(found)).encode()))
    store.finish(claim, result_key=f"jobs/{job_id}/r", partial=False, gaps=[], warnings=[], performance={})
    return job_id


def keep(running: Service, job_id: str, who: str = "anna", **changes: Any) -> httpx.Response:
    form = {"name": "Carl", "job": job_id, "speaker": "SPEAKER_01"} | changes
    return ask(running, "POST", "/api/v1/voices", KEY[who], json=form)


def names(running: Service, who: str) -> list[str]:
    return [one["name"] for one in ask(running, "GET", "/api/v1/voices", KEY[who]).json()["items"]]


def test_a_voice_is_kept_listed_and_forgotten(
    guarded: Service, store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = spoken(guarded, store)
    made = keep(guarded, job_id, name=" C/a rl ")
    assert made.status_code == 201 and set(made.json()) == {"name", "created_at"} and made.json()["name"] == "C/a rl"
    assert made.headers["Location"] == "/api/v1/voices/C%2Fa%20rl"
    refused(keep(guarded, job_id, name="C/a rl"), 409, "voice_exists")
    alone = keep(guarded, spoken(guarded, store, speakers=1), name="Anna", speaker="SPEAKER_00")
    assert alone.status_code == 201, "who speaks alone has no label, and is heard all the same"
    assert names(guarded, "anna") == ["Anna", "C/a rl"]
    shown = json.dumps(
        [ask(guarded, "GET", path, KEY["root"]).text for path in ("/api/v1/voices", f"/api/v1/jobs/{job_id}")]
        + [
            ask(guarded, "GET", f"/api/v1/jobs/{job_id}/result?format={kind}", KEY["anna"]).text
            for kind in ("json", "rttm")
        ]
        + [record.getMessage() for record in caplog.records]
    )
    assert str(SECRET)[:6] not in shown and "e 1" not in shown, "what they sound like is never shown"
    assert ask(guarded, "DELETE", made.headers["Location"], KEY["anna"]).status_code == 204
    refused(ask(guarded, "DELETE", made.headers["Location"], KEY["anna"]), 404, "voice_not_found")
    refused(ask(guarded, "DELETE", "/api/v1/voices/%09", KEY["anna"]), 404, "voice_not_found")
    assert names(guarded, "anna") == ["Anna"]


def test_anothers_voice_is_none(guarded: Service, store: SqlStore) -> None:
    job_id = spoken(guarded, store)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    def tried(do: Callable[[], httpx.Response]) -> tuple[httpx.Response, list[str]]:
        statements.clear()
        return do(), [*statements]

    def alike(one: tuple[httpx.Response, list[str]], other: tuple[httpx.Response, list[str]]) -> None:
        assert not one[0].is_success and same(one[0], other[0], job_id) and one[1] == other[1] != []

    ask(guarded, "GET", "/api/v1/models", KEY["bert"])
    event.listen(store.database.engine, "before_cursor_execute", note)
    alike(tried(lambda: keep(guarded, job_id, "bert")), tried(lambda: keep(guarded, NOBODYS, "bert")))
    before = tried(lambda: ask(guarded, "DELETE", "/api/v1/voices/Carl", KEY["bert"]))
    refused(keep(guarded, job_id, "root"), 404, "job_not_found")
    assert keep(guarded, job_id).status_code == 201
    alike(tried(lambda: ask(guarded, "DELETE", "/api/v1/voices/Carl", KEY["bert"])), before)
    event.remove(store.database.engine, "before_cursor_execute", note)
    assert names(guarded, "bert") == names(guarded, "root") == []
    asked = {"diarize": "true", "known_speakers": json.dumps([{"name": "Carl"}])}
    for who in ("bert", "root"):
        answer = submit(guarded, KEY[who], data=asked)
        assert "kept no voice of the name Carl" in refused(answer, 422, "validation")["detail"]
    assert submit(guarded, KEY["anna"], data=asked).status_code == 202
    batch = ask(guarded, "POST", "/api/v1/batches", KEY["anna"], json={}).json()["id"]
    job = submit(guarded, KEY["root"], data=asked | {"batch": batch})
    assert job.status_code == 202 and store.get(job.json()["id"]).owner == "anna", (
        "the job is hers, and so is the voice"
    )
    assert names(guarded, "anna") == ["Carl"]


def test_why_a_voice_is_not_kept(guarded: Service, store: SqlStore) -> None:
    waits = submit(guarded, KEY["anna"]).json()["id"]
    refused(keep(guarded, waits), 409, "not_ready")
    store.request_cancel(waits)
    job_id = spoken(guarded, store)
    for changes, status, code in [
        ({"speaker": "SPEAKER_02"}, 422, "validation"),
        ({"speaker": "SPEAKER_001"}, 422, "validation"),
        ({"speaker": "Carl"}, 422, "validation"),
        ({"name": " "}, 422, "validation"),
        ({"name": "a\nb"}, 422, "validation"),
        ({"vector": [1.0]}, 422, "validation"),
        ({"job": "no-job"}, 404, "job_not_found"),
    ]:
        refused(keep(guarded, job_id, **changes), status, code)
    refused(keep(guarded, spoken(guarded, store, older=True)), 409, "not_in_result")
    refused(ask(guarded, "GET", "/api/v1/voices?all=1", KEY["anna"]), 422, "validation")
    store.expire(audio_hours=0, result_hours=1e-9, limit=9)
    refused(keep(guarded, job_id), 410, "expired")
    assert names(guarded, "anna") == []


def test_samples_come_with_a_form_or_with_json(guarded: Service, store: SqlStore) -> None:
    large = [*SAMPLES, {"name": "Carl", "sample": data_url(wav(1_500_000))}]
    form = {"diarize": "true", "known_speakers": json.dumps(large)}
    job = submit(guarded, KEY["anna"], data=form, headers={"Idempotency-Key": "k"})
    assert job.status_code == 202 and {f"jobs/{job.json()['id']}/samples"} < {*guarded.keys}
    shown = job.json()["params"]["known_speakers"]
    assert [one["name"] for one in shown] == ["Anna", "Bert", "Carl"] and len(job.text) < 5000
    assert submit(guarded, KEY["anna"], data=form, headers={"Idempotency-Key": "k"}).json()["id"] == job.json()["id"]
    other = form | {"known_speakers": json.dumps(SAMPLES)}
    refused(submit(guarded, KEY["anna"], data=other, headers={"Idempotency-Key": "k"}), 422, "idempotency_conflict")
    before = {*guarded.keys}
    for known, said in [
        ([{"name": "Anna", "sample": data_url(b"words " * 999)}], "does not begin like"),
        ([{"name": "Anna", "sample": "x" * 20_000}], "data URL"),
        ([{"name": "Anna", "sample": "x" * (13 << 20)}], "longer than"),
    ]:
        answer = submit(guarded, KEY["anna"], data=form | {"known_speakers": json.dumps(known)})
        assert said in refused(answer, 422, "validation")["detail"]
    assert {*guarded.keys} == before, "nothing is left of what is refused"
    batch = {"params": {"diarize": True, "known_speakers": SAMPLES}}
    answer = ask(guarded, "POST", "/api/v1/batches", KEY["anna"], json=batch)
    assert "takes no samples" in refused(answer, 422, "validation")["detail"]
    named = {"url": "https://a.test/a.wav", "diarize": True, "known_speakers": large}
    refused(ask(guarded, "POST", "/api/v1/jobs", KEY["anna"], json=named), 400, "unsupported")
