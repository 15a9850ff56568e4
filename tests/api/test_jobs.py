"""Looking at jobs, cancelling, retrying, deleting."""

from __future__ import annotations

from typing import Any

import pytest

from core.jobs.job import Claim, JobFailure
from tests.api.serving import Service, wav
from tests.api.test_submit import refused, until


def claim(running: Service) -> Claim:
    taken = running.store.claim(owner="me", consumer="here", lease_seconds=60)
    assert taken is not None
    return taken


def fail(running: Service) -> dict[str, Any]:
    job: dict[str, Any] = running.submit().json()
    failure = JobFailure(code="audio_undecodable", message="no", stage="decoding")
    running.store.fail(claim(running), failure)
    return job


def complete(running: Service, *, partial: bool = False) -> dict[str, Any]:
    job: dict[str, Any] = running.submit().json()
    gaps = [{"start": 1.0, "end": 2.0, "reason": "chunk_failed"}] if partial else []
    running.store.finish(
        claim(running),
        result_key=f"jobs/{job['id']}/result.json",
        partial=partial,
        gaps=gaps,
        warnings=[],
        performance={
            "wall": 2.0,
            "engine_seconds": 3.0,
            "workers": 2,
            "real_time_factor": 0.2,
            "speed_up": 1.5,
            "parallel": True,
        },
    )
    return job


def test_progress_and_etag(running: Service) -> None:
    job = running.submit().json()
    taken = claim(running)
    first = running.client.get(job["links"]["self"])
    assert first.status_code == 200
    etag = first.headers["ETag"]
    unchanged = running.client.get(job["links"]["self"], headers={"If-None-Match": f'"x", W/{etag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)

    running.store.progress(
        taken, duration=100.0, language="en", language_confidence=0.9, chunks_total=4, stage="transcribing"
    )
    changed = running.client.get(job["links"]["self"], headers={"If-None-Match": etag})
    assert changed.status_code == 200
    body = changed.json()
    assert body["status"] == "processing"
    assert body["created_at"].endswith("Z")
    assert body["audio"]["duration"] == 100.0
    assert body["language"] == {"code": "en", "confidence": 0.9}
    assert (body["progress"]["stage"], body["progress"]["chunks_total"]) == ("transcribing", 4)


def test_a_failed_job_is_a_200_with_an_error(running: Service) -> None:
    body = running.client.get(fail(running)["links"]["self"])
    assert body.status_code == 200
    assert body.json()["error"] == {
        "code": "audio_undecodable",
        "message": "no",
        "stage": "decoding",
        "retryable": False,
    }


@pytest.mark.parametrize("job_id", ["b2a05b59-2d52-4a4f-9c1b-3f0a4c8f6f11", "nonsense", "a%00b", "..%2f..", "x" * 5000])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""), ("GET", "/result")]
)
def test_unknown_jobs(running: Service, method: str, path: str, job_id: str) -> None:
    answer = running.client.request(method, f"/api/v1/jobs/{job_id}{path}")
    refused(answer, 404, "not_found" if "%2f" in job_id else "job_not_found")


def test_pages_newest_first(running: Service) -> None:
    ids = [running.submit().json()["id"] for _ in range(5)]
    running.client.post(f"/api/v1/jobs/{ids[0]}/cancel")
    first = running.client.get("/api/v1/jobs", params={"limit": 3}).json()
    second = running.client.get("/api/v1/jobs", params={"limit": 3, "after": first["next"]}).json()
    assert [job["id"] for job in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    queued = running.client.get("/api/v1/jobs", params={"status": "queued"}).json()["items"]
    assert [job["id"] for job in queued] == ids[:0:-1]


@pytest.mark.parametrize(
    "query",
    [
        "status=running",
        "limit=0",
        "limit=201",
        "limit=x",
        "after=%00",
        "after=nonsense",
        "colour=red",
        "limit=1&limit=2",
        "after=MDAwMS0wMS0wMVQwMDowMDowMCsyMzowMCB4",
    ],  # 0001-01-01T00:00:00+23:00 x
)
def test_bad_queries(running: Service, query: str) -> None:
    refused(running.client.get(f"/api/v1/jobs?{query}"), 422, "validation")


def test_parameters_of_a_job_do_not_go_into_the_query(running: Service) -> None:
    answer = running.client.post("/api/v1/jobs?model=tiny", files={"file": ("a.wav", wav())})
    assert refused(answer, 422, "validation")["errors"][0]["field"] == "model"


def test_cancel(running: Service) -> None:
    waiting, job = (running.submit().json() for _ in range(2))
    assert running.client.post(job["links"]["cancel"]).json()["status"] == "cancelled"
    refused(running.client.post(job["links"]["cancel"]), 409, "already_terminal")
    claim(running)
    for _ in range(2):  # asking twice is fine
        answer = running.client.post(waiting["links"]["cancel"])
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")


def test_retry_makes_a_new_job_from_the_same_upload(running: Service) -> None:
    old = fail(running)
    until(lambda: len(running.hints) == 1)
    answer = running.client.post(f"{old['links']['self']}/retry")
    assert answer.status_code == 202
    new = answer.json()
    assert new["id"] != old["id"]
    assert (new["retry_of"], new["status"], new["params"], new["source"]) == (
        old["id"],
        "queued",
        old["params"],
        old["source"],
    )
    assert answer.headers["Location"] == new["links"]["self"]
    until(lambda: running.hints[1:] == [new["id"]])
    stored = running.store.get(new["id"])
    assert stored.source.key == f"jobs/{old['id']}/source"
    assert not stored.retry_all
    anew = running.client.post(f"{old['links']['self']}/retry", params={"all": "true"}).json()
    assert running.store.get(anew["id"]).retry_all
    # the sweeper asks this before it removes the upload with the old job
    assert running.store.known_keys([stored.source.key], besides=old["id"]) == {stored.source.key}


def test_what_can_be_retried(running: Service) -> None:
    partial = complete(running, partial=True)
    assert running.client.post(f"{partial['links']['self']}/retry").status_code == 202
    retried = claim(running)
    refused(running.client.post(f"/api/v1/jobs/{retried.job.id}/retry"), 409, "not_ready")
    running.client.post(f"/api/v1/jobs/{retried.job.id}/cancel")
    running.store.cancelled(retried)
    assert running.client.post(f"/api/v1/jobs/{retried.job.id}/retry").status_code == 202
    claim(running)
    done = complete(running)
    refused(running.client.post(f"{done['links']['self']}/retry"), 409, "already_terminal")
    refused(running.client.post(f"{done['links']['self']}/retry?some=true"), 422, "validation")


def test_delete(running: Service) -> None:
    job = running.submit().json()
    assert running.client.delete(job["links"]["self"]).status_code == 204
    refused(running.client.get(job["links"]["self"]), 404, "job_not_found")
    refused(running.client.delete(job["links"]["self"]), 404, "job_not_found")
    assert running.client.get("/api/v1/jobs").json()["items"] == []
