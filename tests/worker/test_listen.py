"""Decode and plan, pipelined: the pause after the first chunks of a long file, and all that ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.audio import ffmpeg
from core.audio.decoder import DecodedAudio, Decoder
from core.speech.planner import ChunkPlanner
from core.speech.strategies import region_source
from testbed import audio_bank
from worker.listen import Listener

MINUTES = 12.0
HEAD = 3


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pcm, _ = audio_bank.speech(MINUTES, seed=5)
    return audio_bank.write(tmp_path_factory.mktemp("listen") / "long.mp3", pcm)


@pytest.fixture
def listen(recording: Path, tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    """A listener on that file with windows of 5 s; it is closed by the test or with it."""
    opened: list[Listener] = []

    def make(**changes: Any) -> Listener:
        regions = region_source("silence", lambda pcm: pytest.fail("no VAD here"))
        made = Listener(
            **{
                "source": recording,
                "spool": tmp_path / "pcm",
                "decoder": Decoder(ffmpeg.find(), max_seconds=3600.0),
                "regions": regions,
                "planner": ChunkPlanner(5 * 16_000, quietest=regions.quietest),
                "replan": True,
                "head": HEAD,
                "cancel": threading.Event(),
                "on_chunks": lambda chunks: None,
                "on_planned": lambda decoded: None,
            }
            | changes
        )
        opened.append(made.__enter__())
        return made

    yield make
    for listener in opened:
        listener.__exit__()


def test_a_long_file_is_not_decoded_ahead_of_its_first_chunks(listen: Callable[..., Listener]) -> None:
    planned: list[DecodedAudio] = []
    listener = listen(on_planned=planned.append)
    chunks = listener.chunks()
    first = [next(chunks) for _ in range(HEAD)]
    time.sleep(1.5)  # without the pause the whole file takes about as long
    assert listener.decoded is None and not planned
    listener.go_on()
    assert listener.wait_decoded().duration == pytest.approx(60 * MINUTES, abs=0.2)
    everything = [*first, *chunks]
    assert [chunk.index for chunk in everything] == list(range(len(everything)))
    assert everything[-1].end == planned[0].samples


def test_who_waits_for_more_ends_the_pause(listen: Callable[..., Listener]) -> None:
    """The language vote may want more windows than the pause lets through."""
    chunks = list(listen().chunks())
    assert len(chunks) > 60 * MINUTES / 5


def test_a_pause_does_not_outlast_a_cancel_or_the_end(listen: Callable[..., Listener]) -> None:
    cancel = threading.Event()
    listener = listen(cancel=cancel)
    for _, _ in zip(range(HEAD), listener.chunks(), strict=False):
        pass
    cancel.set()
    began = time.monotonic()
    listener.__exit__()
    assert time.monotonic() - began < 5.0
