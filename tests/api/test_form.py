"""The receiver takes the form it is told to take, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from starlette.requests import Request

from api.access.identity import Open
from api.upload.form import Form
from api.upload.received import Upload
from api.upload.receiver import Receiver, UploadLimits
from core.errors import ValidationFailed
from core.objects.memory import MemoryObjects
from tests.api.serving import wav
from tests.api.test_submit import form
from tests.core.test_submission import intake

SPEC = Form(file="audio", fields=("model", "granularities[]"), repeated=frozenset({"granularities[]"}))
AUDIO = ("audio", "a.wav", wav())


def receive(folder: Path, *parts: Any) -> Upload:
    body, headers = form(*parts)

    async def message() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {
        "type": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "identity": Open.LOCAL,
    }
    early: list[dict[str, str]] = []

    def store(data: BinaryIO, media_type: str) -> int:
        return len(data.read())

    async def look(fields: dict[str, str]) -> None:
        early.append(dict(fields))

    async def run() -> Upload:
        receiver = Receiver(intake=intake(MemoryObjects(), folder), limits=UploadLimits(), count=lambda _: None)
        try:
            return await receiver.receive(Request(scope, message), SPEC, store=store, check_fields=look)
        finally:
            receiver.close()

    return asyncio.run(run())


def test_what_may_repeat_comes_as_a_list_in_order(tmp_path: Path) -> None:
    upload = receive(
        tmp_path,
        ("granularities[]", None, b"word"),
        ("model", None, b"base"),
        AUDIO,
        ("granularities[]", None, b"segment"),
    )
    assert (upload.fields, upload.repeated) == ({"model": "base"}, {"granularities[]": ["word", "segment"]})
    assert (upload.bytes, upload.sha256) == (1000, hashlib.sha256(wav()).hexdigest())


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([("file", "a.wav", wav())], "^file: no such field; there are: audio, model, granularities"),
        ([("model", None, b"a"), ("model", None, b"b"), AUDIO], "^model: sent more than once"),
        ([("granularities[]", "x", b"a"), AUDIO], "sent as a file"),
        ([("model", None, b"a")], "^audio: missing"),
    ],
)
def test_what_the_form_does_not_have_is_refused(tmp_path: Path, parts: list[Any], said: str) -> None:
    with pytest.raises(ValidationFailed, match=said):
        receive(tmp_path, *parts)
