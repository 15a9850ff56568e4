"""Finding what was said over HTTP, by the client, and on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from core.queue.indexing import index_due
from core.transcript.formats import to_result
from parascribe.cli import main
from parascribe.run.wiring.stores import open_objects, open_store
from tests.api.serving import Service
from tests.api.test_submit import refused
from tests.api.test_transcripts import done, get, line, put
from tests.core.test_search_words import talk
from tests.parascribe.both import KINDS

Capture = pytest.CaptureFixture[str]


def search(running: Service, q: str, **more: Any) -> dict[str, Any]:
    answer = running.client.get("/api/v1/search", params={"q": q, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def spoken(running: Service) -> str:
    job_id = done(running, talk("We met the <cat>", "sat down", "東京都に行く"), 100.0)
    index_due(running.store, running.objects, seconds=60)
    return job_id


def shown(parts: list[dict[str, Any]]) -> str:
    return "".join(f"[{part['text']}]" if part["match"] else part["text"] for part in parts)


def test_a_hit_says_where(running: Service, spoken: str) -> None:
    body = search(running, '"cat sat" talk')
    (hit,) = body["items"]
    assert hit["job"] == running.client.get(f"/api/v1/jobs/{spoken}").json() and body["next"] is None
    assert shown(hit["name"]) == "[talk].wav"
    assert [(one["id"], one["start"], one["end"], shown(one["snippet"])) for one in hit["segments"]] == [
        (0, 0.0, 1.5, "We met the <[cat]>"),
        (1, 2.0, 3.5, "[sat] down"),
    ]
    assert search(running, "cat sat", segments=0)["items"][0]["segments"] == []
    (hit,) = search(running, "東京")["items"]
    assert hit["name"] is None and shown(hit["segments"][0]["snippet"]) == "[東京]都に行く"
    assert search(running, "dog") == {"items": [], "next": None}


def test_the_list_of_jobs_is_searched(running: Service, spoken: str) -> None:
    waiting = running.submit(name="cat.wav").json()["id"]

    def listed(**query: Any) -> list[str]:
        return [job["id"] for job in running.client.get("/api/v1/jobs", params=query).json()["items"]]

    assert listed(q="cat") == [waiting, spoken]
    assert listed(q="cat", status="completed") == [spoken] and listed(q="cat", limit=1) == [waiting]
    page = running.client.get("/api/v1/jobs", params={"q": "cat", "limit": 1}).json()
    assert listed(q="cat", after=page["next"]) == [spoken]
    running.client.delete(f"/api/v1/jobs/{spoken}")
    assert listed(q="cat") == [waiting]


def test_an_edit_is_found(running: Service, spoken: str) -> None:
    assert put(running, spoken, 0, [line("We met a parrot")]).is_success
    index_due(running.store, running.objects, seconds=60)
    assert search(running, "cat") == {"items": [], "next": None}
    (hit,) = search(running, "parrot")["items"]
    assert hit["segments"][0]["start"] == get(running, spoken).json()["segments"][0]["start"] == 0.5


@pytest.mark.parametrize("path", ["/api/v1/search", "/api/v1/jobs"])
def test_what_cannot_be_is_refused(running: Service, spoken: str, path: str) -> None:
    words = ["q=", "q=***", "q=%22", "q=%00", "q=%FF", f"q={'a' * 201}", "q=a&q=b", "q=a&after=x", "q=a&limit=0"]
    for query in [*words, "q=a&sort=b"]:
        refused(running.client.get(f"{path}?{query}"), 422, "validation")


def test_a_search_needs_words(running: Service) -> None:
    refused(running.client.get("/api/v1/search"), 422, "validation")


def test_nothing_that_is_typed_is_an_error_of_ours(running: Service, spoken: str) -> None:
    typed = ['"', "a AND", "(((", "NEAR(a b", "a:b", "^a*", "a' OR '1'='1", "a -b", "{a}", "\\", "a|b&c!d:*", "_", "%"]
    for q in typed:
        for path in ("/api/v1/search", "/api/v1/jobs"):
            assert running.client.get(path, params={"q": q}).status_code in (200, 422), q


def test_the_client_and_the_command_line(running: Service, spoken: str, capsys: Capture) -> None:
    url = str(running.client.base_url)
    for kind in KINDS.values():
        with kind(url) as client:
            page = client.search("cat")
            assert [hit["job"]["id"] for hit in page["items"]] == [spoken]
            assert [job["id"] for job in client.list(q="cat")["items"]] == [spoken]
    assert main(["search", "cat", "met", "--url", url]) == 0
    assert capsys.readouterr().out == f"{spoken}\ttalk.wav\t00:00.0\tWe met the <cat>\n"
    assert main(["search", "talk", "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["segments"] == []
    assert main(["search", "***", "--url", url]) == 1
    assert "validation" in capsys.readouterr().err


def test_the_index_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from core.config.loading import load
    from core.transcript.search.query import Query
    from tests.core.store_kit import new_job
    from tests.core.test_store_texts import finish

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    store, objects = open_store(load()), open_objects(load())
    job = store.create(new_job())
    finish(store)
    objects.put(f"jobs/{job.id}/result.1.json", io.BytesIO(json.dumps(to_result(talk("a word"))).encode()))
    assert main(["search", "rebuild"]) == 0
    assert capsys.readouterr().out == "1\n"
    assert [one.id for one in store.list(query=Query.of("word"))[0]] == [job.id]
    store.close()
