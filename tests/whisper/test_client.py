"""HostEngine as job processes use it: threads, forks, cancels, lost workers and hosts."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from core.errors import Cancelled, ChunkFailed, ChunkTimeout, EngineUnavailable, ModelInvalid
from testbed.verdicts import engine_dir
from tests.whisper.engine_parts import MODEL, QUICK, ROOT, chunk, gone, text_of, wait_for
from whisper import VAD_MODEL
from whisper.engine.host_client import HostClient
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.types import Call, TranscribeOptions
from whisper.wire.kind import ModelRef

OTHER = ROOT / "tests/data/ggml-demo-q8_0.bin"

ENGLISH = TranscribeOptions(language="en", fit_context=True)


@pytest.fixture(scope="module")
def manager_socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        process = start_manager(Path(folder) / "m.sock", workers=1, engine_dir=engine_dir())
        yield Path(folder) / "m.sock"
        process.terminate()
        process.wait(5)


@pytest.fixture
def engine(manager_socket: Path) -> Iterator[HostEngine]:
    engine = HostEngine(manager_socket)
    yield engine
    engine.close()


def transcribe(engine: HostEngine, **call: Any) -> str:
    return engine.transcribe(str(MODEL), chunk()[0], ENGLISH, Call(**call)).text


def the_host(engine: HostEngine) -> dict[str, Any]:
    """Once it answers its manager, which does not wait for it for long."""
    return dict(wait_for(lambda: next((host for host in engine.status()["hosts"] if "workers" in host), None), 20))


def test_a_manager_that_does_not_answer_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ps") as folder, socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(f"{folder}/m.sock")
        frozen.listen()
        with pytest.raises(EngineUnavailable, match=r"no answer within 0\.3 s"):
            HostClient(Path(folder) / "m.sock").status(seconds=0.3)


def held_worker(engine: HostEngine) -> int:
    """pid of the one worker, ready and stopped."""
    transcribe(engine)
    wait_for(lambda: the_host(engine)["workers"][0]["idle"])
    pid: int = the_host(engine)["workers"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    return pid


def busy(engine: HostEngine) -> bool:
    return not the_host(engine)["workers"][0]["idle"]


def test_values_are_complete(engine: HostEngine) -> None:
    options = TranscribeOptions(language="en", word_timestamps=True, fit_context=True)
    transcript = engine.transcribe(str(MODEL), chunk()[0], options, Call(job="j", label="chunk 1/1"))
    assert transcript.text == chunk()[1] and transcript.language == "en"
    assert transcript.engine == {"library": "wheel", "version": "1.8.5"}
    assert transcript.segments[0].words[0].word == chunk()[1].split()[0]
    assert type(transcript).from_dict(transcript.to_dict()) == transcript
    guess = engine.detect_language(str(MODEL), chunk(5, "de")[0])
    assert guess.language == "de" and guess.probability > 0.9 and guess.engine_seconds > 0


def test_many_threads_and_forked_children_at_once(engine: HostEngine) -> None:
    """Also that a child opens connections of its own, and gives them back."""
    assert transcribe(engine) == chunk()[1]
    children = []
    for _ in range(2):
        if (pid := os.fork()) == 0:
            os._exit(0 if transcribe(engine) == chunk()[1] else 1)
        children.append(pid)
    with ThreadPoolExecutor(3) as pool:
        texts = list(pool.map(lambda n: transcribe(engine, job=str(n)), range(4)))
    assert texts == [chunk()[1]] * 4
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    wait_for(lambda: the_host(engine)["references"] == 1)


def test_a_childs_copies_do_not_keep_a_chunk_alive(engine: HostEngine) -> None:
    """A fork while a chunk is in flight must not hide the parent's hang-up."""
    pid, cancel, child = held_worker(engine), threading.Event(), 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transcribe, engine, cancel=cancel)
        wait_for(lambda: busy(engine))
        if (child := os.fork()) == 0:
            time.sleep(20)
            os._exit(0)
        try:
            cancel.set()
            with pytest.raises(Cancelled):
                running.result(5.0)
            wait_for(lambda: gone(pid))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_cancel_while_running_and_while_queued(engine: HostEngine) -> None:
    pid, running, queued = held_worker(engine), threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(transcribe, engine, job="a", cancel=running)
        wait_for(lambda: busy(engine))
        second = pool.submit(transcribe, engine, job="b", cancel=queued)
        wait_for(lambda: the_host(engine)["queued"] == {"b": 1})
        queued.set()
        with pytest.raises(Cancelled):
            second.result(5.0)
        wait_for(lambda: the_host(engine)["queued"] == {})
        assert not gone(pid)
        running.set()
        with pytest.raises(Cancelled):
            first.result(5.0)
        wait_for(lambda: gone(pid))
    assert transcribe(engine) == chunk()[1]


def test_a_late_chunk_names_the_variable(engine: HostEngine) -> None:
    held_worker(engine)
    with pytest.raises(ChunkTimeout, match="CHUNK_TIMEOUT") as caught:
        transcribe(engine, timeout=0.3)
    assert caught.value.code == "chunk_timeout" and caught.value.details["timeout"] == 0.3
    assert transcribe(engine) == chunk()[1]


def test_a_worker_killed_on_a_chunk(engine: HostEngine) -> None:
    pid = held_worker(engine)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transcribe, engine)
        wait_for(lambda: busy(engine))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ChunkFailed, match="SIGKILL") as caught:
            running.result(5)
    assert caught.value.details == {"reason": "worker_died", "signal": 9}
    assert transcribe(engine) == chunk()[1]


def test_bad_input(engine: HostEngine) -> None:
    for samples in (0, 100, 16_000 * 40):  # the last is refused before it is sent
        with pytest.raises(ChunkFailed) as caught:
            engine.transcribe(str(MODEL), np.zeros(samples, np.int16), ENGLISH)
        assert caught.value.details["reason"] == "bad_chunk"
    with pytest.raises(ChunkFailed, match="unknown language"):
        engine.transcribe(str(MODEL), chunk()[0], TranscribeOptions(language="klingon"))
    with pytest.raises(ModelInvalid):
        engine.transcribe(str(VAD_MODEL), chunk()[0], ENGLISH)


def test_a_lost_host_is_found_again(engine: HostEngine) -> None:
    """Idle or in the middle of a chunk: the chunk is not to blame and is sent again."""
    held_worker(engine)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(transcribe, engine)
        wait_for(lambda: busy(engine))
        os.kill(the_host(engine)["pid"], signal.SIGKILL)
        assert running.result(20) == chunk()[1]
    lost = the_host(engine)["pid"]
    os.kill(lost, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(lost))
    engine.load(str(MODEL))
    assert the_host(engine)["pid"] != lost, "it is there before anything is asked of it"
    assert transcribe(engine) == chunk()[1]


def test_a_model_that_is_slow_to_load_keeps_no_other_waiting(engine: HostEngine, tmp_path: Path) -> None:
    """One client, as a job process has: the first call of another model waits for it, calls of this one do not."""
    other, held = tmp_path / OTHER.name, tmp_path / f"{OTHER.name}.held"
    other.symlink_to(OTHER)
    held.touch()
    slow = ModelRef(kind="tests.whisper.made_kinds:HeldWhisper", files=(str(other),))
    samples = (chunk()[0] / 32768).astype(np.float32).tobytes()
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(engine.client.ask, slow, "transcribe", lambda: samples, QUICK)
        try:
            wait_for(lambda: "starting" in (host["state"] for host in engine.status()["hosts"]), 20)
            assert pool.submit(transcribe, engine).result(60) == chunk()[1]
            assert not waiting.done()
        finally:
            held.unlink()
        assert text_of(waiting.result(60).body) == chunk()[1]


def test_no_manager(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="manager does not answer"):
        transcribe(HostEngine(tmp_path / "none.sock"))
