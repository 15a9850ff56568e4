"""OpenAI's own client for Node against our routes, unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.store.sql import SqlStore
from tests.api.consuming import TEXT, consuming
from tests.api.keyed import add, keyed
from tests.api.serving import wav


@pytest.fixture(scope="module")
def found(node_folder: Path) -> dict[str, Any]:
    """What the client was answered."""
    store = SqlStore.in_memory()
    token, _ = add(store)
    (node_folder / "talk.wav").write_bytes(wav())
    with keyed(node_folder, store) as running, consuming(running) as talks:
        done = subprocess.run(
            ["node", "client.mjs", str(running.client.base_url), "talk.wav", token],
            cwd=node_folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    asked = [store.get(talk.id).params.word_timestamps for talk in talks]
    return {**json.loads(done.stdout), "asked for words": sum(asked)}


def test_transcriptions(found: dict[str, Any]) -> None:
    assert found["json"]["text"] == found["logprobs"]["text"] == found["translation"]["text"] == TEXT
    assert found["text"] == f"{TEXT}\n"
    assert found["srt"].startswith("1\n00:00:00,000 --> ") and found["vtt"].startswith("WEBVTT")
    assert len(found["verbose_json"]["segments"]) == len(found["words"]["segments"]) == 6
    assert found["asked for words"] == 2, "with logprobs and timestamp_granularities"
    assert found["deltas"] == found["done"] == TEXT


def test_models(found: dict[str, Any]) -> None:
    assert found["models"][0] == "whisper-1" and found["model"] == "base"


@pytest.mark.parametrize(
    ("name", "kind", "status", "code"),
    [
        ("model", "NotFoundError", 404, "model_not_found"),
        ("missing", "NotFoundError", 404, "model_not_found"),
        ("language", "BadRequestError", 400, "validation"),
        ("empty", "BadRequestError", 400, "empty_upload"),
        ("speakers", "BadRequestError", 400, "validation"),
        ("key", "AuthenticationError", 401, "invalid_api_key"),
    ],
)
def test_what_cannot_be_done_has_the_clients_own_exception(
    found: dict[str, Any], name: str, kind: str, status: int, code: str
) -> None:
    refused = found["refusals"][name]
    assert (refused["kind"], refused["status"], refused["code"]) == (kind, status, code)
