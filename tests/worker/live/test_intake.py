from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.audio import ffmpeg
from core.audio.samples import Pcm
from core.errors import LiveProtocol, ServiceError
from core.live.options import StreamOptions
from testbed import audio_bank
from worker.live.container import ContainerIntake
from worker.live.intake import SampleIntake
from worker.live.parts import Intake

PCM, _ = audio_bank.speech(0.1, 3)
RAW = ("-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "pipe:0")


async def taken(intake: Intake, data: bytes, size: int = 4000) -> Pcm:
    try:
        got = [await intake.feed(data[start : start + size]) for start in range(0, len(data), size)]
        return np.concatenate([*got, await intake.finish()])
    finally:
        await intake.close()


def samples(data: bytes, size: int = 4000, **options: Any) -> Pcm:
    return asyncio.run(taken(SampleIntake(StreamOptions(**options)), data, size))


def error(found: Pcm, truth: Pcm) -> float:
    """Loudest difference, as a share of full scale."""
    assert abs(len(found) - len(truth)) <= 16
    n = min(len(found), len(truth))
    return float(np.abs(found[:n].astype(float) - truth[:n]).max()) / 32768


def test_samples_at_16_khz_come_as_they_are_wherever_messages_end() -> None:
    for size in (1, 333, 4000, 10**7):
        found = samples(PCM[:2000].tobytes() + b"\1", size)
        assert found.shape == (2000, 1) and (found[:, 0] == PCM[:2000]).all()


@pytest.mark.parametrize(("encoding", "codec"), [("mulaw", "mulaw"), ("alaw", "alaw"), ("f32le", "f32le")])
def test_encodings_are_read_as_ffmpeg_writes_them(encoding: str, codec: str) -> None:
    data = audio_bank.ffmpeg(*RAW, "-f", codec, "pipe:1", stdin=PCM.tobytes())
    back = audio_bank.ffmpeg(
        "-f", codec, "-ar", "16000", "-ac", "1", "-i", "pipe:0", "-f", "s16le", "pipe:1", stdin=data
    )
    assert error(samples(data, encoding=encoding)[:, 0], np.frombuffer(back, "<i2")) < 2 / 32768


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_other_rates_become_16_khz_without_a_seam_between_messages(rate: int) -> None:
    data = audio_bank.ffmpeg(*RAW, "-ar", str(rate), "-f", "s16le", "pipe:1", stdin=PCM.tobytes())
    found = samples(data, 999, sample_rate=rate)
    assert (found == samples(data, 10**7, sample_rate=rate)).all()
    if rate > 16000:
        assert error(found[:, 0], PCM) < 0.03
    assert abs(len(found) - len(PCM)) <= 2


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 5000), max_size=8), st.sampled_from([16000, 8000, 44100]))
def test_two_channels_stay_apart(ends: list[int], rate: int) -> None:
    pair = np.stack([PCM[:3000], -PCM[3000:6000]], axis=1)
    data, got, at = pair.tobytes(), [], 0

    async def fed() -> Pcm:
        nonlocal at
        intake = SampleIntake(StreamOptions(channels=2, sample_rate=rate))
        for size in [*ends, len(data)]:
            got.append(await intake.feed(data[at : at + size]))
            at += size
        return np.concatenate([*got, await intake.finish()])

    found = asyncio.run(fed())
    alone = samples(np.ascontiguousarray(pair[:, 1]).tobytes(), 10**6, sample_rate=rate)
    assert found.shape == (len(alone), 2) and np.abs(found[:, 1].astype(int) - alone[:, 0]).max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(LiveProtocol, match="finite"):
        samples(np.array([0.0, bad, 0.1], "<f4").tobytes(), encoding="f32le")


def test_louder_than_full_scale_is_clipped() -> None:
    found = samples(np.array([2.0, -7.0, 0.5], "<f4").tobytes(), encoding="f32le")
    assert found[:, 0].tolist() == [32767, -32768, 16384]


FRAGMENTS = ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "200000")


@pytest.fixture(scope="module")
def program() -> ffmpeg.Ffmpeg:
    return ffmpeg.find()


@pytest.mark.parametrize(
    ("name", "options"), [("a.webm", ("-c:a", "libopus")), ("a.ogg", ("-c:a", "libopus")), ("a.mp4", FRAGMENTS)]
)
def test_containers_of_browsers_are_decoded_while_they_come(
    tmp_path: Path, program: ffmpeg.Ffmpeg, name: str, options: tuple[str, ...]
) -> None:
    data = audio_bank.write(tmp_path / name, PCM, *options).read_bytes()

    async def fed() -> tuple[int, Pcm]:
        intake, got = ContainerIntake(program), []
        try:
            half, end = len(data) // 2, time.monotonic() + 10
            got.append(await intake.feed(data[:half]))
            while not sum(map(len, got)):  # half of it is sound before the rest has come
                assert time.monotonic() < end
                got.append(await intake.feed(b""))
            early = sum(map(len, got))
            got += [await intake.feed(data[half:]), await intake.finish()]
        finally:
            await intake.close()
        return early, np.concatenate(got)

    early, found = asyncio.run(fed())
    assert 0 < early < len(found) and abs(len(found) - len(PCM)) < 1200
    again = asyncio.run(taken(ContainerIntake(program, skip=30_000), data))
    assert (again == found[30_000:]).all(), "who takes over hears the same from there"


def test_a_decoder_that_cannot_be_started_or_is_killed_is_not_the_clients_fault(program: ffmpeg.Ffmpeg) -> None:
    nowhere = replace(program, path="/nowhere/ffmpeg")
    with pytest.raises(ServiceError, match="can no longer be started") as failed:
        asyncio.run(taken(ContainerIntake(nowhere), b"\x1aE\xdf\xa3"))
    assert failed.value.code == "internal"

    async def killed(again: bytes) -> None:
        intake = ContainerIntake(program)
        try:
            await intake.feed(b"\x1aE\xdf\xa3")
            assert intake._process is not None
            intake._process.kill()
            async with asyncio.timeout(30):
                while again:  # what a dead process was given is in its pipe until that is found out
                    await intake.feed(again)
                await intake.finish()
        finally:
            await intake.close()

    for again in (bytes(100_000), b""):
        with pytest.raises(ServiceError, match="was killed") as failed:
            asyncio.run(killed(again))
        assert failed.value.code == "internal"


@pytest.mark.parametrize("data", [os.urandom(300_000), b"\0" * 5000, b"RIFF" + bytes(500), b"#EXTM3U\nhttp://a/b.ts\n"])
def test_garbage_is_refused_soon(program: ffmpeg.Ffmpeg, data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(LiveProtocol):
        asyncio.run(taken(ContainerIntake(program), data))
    assert time.monotonic() - began < 8


def test_nothing_at_all_is_an_empty_stream_and_who_is_closed_leaves_no_process(program: ffmpeg.Ffmpeg) -> None:
    assert len(asyncio.run(taken(ContainerIntake(program), b""))) == 0

    async def closed() -> int:
        intake = ContainerIntake(program)
        await intake.feed(b"\x1a\x45\xdf\xa3")
        process = intake._process
        assert process is not None
        await intake.close()
        return process.poll() or 0

    assert asyncio.run(closed()) < 0
