"""How loud the audio is: measured by the real program, kept, made once however many ask."""

from __future__ import annotations

import asyncio
import io
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.concurrency import run_in_threadpool

from api.audio.loudness import BLOCK, Loudness
from api.audio.measuring import measure, reduced
from api.audio.peaks import KeptPeaks
from api.audio.programs import Request
from core.audio.ffmpeg import find
from core.audio.samples import SAMPLE_RATE
from core.errors import AudioTrackMissing, AudioUndecodable, NotReady
from core.jobs.job import Job
from core.objects.memory import MemoryObjects
from core.store.sql import SqlStore
from testbed.audio_bank import write
from tests.api.serving import Service
from tests.api.test_submit import refused
from tests.core.store_kit import new_job

FFMPEG = find()


def request(track: int | None = None) -> Request:
    return Request(ffmpeg=FFMPEG.path, version=FFMPEG.version, max_seconds=60.0, media_type="audio/x-wav", track=track)


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """Three seconds of tone, each louder than the one before, and half a block."""
    tone = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    loud = np.concatenate([tone * 2000, tone * 8000, tone * 32000, tone[: BLOCK // 2] * 8000])
    write(tmp_path / "steps.wav", loud.astype(np.int16))
    return tmp_path / "steps.wav"


def test_the_program_measures_a_file_a_stream_and_what_ffmpeg_decodes(steps: Path, tmp_path: Path) -> None:
    values = measure(request(), steps)
    assert len(values) == 61
    for second, loudest in enumerate((2000, 8000, 32000)):
        assert all(abs(value - loudest / 128) <= 2 for value in values[second * 20 + 1 : second * 20 + 19])
    with steps.open("rb") as file:
        assert measure(request(), io.BytesIO(file.read())) == values
    packed = tmp_path / "steps.flac"
    subprocess.run([FFMPEG.path, "-v", "error", "-i", str(steps), str(packed)], check=True, timeout=60)
    assert all(abs(a - b) <= 2 for a, b in zip(measure(request(), packed), values, strict=True))


def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, steps: Path) -> None:
    nonsense = tmp_path / "nonsense.wav"
    nonsense.write_bytes(b"RIFF\xff\xff\xff\x00WAVEfmt " + b"\x01" * 1000)
    with pytest.raises(AudioUndecodable):
        measure(request(), nonsense)
    with pytest.raises(AudioTrackMissing, match="no sound track 3"):
        measure(request(track=3), steps)


def test_samples_may_come_in_any_pieces() -> None:
    pcm = np.arange(-3000, 3000, dtype=np.int16) * 10
    whole, pieces = Loudness(), Loudness()
    whole.add(pcm)
    for start in range(0, len(pcm), 7):
        pieces.add(pcm[start : start + 7])
    for one in (whole, pieces):
        one.silence(BLOCK * 3)
        one.finish()
        one.finish()
    assert whole.values == pieces.values
    assert len(whole.values) == -(-(len(pcm) + 3 * BLOCK) // BLOCK)
    extreme = Loudness()
    extreme.add(np.full(BLOCK, -32768, np.int16))
    assert extreme.values == b"\xff"


def test_fewer_points_keep_the_loudest() -> None:
    values = bytes([1, 9, 2, 3, 8, 0, 7])
    assert list(reduced(values, 3)) == [9, 3, 8]
    assert list(reduced(values, 100)) == list(values) and list(reduced(b"", 5)) == []
    assert max(reduced(values, 1)) == 9


def some_job() -> Job:
    return SqlStore.in_memory().of("anna").create(new_job())


def test_they_are_made_once_however_many_ask() -> None:
    objects, job = MemoryObjects(), some_job()
    begun, go_on, made = threading.Event(), threading.Event(), []

    def slow(asked: Job) -> bytes:
        made.append(asked.id)
        begun.set()
        assert go_on.wait(30)
        return b"\x01\x02"

    kept = KeptPeaks(objects, slow, patience=0.01)
    with pytest.raises(NotReady) as waiting:
        asyncio.run(kept.of(job))
    assert waiting.value.details["retry_after"]
    assert begun.wait(30)
    with pytest.raises(NotReady):
        asyncio.run(kept.of(job))
    go_on.set()
    patient = KeptPeaks(objects, slow, patience=30)
    first = kept._making.get(job.id)
    assert first is None or first.result(30) == b"\x01\x02"
    assert asyncio.run(patient.of(job)) == asyncio.run(patient.of(job)) == b"\x01\x02"
    assert made == [job.id]


def test_what_failed_is_tried_again() -> None:
    answers: list[Callable[[], bytes]] = [lambda: (_ for _ in ()).throw(AudioUndecodable), lambda: b"\x05"]
    kept = KeptPeaks(MemoryObjects(), lambda job: answers.pop(0)(), patience=30)
    job = some_job()
    with pytest.raises(AudioUndecodable):
        asyncio.run(kept.of(job))
    assert asyncio.run(kept.of(job)) == b"\x05"


def test_who_waits_for_them_holds_no_thread() -> None:
    go_on = threading.Event()
    kept, job = KeptPeaks(MemoryObjects(), lambda job: bytes(20) if go_on.wait(30) else b"", patience=60), some_job()

    async def many() -> list[bytes]:
        # more than there are threads for what blocks: if these held them, nobody would get as far as `set`
        waiting = [asyncio.create_task(kept.of(job)) for _ in range(60)]
        await asyncio.sleep(0)
        await run_in_threadpool(go_on.set)
        return await asyncio.gather(*waiting)

    assert asyncio.run(many()) == [bytes(20)] * 60


def test_the_route(serve: Callable[..., Service]) -> None:
    running = serve(measure=lambda job: bytes([0, 255, 51, 0]))
    job: dict[str, Any] = running.submit().json()
    path = f"{job['links']['self']}/peaks"
    assert running.client.get(path).json() == {"duration": 0.2, "peaks": [0.0, 1.0, 0.2, 0.0]}
    assert running.client.get(path, params={"points": 2}).json()["peaks"] == [1.0, 0.2]
    assert [key for key in running.keys if "peaks" in key]
    for wrong in ({"points": 0}, {"points": 20_001}, {"points": "x"}, {"point": 5}):
        refused(running.client.get(path, params=wrong), 422, "validation")
    assert running.client.delete(job["links"]["self"]).status_code == 204
    refused(running.client.get(path), 404, "job_not_found")


def test_bad_audio_is_no_fault_of_ours(serve: Callable[..., Service]) -> None:
    def undecodable(job: Job) -> bytes:
        raise AudioUndecodable

    running = serve(measure=undecodable)
    refused(running.client.get(f"{running.submit().json()['links']['self']}/peaks"), 422, "audio_undecodable")
