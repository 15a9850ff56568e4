"""What every diarizer promises, whatever does it: `turns` with the networks here, in a host, and scripted; sherpa-onnx."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, ChunkFailed
from testbed import audio_bank
from tests.skipping import skip_on_a_laptop
from whisper import SPEAKER_MODELS
from whisper.engine import sherpa_diarizer
from whisper.engine.host_client import HostClient
from whisper.engine.host_diarizer import HostNetworks, TurnsDiarizer, own_networks
from whisper.engine.manager_process import start_manager
from whisper.engine.sherpa_diarizer import SherpaDiarizer
from whisper.speakers.diarizer import Diarization, Diarizer
from whisper.speakers.scripted import ScriptedNetworks
from whisper.speakers.voices import SpeakerBounds
from whisper.types import Call


class Growing:
    """A recording that is decoded by the second."""

    def __init__(self, pcm: Pcm) -> None:
        self.pcm, self.there = pcm, 0

    def length(self, at_least: int) -> int:
        while self.there < min(at_least, len(self.pcm)):
            self.there = min(len(self.pcm), self.there + SAMPLE_RATE)
        return self.there

    def read(self, start: int, end: int) -> Pcm:
        assert 0 <= start < end <= self.there, "nothing that is not there is asked for"
        return self.pcm[start:end]


@pytest.fixture(scope="module")
def hosted() -> Iterator[HostClient]:
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        manager = start_manager(Path(folder) / "m.sock", workers=1, cores=2)
        client = HostClient(Path(folder) / "m.sock")
        yield client
        client.close()
        manager.terminate()
        manager.wait(10)


@pytest.fixture(params=["scripted", "here", "hosted", "sherpa"])
def diarizer(request: pytest.FixtureRequest) -> Diarizer:
    if request.param == "sherpa":
        return sherpa()
    if request.param == "hosted":
        client: HostClient = request.getfixturevalue("hosted")
        return TurnsDiarizer(partial(HostNetworks, client, SPEAKER_MODELS), width=2)
    if request.param == "here":
        return TurnsDiarizer(partial(own_networks, SPEAKER_MODELS), width=2)
    return TurnsDiarizer(lambda call, quiet: ScriptedNetworks(), width=2)


def sherpa() -> SherpaDiarizer:
    if find_spec("sherpa_onnx") is None:
        skip_on_a_laptop("sherpa-onnx is not installed")
    return SherpaDiarizer(SPEAKER_MODELS, threads=1)


def two_voices() -> Pcm:
    """9 s: one speaks, then another."""
    pcm, items = audio_bank._bank()
    said = [
        [pcm[item["start"] : item["end"]] for item in items if item["speaker"] == speaker][:3]
        for speaker in ("espeak-de+Annie", "espeak-de+m2")
    ]
    return np.concatenate([part for parts in said for part in parts]).astype(np.int16)[: 9 * SAMPLE_RATE]


def asked(diarizer: Diarizer, pcm: Pcm, bounds: SpeakerBounds | None = None, *, quiet: int = 0) -> Diarization:
    """quiet: others want the cores for so many looks"""
    shares: list[float] = []
    others = iter([True] * quiet)
    found = diarizer.diarize(
        Growing(pcm), bounds or SpeakerBounds(), Call(job="j"), quiet=lambda: next(others, False), tell=shares.append
    )
    assert all(0 <= share <= 1 for share in shares)
    seconds = len(pcm) / SAMPLE_RATE
    assert all(0 <= turn.start < turn.end <= seconds + 0.05 for turn in found.turns)
    assert list(found.turns) == sorted(found.turns, key=lambda turn: turn.start)
    assert found.voices.shape[1:] == (192,) and np.isfinite(found.voices).all()
    assert {turn.voice for turn in found.turns} <= set(range(len(found.voices)))
    return found


def test_it_has_a_version(diarizer: Diarizer) -> None:
    assert any(letter.isdigit() for letter in diarizer.version)


def test_somebody_speaks_from_when_to_when(diarizer: Diarizer) -> None:
    found = asked(diarizer, two_voices(), quiet=2)
    assert sum(turn.end - turn.start for turn in found.turns) > 5


def test_one_worker_leaves_it_the_other_cores(hosted: HostClient) -> None:
    HostNetworks(hosted, SPEAKER_MODELS, Call(), lambda: True).classes(two_voices()[: 2 * SAMPLE_RATE])
    (host,) = (host for host in hosted.status()["hosts"] if "workers" in host)
    assert len(host["workers"]) == 2, "threads, where there are more cores than workers"


def test_of_next_to_nothing_there_are_no_turns(diarizer: Diarizer) -> None:
    for samples in (0, 1, 400, 990):
        assert asked(diarizer, np.full(samples, 900, np.int16)).turns == ()
    assert asked(diarizer, np.zeros(3 * SAMPLE_RATE, np.int16), SpeakerBounds(exact=9)).turns == ()


def test_whatever_is_heard_and_asked_for_is_no_error(diarizer: Diarizer) -> None:
    rng = np.random.default_rng(1)
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * hertz * t) for hertz in (262, 330, 392))  # music
    word = two_voices()[: round(0.6 * SAMPLE_RATE)]
    noise = rng.integers(-32768, 32767, SAMPLE_RATE // 2).astype(np.int16)
    asked(diarizer, np.concatenate([(4000 * chord).astype(np.int16), noise]), SpeakerBounds(exact=9))
    asked(diarizer, word, SpeakerBounds(least=3, most=3))


def test_a_cancelled_call_ends_within_a_second(diarizer: Diarizer) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        diarizer.diarize(Growing(two_voices()), SpeakerBounds(), Call(cancel=cancel), quiet=lambda: False)


# --- what sherpa's is alone with: a process for each recording
def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [process for process in found if "whisper.speakers.sherpa" in " ".join(process.cmdline())]


def interrupted(act: Callable[[psutil.Process], object], cancel: threading.Event) -> Diarization:
    """Something happens to the process while it works."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := children():
                act(found[0])
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        audio = Growing(np.tile(two_voices(), 20))
        return sherpa().diarize(audio, SpeakerBounds(), Call(cancel=cancel), quiet=lambda: False)
    finally:
        thread.join()
        assert not children(), "nothing is left of it"


def test_what_kills_sherpa_is_told_and_kills_nobody_else() -> None:
    with pytest.raises(ChunkFailed, match="status -11"):
        interrupted(lambda process: os.kill(process.pid, signal.SIGSEGV), threading.Event())


def test_sherpa_is_stopped_while_it_works() -> None:
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        interrupted(lambda _: cancel.set(), cancel)


def test_what_is_too_long_for_sherpa_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    diarizer = sherpa()
    monkeypatch.setattr(sherpa_diarizer, "LONGEST", 3600 * SAMPLE_RATE)

    class Long(Growing):
        def length(self, at_least: int) -> int:
            return at_least

    with pytest.raises(ChunkFailed, match="up to 1 h"):
        diarizer.diarize(Long(np.zeros(1, np.int16)), SpeakerBounds(), Call(), quiet=lambda: False)


def test_without_the_package_the_service_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import importlib.metadata as m, sys\n"
        "def none(name): raise m.PackageNotFoundError(name)\n"
        "m.version = none\n"
        "from core.config.loading import load\n"
        "from parascribe.run.services import run_consumer\n"
        "sys.exit(run_consumer(load()))\n"
    )
    env = os.environ | {"DIARIZATION_BACKEND": "sherpa", "DATA_DIR": str(tmp_path), "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1 and "pip install 'parascribe[sherpa]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
