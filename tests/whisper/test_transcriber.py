from __future__ import annotations

import json
import logging
import shutil
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.audio.samples import Pcm
from core.errors import Cancelled, ChunkFailed, ChunkTimeout, EngineUnavailable, ModelUnavailable, UnknownModel
from testbed.audio_bank import speech
from testbed.verdicts import engine_dir
from tests.whisper.model_server import CATALOGUE as CATALOGUE_OF_ONE
from tests.whisper.model_server import INFO, model_server
from whisper import DATA
from whisper.download.downloader import ModelDownloader
from whisper.download.sources import AddressSource
from whisper.engine.host_engine import HostEngine
from whisper.engine.manager_process import start_manager
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.models.store import ModelStore
from whisper.types import Call, TranscribeOptions, Urgency
from whisper.wire.frames import FrameType, pack, receive

BUNDLED = DATA / "models"
EN = TranscribeOptions(language="en")


def tone(seconds: float, seed: int = 1) -> Pcm:
    return np.random.default_rng(seed).integers(-3000, 3000, int(seconds * 16_000)).astype(np.int16)


def transcriber(folder: Path, engine: ScriptedEngine | None = None, **more: float) -> WhisperTranscriber:
    return WhisperTranscriber(engine or ScriptedEngine(), ModelDownloader(ModelStore(folder, BUNDLED)), **more)


def test_two_jobs_of_sixty_chunks_announce_themselves_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "whisper")
    shared = transcriber(tmp_path)
    shared.downloader.ensure_model_exists("demo", announce=True)
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(shared.transcribe, tone(1, n), EN, Call(job=job, label=f"chunk {n}/60"), model="demo")
            for job in "ab"
            for n in range(60)
        ]
    assert all(call.result().text for call in calls)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said.count(("INFO", "Initializing shared WhisperTranscriber")) == 1
    assert said.count(("INFO", "Ensuring model exists: demo")) == 1
    assert said.count(("DEBUG", "Model demo already validated in cache")) == 120
    assert len(said) == 122


@pytest.mark.parametrize(
    ("pcm", "problem"),
    [
        (np.zeros(0, np.int16), "0.000 s"),
        (np.zeros(1000, np.int16), "0.062 s"),
        (np.zeros(30 * 16_000 + 1, np.int16), "30.000 s"),
        (np.full(16_000, np.nan, np.float32), "not finite"),
        (np.zeros(16_000, np.float32), "float32 instead of int16"),
        (np.zeros((16_000, 2), np.int16), "2 dimensions"),
    ],
)
def test_what_no_engine_should_see_is_refused(tmp_path: Path, pcm: Pcm, problem: str) -> None:
    log = tmp_path / "calls"
    with pytest.raises(ChunkFailed, match=f"chunk 3/4 cannot be transcribed.*{problem}"):
        transcriber(tmp_path, ScriptedEngine(call_log=log)).transcribe(pcm, EN, Call(label="chunk 3/4"), model="demo")
    assert not log.exists()


@pytest.mark.parametrize("kind", ["crash", "timeout"])
def test_a_chunk_gets_a_second_try_and_no_third(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "calls"
    rules = (Rule(kind=kind, label="once", calls=(1,)), Rule(kind=kind, label="always"))
    shared = transcriber(tmp_path, ScriptedEngine(rules=rules, call_log=log))
    assert shared.transcribe(tone(2), EN, Call(label="once"), model="demo").text
    with pytest.raises(ChunkFailed, match="^always: "):
        shared.transcribe(tone(2), EN, Call(label="always"), model="demo")
    assert [json.loads(line)["label"] for line in log.read_text().splitlines()] == ["once"] * 2 + ["always"] * 2


def test_a_timeout_names_the_variable(tmp_path: Path) -> None:
    shared = transcriber(tmp_path, ScriptedEngine(rules=[Rule(kind="hang")]), chunk_timeout=0.05)
    with pytest.raises(ChunkTimeout, match="CHUNK_TIMEOUT"):
        shared.transcribe(tone(2), EN, Call(label="chunk 1/1"), model="demo")


def test_a_lost_engine_is_not_the_chunks_fault(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    shared = transcriber(tmp_path, ScriptedEngine(rules=[Rule(kind="unavailable")], call_log=log))
    with pytest.raises(EngineUnavailable):
        shared.transcribe(tone(2), EN, model="demo")
    assert len(log.read_text().splitlines()) == 1


def test_cancel_stops_a_hanging_chunk_and_its_second_try(tmp_path: Path) -> None:
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    shared = transcriber(tmp_path, ScriptedEngine(rules=[Rule(kind="hang")]))
    with pytest.raises(Cancelled):
        shared.transcribe(tone(2), EN, Call(cancel=cancel), model="demo")


def test_an_unknown_model_and_language_detection(tmp_path: Path) -> None:
    shared = transcriber(tmp_path, ScriptedEngine(language="de", rules=[Rule(kind="crash", calls=(1,))]))
    with pytest.raises(UnknownModel):
        shared.transcribe(tone(1), EN, model="bas")
    assert shared.detect_language(tone(1), model="demo").language == "de"


def test_a_model_removed_under_a_job_is_not_fetched_again_by_a_chunk(tmp_path: Path) -> None:
    with model_server("ok") as server:
        downloader = ModelDownloader(
            ModelStore(tmp_path, tmp_path / "none", catalogue=CATALOGUE_OF_ONE), [AddressSource("mirror", server.url)]
        )
        shared = WhisperTranscriber(ScriptedEngine(), downloader)
        assert shared.transcribe(tone(1), EN, model=INFO.name).text
        downloader.store.remove(INFO.name)
        with pytest.raises(
            ModelUnavailable, match=f"removed while it was in use: .*{INFO.filename}"
        ):  # the script reads the file
            shared.transcribe(tone(1), EN, model=INFO.name)
        assert len(server.ranges) == 1
        downloader.ensure_model_exists(INFO.name)  # as the next job does
        assert shared.transcribe(tone(1), EN, model=INFO.name).text
        assert len(server.ranges) == 2


def test_an_engine_that_has_a_removed_model_in_memory_goes_on_with_it() -> None:
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        store = ModelStore(Path(folder, "models"), BUNDLED)
        store.folder.mkdir()
        shutil.copyfile(BUNDLED / "ggml-demo.bin", store.folder / "ggml-mine.bin")
        manager = start_manager(Path(folder, "run", "m.sock"), engine_dir=engine_dir())
        try:
            shared = WhisperTranscriber(HostEngine(Path(folder, "run", "m.sock")), ModelDownloader(store))
            pcm = speech(minutes=0.1, seed=11)[0][: 5 * 16_000]
            text = shared.transcribe(pcm, EN, model="local:mine").text
            store.remove("local:mine")
            assert text and shared.transcribe(pcm, EN, model="local:mine").text == text
            shared.close()
        finally:
            manager.terminate()
            manager.wait(10)


def test_what_a_call_says_of_itself_reaches_the_engine_host(tmp_path: Path) -> None:
    """Manager and host are sockets here that answer once."""
    with tempfile.TemporaryDirectory(prefix="ps") as folder, ThreadPoolExecutor(1) as pool:
        manager, host = Path(folder, "m"), Path(folder, "h")
        with socket.socket(socket.AF_UNIX) as managing, socket.socket(socket.AF_UNIX) as hosting:
            for listener, path in ((managing, manager), (hosting, host)):
                listener.bind(str(path))
                listener.listen()
                listener.settimeout(20)

            def answer_once() -> tuple[dict[str, Any], dict[str, Any]]:
                with managing.accept()[0] as client, client.makefile("rb") as lines:
                    acquired = json.loads(lines.readline())
                    client.sendall(json.dumps({"socket": str(host), "library": "x", "version": "1"}).encode() + b"\n")
                    with hosting.accept()[0] as asking:
                        request = receive(asking).body
                        asking.sendall(pack(FrameType.ERROR, {"code": "bad_chunk", "message": "enough"}))
                return acquired, request

            heard = pool.submit(answer_once)
            shared = WhisperTranscriber(HostEngine(manager), ModelDownloader(ModelStore(tmp_path, BUNDLED)))
            how = {"job": "j", "owner": "anna", "label": "chunk 1/2", "urgency": Urgency.LIVE}
            with pytest.raises(ChunkFailed, match="enough"):
                shared.transcribe(tone(1), EN, Call(**how), model="demo")
            shared.close()
            acquired, request = heard.result(20)
    assert (acquired["kind"], acquired["device"]) == ("whisper", "cpu")
    assert acquired["files"] == [str(shared.downloader.store.path("demo"))]
    assert request == {"op": "transcribe", "timeout": None, "options": EN.to_dict(), **how}
