"""Editing transcripts: revisions, who comes first, what stays, what is refused."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest

from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.transcript.formats import to_result
from core.transcript.values import Segment, Speaker, Transcript
from parascribe import Client
from parascribe.client.errors import Conflict, NotFound
from tests.api.serving import Service
from tests.api.test_jobs import claim, complete
from tests.api.test_results import TRANSCRIPT
from tests.api.test_submit import refused
from tests.parascribe.both import KINDS

SPOKEN = replace(TRANSCRIPT, speakers=(Speaker(id="SPEAKER_00", name="SPEAKER_00", seconds=1.0),))


def done(running: Service, transcript: Transcript = TRANSCRIPT, duration: float = 4.0) -> str:
    job: dict[str, Any] = running.submit().json()
    taken = claim(running)
    running.store.progress(taken, duration=duration)
    key = f"jobs/{job['id']}/result.1.json"
    running.objects.put(key, io.BytesIO(json.dumps(to_result(transcript)).encode()))
    running.store.finish(taken, result_key=key, partial=False, gaps=[], warnings=[], performance={})
    return str(job["id"])


def get(running: Service, job_id: str, what: str = "transcript", **query: Any) -> httpx.Response:
    return running.client.get(f"/api/v1/jobs/{job_id}/{what}", params=query)


def put(running: Service, job_id: str, number: int | None, segments: Any, **more: Any) -> httpx.Response:
    headers = {} if number is None else {"If-Match": f'"{job_id}.{number}"'}
    return running.client.put(f"/api/v1/jobs/{job_id}/transcript", json={"segments": segments, **more}, headers=headers)


def line(text: str, start: float = 0.5, end: float = 1.5, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text, **more}


def test_an_edit_is_a_revision_and_the_original_stays(running: Service) -> None:
    job_id = done(running)
    first = get(running, job_id)
    body = first.json()
    assert first.headers["ETag"] == f'"{job_id}.0"'
    assert (body["id"], body["revision"], body["latest"], body["edited_at"]) == (job_id, 0, 0, None)
    body["segments"][0]["text"] = "Guten Tag, 世界 👋🏽"
    headers = {"If-Match": first.headers["ETag"]}
    answer = running.client.put(f"/api/v1/jobs/{job_id}/transcript", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["revision"], answer.json()["kind"]) == (1, "transcript")
    assert answer.headers["ETag"] == f'"{job_id}.1"'

    assert get(running, job_id).json()["segments"][0]["text"] == "Guten Tag, 世界 👋🏽"
    assert get(running, job_id, revision="original").json()["segments"][0]["text"] == "Guten Tag <b>"
    assert get(running, job_id, revision=0).json()["latest"] == 1
    assert get(running, job_id, "result", format="txt").text.startswith("Guten Tag, 世界")
    assert get(running, job_id, "result", format="txt", revision="1").text.startswith("Guten Tag, 世界")
    assert get(running, job_id, "result", format="txt", revision="original").text.startswith("Guten Tag <b>")
    assert get(running, job_id, "result").json()["provenance"]["revision"] == 1
    assert running.client.get(f"/api/v1/jobs/{job_id}").json()["revision"] == 1
    refused(get(running, job_id, revision=2), 404, "revision_not_found")
    refused(get(running, job_id, "result", revision=2), 404, "revision_not_found")
    for wrong in ("last", "-1", "", "9999999999"):
        refused(get(running, job_id, revision=wrong), 422, "validation")
    refused(get(running, job_id, version="1"), 422, "validation")


def test_etags_of_revisions(running: Service) -> None:
    job_id = done(running)
    path, result = f"/api/v1/jobs/{job_id}/transcript", f"/api/v1/jobs/{job_id}/result"
    known = {"If-None-Match": running.client.get(path).headers["ETag"]}
    of_result = {"If-None-Match": running.client.get(result).headers["ETag"]}
    assert running.client.get(path, headers=known).status_code == 304
    assert put(running, job_id, 0, [line("neu")]).status_code == 200
    assert running.client.get(path, headers=known).status_code == 200
    assert running.client.get(f"{path}?revision=0", headers=known).json()["latest"] == 1
    assert running.client.get(result, headers=of_result).status_code == 200
    original = running.client.get(f"{result}?revision=original")
    newest = {"If-None-Match": running.client.get(result).headers["ETag"]}
    assert original.headers["ETag"] != newest["If-None-Match"]
    assert running.client.get(result, headers=newest).status_code == 304


def test_who_comes_second_is_told(running: Service) -> None:
    job_id = done(running)
    refused(put(running, job_id, None, [line("a")]), 428, "precondition_required")
    assert put(running, job_id, 0, [line("a")]).json()["revision"] == 1
    assert refused(put(running, job_id, 0, [line("b")]), 412, "revision_conflict")["revision"] == 1
    refused(put(running, job_id, 5, [line("b")]), 412, "revision_conflict")
    path = f"/api/v1/jobs/{job_id}/transcript"
    for tag in ('"x"', "", f'"{job_id}"', f"{job_id}.1", f'"{job_id}.1x"', '"x.1"', f'"{job_id}.-1"'):
        answer = running.client.put(path, json={"segments": [line("b")]}, headers={"If-Match": tag})
        refused(answer, 412, "revision_conflict")
    star = running.client.put(path, json={"segments": [line("b")]}, headers={"If-Match": "*"})
    refused(star, 428, "precondition_required")
    weak = {"If-Match": f'"x", W/"{job_id}.1"'}
    assert running.client.put(path, json={"segments": [line("b")]}, headers=weak).json()["revision"] == 2
    assert len([key for key in running.keys if "revision" in key]) == 2, "what was refused left nothing"


def test_sent_again_because_the_answer_was_lost_it_is_one(running: Service) -> None:
    job_id = done(running)
    first, again = (put(running, job_id, 0, [line("a")]) for _ in range(2))
    assert first.json() == again.json() and first.headers["ETag"] == again.headers["ETag"]
    same = put(running, job_id, 1, [line("a", id=0)])
    assert same.json() == first.json(), "nothing has changed"
    assert put(running, job_id, 1, [line("b")]).json()["revision"] == 2
    refused(put(running, job_id, 0, [line("a")]), 412, "revision_conflict")
    assert len([key for key in running.keys if "revision" in key]) == 2


def test_of_many_at_once_one_comes_first(running: Service) -> None:
    job_id = done(running)
    barrier, found = threading.Barrier(8), []

    def edit(n: int) -> None:
        barrier.wait(30)
        found.append((n, put(running, job_id, 0, [line(f"von {n}")]).status_code))

    threads = [threading.Thread(target=edit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(status for _, status in found) == [200] + 7 * [412]
    (first,) = [n for n, status in found if status == 200]
    assert get(running, job_id).json()["segments"][0]["text"] == f"von {first}"
    assert len([key for key in running.keys if "revision" in key]) == 1


def test_names_of_speakers(running: Service) -> None:
    job_id, nobody = done(running, SPOKEN), done(running)
    path = f"/api/v1/jobs/{job_id}/speakers"
    answer = running.client.patch(path, json={"SPEAKER_00": "Anna"})
    assert (answer.status_code, answer.json()["revision"], answer.json()["kind"]) == (200, 1, "speakers")
    assert running.client.patch(path, json={"SPEAKER_00": "Anna"}).json()["revision"] == 1, "nothing has changed"
    assert get(running, job_id).json()["speakers"] == [{"id": "SPEAKER_00", "name": "Anna", "seconds": 1.0}]
    refused(
        running.client.patch(path, json={"SPEAKER_00": "B"}, headers={"If-Match": f'"{job_id}.0"'}),
        412,
        "revision_conflict",
    )
    assert running.client.patch(path, json={"SPEAKER_00": "B"}, headers={"If-Match": f'"{job_id}.1"'}).is_success
    for wrong in ({}, {"SPEAKER_01": "B"}, {"SPEAKER_00": ""}, {"SPEAKER_00": "\n"}, {"SPEAKER_00": 5}, [], None, "x"):
        refused(running.client.patch(path, json=wrong), 422, "validation")
    refused(running.client.patch(path, json={"x" * 200 + str(n): "B" for n in range(1000)}), 413, "too_large")
    refused(running.client.patch(f"/api/v1/jobs/{nobody}/speakers", json={"SPEAKER_00": "A"}), 409, "not_in_result")


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"segments": [' * 10_000,
    b'{"segments": null}',
    b'{"segments": [{}]}',
    b'{"segments": [' + b"{}," * 100_000 + b"{}]}",
    b'{"segments": [], "voice": 1}',
    b'{"segments": [], "duration": 7}',
    b'{"segments": [], "latest": 3}',
    b'{"segments": [], "id": null}',
    b'{"segments": [], "language": {"code": "xx", "confidence": 1}}',
    b'{"segments": [{"start": NaN, "end": 1, "text": "a"}]}',
    b'{"segments": [{"start": 0, "end": Infinity, "text": "a"}]}',
    b'{"segments": [{"start": 0, "end": 1e400, "text": "a"}]}',
    b'{"segments": [{"start": -1, "end": 1, "text": "a"}]}',
    b'{"segments": [{"start": 0, "end": 1, "text": "\\u0000"}]}',
    b'{"segments": [{"start": 0, "end": 1, "text": "\\ud800"}]}',
    b'{"segments": [{"start": 0, "end": 1, "text": "\xff"}]}',
    b'{"segments": [{"start": 0, "end": 1, "text": "a", "words": []}]}',
    b'{"segments": [{"start": 0, "end": 1, "text": "a", "id": 99999999999999999999999}]}',
    b'{"segments": [{"start": 0, "end": 1, "text": "' + b"a" * 30_000 + b'"}]}',
]


def test_hostile_bodies(running: Service) -> None:
    job_id = done(running)
    path, headers = f"/api/v1/jobs/{job_id}/transcript", {"If-Match": f'"{job_id}.0"'}
    for body in HOSTILE:
        answer = running.client.put(path, content=body, headers=headers)
        problem = refused(answer, 422, "validation")
        assert 0 < len(problem["errors"]) <= 20 and len(answer.content) < 10_000, body[:40]
    assert running.client.get(f"/api/v1/jobs/{job_id}").json()["revision"] == 0


def test_a_body_has_its_limit(running: Service) -> None:
    job_id = done(running)
    text = [line("a" * 19_000) for _ in range(60)]
    assert refused(put(running, job_id, 0, text), 413, "too_large")["max_bytes"] == (1 << 20) + 4 * 256


def test_ten_hours(running: Service) -> None:
    segments = tuple(
        Segment(start=n * 3.0, end=n * 3.0 + 2.9, text=f"Satz {n}: Grüße aus 東京, und so weiter und so fort.")
        for n in range(12_000)
    )
    job_id = done(running, replace(TRANSCRIPT, segments=segments, duration=36_000.0), 36_000.0)
    body = get(running, job_id).json()
    body["segments"][11_999]["text"] = "Ende"
    with Client(str(running.client.base_url)) as client:
        assert client.edit(body)["revision"] == 1
    found = get(running, job_id).json()["segments"]
    assert found[:-1] == body["segments"][:-1] and found[-1]["text"] == "Ende"


def test_no_transcript_yet_or_ever(running: Service) -> None:
    job_id = running.submit().json()["id"]
    refused(get(running, job_id), 409, "not_ready")
    refused(put(running, job_id, 0, [line("a")]), 409, "not_ready")
    refused(running.client.patch(f"/api/v1/jobs/{job_id}/speakers", json={"SPEAKER_00": "A"}), 409, "not_ready")
    running.client.delete(f"/api/v1/jobs/{job_id}")
    lost = complete(running)["id"]
    refused(put(running, lost, 0, [line("a")]), 500, "internal")


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_revisions_go_with_their_job(running: Service, how: str) -> None:
    gone, kept = done(running), done(running)
    for job_id in (gone, kept):
        assert put(running, job_id, 0, [line("a")]).is_success
    sweeper = Sweeper(running.store, running.objects, MemoryHints(), interval=5, max_attempts=3)
    assert sweeper.collect_orphans(older_than=-1.0) == 0
    if how == "deleted":
        assert running.client.delete(f"/api/v1/jobs/{gone}").is_success
        refused(get(running, gone), 404, "job_not_found")
        refused(put(running, gone, 1, [line("b")]), 404, "job_not_found")
        sweeper.sweep_once()
        assert {key.split("/")[1] for key in running.keys} == {kept}
        return
    running.client.delete(f"/api/v1/jobs/{kept}")
    sweeper = Sweeper(running.store, running.objects, MemoryHints(), interval=5, max_attempts=3, result_hours=1e-9)
    sweeper.sweep_once()
    assert running.keys == [f"jobs/{gone}/source"]
    refused(get(running, gone), 410, "expired")
    refused(put(running, gone, 1, [line("b")]), 410, "expired")
    refused(get(running, gone, "result", revision=1), 410, "expired")


def test_a_retry_begins_with_an_original(running: Service) -> None:
    job = complete(running, partial=True)
    running.objects.put(f"jobs/{job['id']}/result.json", io.BytesIO(json.dumps(to_result(TRANSCRIPT)).encode()))
    assert put(running, job["id"], 0, [line("a")]).is_success
    again = running.client.post(f"/api/v1/jobs/{job['id']}/retry").json()
    assert (again["retry_of"], again["revision"]) == (job["id"], 0)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_client_edits(running: Service, kind: Any) -> None:
    job_id, spoken = done(running), done(running, SPOKEN)
    with kind(str(running.client.base_url)) as client:
        transcript = client.transcript(job_id)
        transcript["segments"][0]["text"] = "Hallo"
        transcript["segments"].append({"start": 3.5, "end": 4.0, "text": "Ende"})
        assert client.edit(transcript)["revision"] == 1
        assert client.result(job_id, "txt") == "Hallo schöne Grüße Ende\n"
        assert client.result(job_id, "txt", revision="original") != client.result(job_id, "txt", revision=1)
        transcript["segments"][0]["text"] = "Servus"
        with pytest.raises(Conflict) as late:
            client.edit(transcript)
        assert late.value.code == "revision_conflict"
        assert client.name_speakers(spoken, {"SPEAKER_00": "Anna"})["kind"] == "speakers"
        with pytest.raises(NotFound):
            client.transcript(job_id, revision=9)
