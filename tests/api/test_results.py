"""The transcript in every format, and when there is none."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from api.http.downloads import content_disposition, renamed
from core.options import options
from core.transcript.formats import FORMATS, to_result
from core.transcript.shaping import Shaping
from core.transcript.values import Language, Segment, Transcript
from tests.api.serving import Service
from tests.api.test_jobs import complete, fail
from tests.api.test_submit import refused

TRANSCRIPT = Transcript(
    segments=(Segment(start=0.5, end=1.5, text="Guten Tag <b>"), Segment(start=2.0, end=3.25, text="schöne Grüße")),
    language=Language(code="de", confidence=0.97),
    duration=4.0,
    model="base",
)


@pytest.fixture
def finished(running: Service) -> dict[str, Any]:
    job = complete(running)
    running.objects.put(f"jobs/{job['id']}/result.json", io.BytesIO(json.dumps(to_result(TRANSCRIPT)).encode()))
    return job


@pytest.mark.parametrize("name", sorted(name for name, form in FORMATS.items() if not form.needs_speakers))
def test_formats(running: Service, finished: dict[str, Any], name: str) -> None:
    answer = running.client.get(finished["links"]["result"], params={"format": name})
    assert answer.status_code == 200
    assert answer.content.decode() == FORMATS[name].render(TRANSCRIPT)
    assert answer.headers["content-type"] == FORMATS[name].media_type
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="talk.{FORMATS[name].extension}"')
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == (
        "private, no-cache",
        "nosniff",
    )
    known = {"If-None-Match": answer.headers["ETag"]}
    assert running.client.get(finished["links"]["result"], params={"format": name}, headers=known).status_code == 304
    other = "txt" if name != "txt" else "srt"
    assert running.client.get(finished["links"]["result"], params={"format": other}, headers=known).status_code == 200


def test_json_is_the_default(running: Service, finished: dict[str, Any]) -> None:
    body = running.client.get(finished["links"]["result"]).json()
    assert (body["text"], body["language"]["code"]) == ("Guten Tag <b> schöne Grüße", "de")
    refused(running.client.get(finished["links"]["result"], params={"format": "docx"}), 422, "validation")
    refused(running.client.get(finished["links"]["result"], params={"max_lines": 2}), 422, "validation")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("format=srt&max_lines=0", "max_lines"),
        ("format=srt&max_lines=x", "max_lines"),
        ("format=srt&max_lines=", "max_lines"),
        ("format=srt&max_lines=1&max_lines=2", "max_lines"),
        ("format=srt&word_cues=true", "word_cues"),
        ("format=txt&max_line_width=40", "max_line_width"),
        ("format=srt&min_cue=5&max_cue=4", "min_cue"),
        ("format=srt&melody=1", "melody"),
        ("format=vtt&speakers=some", "speakers"),
        ("speakers=none", "speakers"),
    ],
)
def test_a_look_that_the_format_has_not_is_refused(
    running: Service, finished: dict[str, Any], asked: str, field: str
) -> None:
    problem = refused(running.client.get(f"{finished['links']['result']}?{asked}"), 422, "validation")
    assert [error["field"] for error in problem["errors"]] == [field]


def test_the_look_of_subtitles(running: Service, finished: dict[str, Any]) -> None:
    def get(known: str = "", **query: Any) -> httpx.Response:
        headers = {"If-None-Match": known} if known else {}
        return running.client.get(finished["links"]["result"], params={"format": "srt", **query}, headers=headers)

    narrow = get(max_line_width=10, min_cue="1.5", speakers="none")
    assert narrow.text == FORMATS["srt"].render(TRANSCRIPT, Shaping(max_line_width=10, min_cue=1.5, speakers="none"))
    assert "Guten\nTag <b>" in narrow.text and "Guten Tag <b>" in get().text
    assert get(narrow.headers["ETag"]).status_code == 200
    assert get(narrow.headers["ETag"], max_line_width=10, min_cue=1.5, speakers="none").status_code == 304


@pytest.mark.parametrize(
    "asked", ["format=rttm", "format=srt&speakers=prefix", "format=txt&translation=only", "format=vtt&word_cues=1"]
)
def test_what_the_transcript_has_not(running: Service, finished: dict[str, Any], asked: str) -> None:
    refused(running.client.get(f"{finished['links']['result']}?{asked}"), 409, "not_in_result")


def test_the_description_has_the_look(running: Service) -> None:
    operation = running.client.get("/openapi.json").json()["paths"]["/api/v1/jobs/{job_id}/result"]["get"]
    query = {p["name"]: p for p in operation["parameters"] if p["in"] == "query"}
    assert list(query) == ["format", "revision", *(option.name for option in options(Shaping))]
    assert query["max_lines"]["schema"] == {
        "type": "integer",
        "title": "Max Lines",
        "minimum": 1,
        "maximum": 5,
        "default": 2,
    }
    assert query["max_lines"]["description"] == "Lines of a cue. For srt, vtt, ass."
    assert query["format"]["schema"]["enum"] == list(FORMATS)


def test_no_result_yet_or_ever(running: Service) -> None:
    job = running.submit().json()
    answer = running.client.get(job["links"]["result"])
    refused(answer, 409, "not_ready")
    assert answer.headers["Retry-After"]
    running.client.post(job["links"]["cancel"])
    ended = running.client.get(job["links"]["result"])
    assert "cancelled" in refused(ended, 409, "not_ready")["detail"]
    assert "Retry-After" not in ended.headers  # waiting will not help
    assert "failed" in refused(running.client.get(fail(running)["links"]["result"]), 409, "not_ready")["detail"]


def test_expired(running: Service, finished: dict[str, Any]) -> None:
    assert running.store.expire(audio_hours=1e-12, result_hours=1e-12, limit=10)
    refused(running.client.get(finished["links"]["result"]), 410, "expired")


def test_a_result_that_is_lost_is_our_fault_and_says_nothing_of_paths(running: Service) -> None:
    refused(running.client.get(complete(running)["links"]["result"]), 500, "internal")


def test_download_names() -> None:
    assert content_disposition(renamed('a"b;ä\\%41.tar.wav', "srt")) == (
        "attachment; filename=\"a_b____41.tar.srt\"; filename*=UTF-8''a%22b%3B%C3%A4%5C%2541.tar.srt"
    )
    assert 'filename="upload.srt"' in content_disposition(renamed("upload", "srt"))
