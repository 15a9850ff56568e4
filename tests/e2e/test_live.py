"""Speech through a real live process, with the demo model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from websockets.asyncio.client import unix_connect

from core.store.database import open_database
from core.store.sql import SqlStore
from testbed import audio_bank
from testbed.service import running


def test_speech_becomes_finals_and_a_job_with_the_same_words(tmp_path: Path) -> None:
    pcm, _ = audio_bank.speech(seed=3)
    with running(tmp_path / "service", LIVE_ENABLED="true", MAX_LIVE_STREAMS="2") as service:
        service.wait_log("Live streams are served")
        store = SqlStore(open_database(f"sqlite:///{tmp_path}/service/data/parascribe.db"))
        try:
            (door,) = [row.info.live for row in store.consumers() if row.info.live is not None]
        finally:
            store.close()
        got = asyncio.run(asyncio.wait_for(_stream(dict(door), pcm.tobytes()), 90))
        finals = [message for message in got if message["type"] == "final"]
        text = " ".join(final["text"].strip() for final in finals).strip()
        assert text and all(a["end"] <= b["start"] for a, b in zip(finals, finals[1:], strict=False))
        assert [message["type"] for message in got].count("ready") == 1 and got[-1]["type"] == "end"
        job = service.wait(got[-1]["job"])
        assert job["status"] == "completed"
        words = service.result(job["id"], "txt").text.split()
        assert words == text.split()


async def _stream(door: dict[str, str], audio: bytes) -> list[dict[str, Any]]:
    got = []
    headers = {"Authorization": f"Bearer {door['token']}"}
    path = door["address"].removeprefix("unix:")
    async with unix_connect(path, "ws://localhost/", additional_headers=headers, compression=None) as socket:
        await socket.send(json.dumps({"type": "start", "language": "en"}))
        for at in range(0, len(audio), 16_000):
            await socket.send(audio[at : at + 16_000])
        await socket.send('{"type": "end"}')
        async for message in socket:
            got.append(json.loads(message))
    return got
