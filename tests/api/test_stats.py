"""GET /stats and /features: one's own figures, and what can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.foreign.interfaces import ROUTERS
from core.keys import ADMIN, JOBS
from core.store.sql import SqlStore
from tests.api.keyed import add, keyed
from tests.api.serving import Service, wav
from tests.api.test_jobs import complete
from tests.api.test_submit import refused
from whisper.translation.router import SPOKEN, Translators
from whisper.translation.scripted import ScriptedTranslator


def test_stats_of_an_empty_service(running: Service) -> None:
    body = running.client.get("/api/v1/stats").json()
    assert (body["total"], body["active"]) == (0, [])
    assert body["lately"] == {"jobs": 0, "audio_seconds": 0.0, "average_seconds": None, "real_time_factor": None}
    assert set(body["backlog"].values()) == {0.0}


def test_stats(running: Service) -> None:
    complete(running)
    running.submit(wav(64_000))
    running.submit(wav(64_000))
    claim = running.store.claim(owner="o", consumer="c", lease_seconds=60)
    assert claim is not None
    running.store.progress(claim, duration=10.0, chunks_total=2, chunks_done=1, audio_seconds_done=4.0)
    body = running.client.get("/api/v1/stats").json()
    assert body["total"] == 3
    assert {name: count for name, count in body["jobs"].items() if count} == {
        "completed": 1,
        "processing": 1,
        "queued": 1,
    }
    assert body["backlog"]["jobs"] == 1
    assert body["backlog"]["running_audio_seconds"] == 6.0
    assert body["backlog"]["left_audio_seconds"] == 6.0 + body["backlog"]["audio_seconds"] > 6.0
    assert [(one["id"], one["percent"]) for one in body["active"]] == [(claim.job.id, 40.0)]
    assert body["lately"]["jobs"] == 1
    assert body["lately"]["average_seconds"] >= 0.0


def test_features(running: Service) -> None:
    body = running.client.get("/api/v1/features").json()
    assert body["interfaces"] == [*dict.fromkeys(router.tags[0] for router in ROUTERS)]
    described = running.client.get("/openapi.json").json()
    assert body["options"] == list(described["components"]["schemas"]["ParamsBody"]["properties"])
    result = described["paths"]["/api/v1/jobs/{job_id}/result"]["get"]["parameters"]
    asked = {one["name"]: one["schema"] for one in result if one["in"] == "query"}
    assert set(body["looks"]) == asked.keys() - {"format", "revision"}
    assert body["formats"] == asked["format"]["enum"]
    assert body["limits"]["max_upload_bytes"] == 4096 * 1024 * 1024
    assert body["tracing"] is False
    assert body["sources"] == ["file", "upload"] and body["defaults"] == {}
    assert body["languages"]["de"] == "german" and len(body["languages"]) == 100


def test_features_tell_who_translates_what(serve: Callable[..., Service]) -> None:
    translators = Translators([ScriptedTranslator({("de", "fr")}), SPOKEN])
    body = serve(translations=translators).client.get("/api/v1/features").json()
    assert body["translation"] == [
        {"provider": "scripted", "pairs": [{"sources": ["de"], "targets": ["fr"]}], "from_sound": False},
        {"provider": "whisper", "pairs": [{"sources": None, "targets": ["en"]}], "from_sound": True},
    ]


def test_they_take_no_parameters(running: Service) -> None:
    for path in ("stats", "features"):
        refused(running.client.get(f"/api/v1/{path}", params={"all": "true"}), 422, "validation")


def test_an_owner_sees_its_own_figures(tmp_path: Path) -> None:
    store = SqlStore.in_memory()
    anna, bert, root = (
        add(store, name, scopes=[scope])[0] for name, scope in (("anna", JOBS), ("bert", JOBS), ("root", ADMIN))
    )
    with keyed(tmp_path, store) as running:

        def stats(token: str) -> dict[str, Any]:
            found: dict[str, Any] = running.client.get("/api/v1/stats", headers={"X-API-Key": token}).json()
            return found

        running.client.post("/api/v1/jobs", files={"file": ("talk.wav", wav())}, headers={"X-API-Key": anna})
        store.claim(owner="o", consumer="c", lease_seconds=60)
        running.client.post("/api/v1/jobs", files={"file": ("talk.wav", wav())}, headers={"X-API-Key": anna})
        assert (stats(anna)["total"], len(stats(anna)["active"]), stats(anna)["backlog"]["jobs"]) == (2, 1, 1)
        assert (stats(root)["total"], len(stats(root)["active"])) == (2, 1)
        nothing = stats(bert)
        assert (nothing["total"], nothing["active"], set(nothing["backlog"].values())) == (0, [], {0.0})
