"""Decoding: while it runs, when it is stopped, and what it costs. Formats: test_formats_in.py, test_hostile.py."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import psutil
import pytest

from core.audio.decoder import BLOCK_BYTES, DecodedAudio, Decoder, PcmSpool
from core.audio.ffmpeg import Ffmpeg, find
from core.audio.samples import SAMPLE_RATE, Region
from core.errors import AudioTooLong, AudioUndecodable, Cancelled, DiskFull, ServiceError, SourceMissing
from testbed.audio_bank import ffmpeg, speech, write
from tests.whisper.engine_parts import gone, wait_for

ROOT = Path(__file__).parents[2]
FFMPEG = find()
DECODER = Decoder(FFMPEG, max_seconds=3600)


def stuck(folder: Path) -> Ffmpeg:
    """A decoder that never gives a sample, and has a child of its own."""
    program = folder / "stuck-ffmpeg"
    program.write_text("#!/bin/sh\nsleep 60 &\nwait\n")
    program.chmod(0o755)
    return Ffmpeg(path=str(program), version="0")


def children() -> list[psutil.Process]:
    """The decoder's processes (servers of other tests may run too)."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ffmpeg" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_blocks_can_be_read_as_soon_as_they_are_announced(tmp_path: Path) -> None:
    said, _ = speech(0.5)
    source, spool, announced = write(tmp_path / "a.flac", said), tmp_path / "spool", list[int]()

    def on_block(samples: int) -> None:
        before = announced[-1] if announced else 0
        with PcmSpool(spool) as pcm:
            np.testing.assert_array_equal(pcm.read(before, samples), said[before:samples])
        announced.append(samples)

    audio = DECODER.decode(source, spool, on_block=on_block)
    assert audio == DecodedAudio(samples=len(said))
    assert audio.duration == 30.0
    assert announced[-1] == len(said) and len(announced) >= len(said) * 2 // BLOCK_BYTES


def test_regions_are_spliced_and_nothing_is_made_up(tmp_path: Path) -> None:
    said, _ = speech(0.1)
    (tmp_path / "spool").write_bytes(said.tobytes())
    with PcmSpool(tmp_path / "spool") as pcm:
        spliced = pcm.read_regions([Region(start=10, end=30), Region(start=500, end=501)])
        np.testing.assert_array_equal(spliced, np.concatenate([said[10:30], said[500:501]]))
        assert pcm.read_regions([]).shape == (0,)
        with pytest.raises(EOFError):
            pcm.read(0, len(said) + 1)


@pytest.mark.parametrize("kind", ["file", "memory", "pipe"])
def test_sources_of_every_kind(kind: str, tmp_path: Path) -> None:
    """An mp4 keeps its index at the end: a stream that cannot seek must work too."""
    said, _ = speech(0.1)
    source, spool = write(tmp_path / "a.m4a", said, "-c:a", "alac"), tmp_path / "spool"
    if kind == "file":
        with source.open("rb") as stream:
            stream.peek(100)  # a buffered reader has taken some of the file already
            DECODER.decode(stream, spool)
    elif kind == "memory":
        DECODER.decode(io.BytesIO(source.read_bytes()), spool)
    else:
        with subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            DECODER.decode(cast("BinaryIO", cat.stdout), spool)
    np.testing.assert_array_equal(np.fromfile(spool, "<i2"), said)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.m4a", "spool"], "the copy is left behind"


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_the_cap_is_exact(suffix: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"a.{suffix}", speech(0.1)[0])
    assert Decoder(FFMPEG, max_seconds=6.0).decode(source, tmp_path / "spool").samples == 6 * SAMPLE_RATE
    with pytest.raises(AudioTooLong):
        Decoder(FFMPEG, max_seconds=5.999).decode(source, tmp_path / "spool")


@pytest.mark.parametrize("name", ["plain.wav", "whole.flac"])
def test_a_constant_offset_is_taken_out(name: str, tmp_path: Path) -> None:
    said = speech(0.1, noise_db=None)[0] // 2
    pcm, spool = (said + 300).astype(np.int16), tmp_path / "spool"
    assert DECODER.decode(write(tmp_path / name, pcm), spool).samples == len(pcm)
    # what of the voice is lopsided may stay
    assert np.abs(np.fromfile(spool, "<i2").astype(int) - said).max() <= 50


def test_eight_bits_are_centred_and_as_many_as_before(tmp_path: Path) -> None:
    pcm = speech(0.1, noise_db=None)[0]
    assert DECODER.decode(write(tmp_path / "a.wav", pcm - 128, "-c:a", "pcm_u8"), tmp_path / "spool").samples == len(
        pcm
    )
    assert abs(np.fromfile(tmp_path / "spool", "<i2").mean()) < 50


@pytest.mark.parametrize("working", [True, False])
def test_cancel_is_quick_and_leaves_no_process(working: bool, tmp_path: Path) -> None:
    source, cancel = write(tmp_path / "a.flac", speech(0.5)[0]), threading.Event()
    cancelled_at: list[float] = []

    def press(_: int = 0) -> None:
        if not cancelled_at:
            cancelled_at.append(time.monotonic())
            cancel.set()

    if not working:
        threading.Timer(0.3, press).start()
    slowly = Decoder(FFMPEG if working else stuck(tmp_path), max_seconds=3600)
    with pytest.raises(Cancelled):
        slowly.decode(source, tmp_path / "spool", on_block=press, cancel=cancel)
    assert time.monotonic() - cancelled_at[0] < 5
    assert children() == []


def test_an_error_of_the_listener_ends_the_decode(tmp_path: Path) -> None:
    def on_block(samples: int) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        DECODER.decode(write(tmp_path / "a.flac", speech(0.5)[0]), tmp_path / "spool", on_block=on_block)
    assert children() == []


def test_a_decoder_that_stalls_is_given_up(tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac", speech(0.05)[0])
    with pytest.raises(AudioUndecodable, match="no audio for 0.5 s"):
        Decoder(stuck(tmp_path), max_seconds=60, stall_seconds=0.5).decode(source, tmp_path / "spool")
    assert children() == []


def test_a_full_disk_a_missing_source_and_a_vanished_ffmpeg_have_their_own_errors(tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac", speech(0.05)[0])
    with pytest.raises(DiskFull):
        DECODER.decode(source, Path("/dev/full"))
    with pytest.raises(SourceMissing):
        DECODER.decode(tmp_path / "nothing", tmp_path / "spool")
    with pytest.raises(ServiceError, match="can no longer be started") as caught:
        Decoder(Ffmpeg(path="/nowhere/ffmpeg", version="7"), max_seconds=60).decode(source, tmp_path / "spool")
    assert caught.value.code == "internal"


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    spoken = [speech(1.0, seed=seed)[0] for seed in (1, 2)]
    sources = [write(tmp_path / f"{n}.flac", pcm) for n, pcm in enumerate(spoken)]
    spools = [tmp_path / f"{n}.pcm" for n in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        audio = list(pool.map(DECODER.decode, sources, spools))
    assert [a.samples for a in audio] == [len(pcm) for pcm in spoken]
    for spool, pcm in zip(spools, spoken, strict=True):
        np.testing.assert_array_equal(np.fromfile(spool, "<i2"), pcm)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "1800", str(tmp_path / "long.flac"))
    DECODER.decode(write(tmp_path / "short.wav", speech(0.05)[0]), tmp_path / "spool")  # what is paid once
    me = psutil.Process()
    before, most = me.memory_info().rss, 0

    def on_block(samples: int) -> None:
        nonlocal most
        most = max(most, me.memory_info().rss)

    audio = DECODER.decode(tmp_path / "long.flac", tmp_path / "spool", on_block=on_block)
    assert audio.samples == 1800 * SAMPLE_RATE  # 57.6 MB
    assert most - before < 4 * 1024**2


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_kill_9_of_the_parent_leaves_no_ffmpeg(tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac", speech(0.5)[0])
    script = f"""
import psutil, time
from pathlib import Path
from core.audio.decoder import Decoder
from core.audio.ffmpeg import find
def on_block(samples):
    print(psutil.Process().children()[0].pid, flush=True)
    time.sleep(60)
Decoder(find(), max_seconds=60).decode(Path({str(source)!r}), Path({str(tmp_path / "spool")!r}), on_block=on_block)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert "ffmpeg" in child.name()
    os.kill(parent.pid, 9)
    parent.communicate()
    wait_for(lambda: gone(child.pid))
