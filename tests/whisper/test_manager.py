"""The engine manager: hosts on demand, evicted, restarted, given up on; and nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import EngineUnavailable
from testbed.verdicts import engine_dir
from tests.whisper.engine_parts import MODEL, ROOT, gone, wait_for
from whisper import VAD_MODEL
from whisper.engine.host_client import HostClient
from whisper.engine.manager_process import start_manager

OTHER = ROOT / "tests/data/ggml-demo-q8_0.bin"


class Client:
    """Raw JSON lines to a manager."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.process, self.path = process, path

    def ask(self, **request: Any) -> tuple[dict[str, Any], socket.socket]:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(self.path))
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as lines:
            return json.loads(lines.readline()), sock

    @contextmanager
    def holding(self, model: Path) -> Iterator[dict[str, Any]]:
        answer, sock = self.ask(op="acquire", kind="whisper", files=[str(model)], device="cpu")
        with sock:
            yield answer

    def hosts(self) -> dict[str, dict[str, Any]]:
        answer, sock = self.ask(op="status")
        sock.close()
        return {Path(host["model"]).name: host for host in answer["hosts"]}

    def serving(self) -> dict[str, int]:
        return {name: host["pid"] for name, host in self.hosts().items() if host["state"] == "serving"}


@contextmanager
def manager(**options: Any) -> Iterator[Client]:
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        path = Path(folder) / "m.sock"
        process = start_manager(path, engine_dir=engine_dir(), **options)
        try:
            yield Client(process, path)
        finally:
            process.terminate()
            process.wait(5)


def test_a_host_starts_on_demand_and_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_SECRET_KEY", "hush")
    monkeypatch.setenv("DATA_DIR", "/somewhere")
    with manager(workers=2, nice=3) as client:
        assert client.hosts() == {}
        with client.holding(MODEL) as first, client.holding(MODEL) as second:
            assert first == second and (first["library"], first["version"]) == ("wheel", "1.8.5")
            host = client.hosts()["ggml-demo.bin"]
            assert (host["state"], host["references"], host["pool"]["most"], len(host["workers"])) == (
                "serving",
                2,
                2,
                1,
            )
            process = psutil.Process(host["pid"])
            assert process.nice() == 3
            same = os.getsid(process.pid) == os.getsid(process.ppid())
            assert same and os.getpgid(process.pid) == process.pid, (
                "in one session the idle class of one gives way to another"
            )
            assert process.environ().get("DATA_DIR") == "/somewhere" and "MINIO_SECRET_KEY" not in process.environ()
            assert process.environ()["OMP_WAIT_POLICY"] == "passive"
            assert list(Path(process.cwd()).iterdir()) == [] and Path(process.cwd()).stat().st_mode & 0o222 == 0
            assert Path(first["socket"]).stat().st_mode & 0o077 == 0
        wait_for(lambda: client.hosts()["ggml-demo.bin"]["references"] == 0)


@pytest.mark.parametrize("model", [Path("/nowhere/ggml-x.bin"), VAD_MODEL], ids=["missing", "not whisper"])
def test_a_bad_model_is_the_models_fault(model: Path) -> None:
    with manager() as client, client.holding(model) as answer:
        assert answer["error"]["code"] == "model_invalid" and model.name in answer["error"]["message"]
        assert client.serving() == {}


def test_the_least_recently_used_model_makes_room() -> None:
    with manager(max_loaded_models=1) as client:
        with client.holding(MODEL):
            pass
        old = client.serving()["ggml-demo.bin"]
        with client.holding(OTHER) as answer:
            assert "socket" in answer
            assert list(client.serving()) == ["ggml-demo-q8_0.bin"] and gone(old)


def test_a_host_starts_though_the_empty_folder_was_cleaned_away() -> None:
    with manager() as client:
        with client.holding(MODEL) as answer:
            assert "socket" in answer
        (client.path.parent / "empty").rmdir()
        with client.holding(OTHER) as answer:
            assert "socket" in answer
            assert list((client.path.parent / "empty").iterdir()) == []


def test_starting_a_host_does_not_keep_others_waiting() -> None:
    with manager() as client:
        sock = socket.socket(socket.AF_UNIX)
        with sock:
            sock.connect(str(client.path))
            asked = time.monotonic()
            sock.sendall(
                json.dumps({"op": "acquire", "kind": "whisper", "files": [str(MODEL)], "device": "cpu"}).encode()
                + b"\n"
            )
            state = wait_for(lambda: client.hosts().get("ggml-demo.bin", {}).get("state"))
            assert state == "starting" or time.monotonic() - asked > 0.5, "or the first look came late"
            assert b"socket" in sock.recv(4096)


def test_an_idle_model_is_unloaded_even_if_referenced() -> None:
    with manager(idle_seconds=2.0) as client, client.holding(MODEL) as before:
        pid = client.serving()["ggml-demo.bin"]
        wait_for(lambda: gone(pid), 20)
        with client.holding(MODEL) as after:
            assert after["socket"] != before["socket"] and Path(after["socket"]).exists()


def test_a_dead_host_is_restarted_and_in_the_end_given_up() -> None:
    with manager() as client, client.holding(MODEL):
        for _ in range(3):
            pid = wait_for(lambda: client.serving().get("ggml-demo.bin"))
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: client.serving().get("ggml-demo.bin") != pid)
        wait_for(lambda: client.hosts()["ggml-demo.bin"]["state"] == "broken")
        start = time.monotonic()
        with client.holding(MODEL) as answer:
            error = answer["error"]
            assert error["code"] == "engine_unavailable" and "3 times in a row" in error["message"]
            assert 20 < error["retry_after"] <= 30 and time.monotonic() - start < 5.0
        with client.holding(OTHER) as answer:  # the others are none the worse for it
            assert "socket" in answer


def test_terminate_leaves_nothing_behind() -> None:
    with manager(workers=2) as client, client.holding(MODEL):
        everyone = wait_for(lambda: (c := psutil.Process(client.process.pid).children(recursive=True))[1:] and c)
        client.process.terminate()
        assert client.process.wait(5) == 0
        wait_for(lambda: all(gone(p.pid) for p in everyone))
        assert list(client.path.parent.iterdir()) == []


def test_nothing_outlives_a_killed_parent() -> None:
    """The parent starts the manager, a host and its worker, says so, and is killed."""
    script = (
        "import sys, time; from pathlib import Path; from whisper.engine.host_engine import *; from whisper.engine.manager_process import *; from tests.whisper.engine_parts import *\n"
        "path = Path(sys.argv[1]); start_manager(path, engine_dir=Path(sys.argv[2]))\n"
        "e = HostEngine(path); e.transcribe(str(MODEL), chunk()[0], TranscribeOptions(**QUICK)); print(flush=True); time.sleep(60)"
    )
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        command = [sys.executable, "-c", script, f"{folder}/m.sock", str(engine_dir())]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None and parent.stdout.readline() == b"\n"
            everyone = psutil.Process(parent.pid).children(recursive=True)
            assert len(everyone) == 3
            parent.kill()
        wait_for(lambda: all(gone(p.pid) for p in everyone))


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineUnavailable, match="did not start"):
        start_manager(tmp_path / ("x" * 60) / ("y" * 60) / "m.sock")
    assert "too long a path" in capfd.readouterr().err


def test_nonsense_is_answered_or_ignored() -> None:
    with manager() as client:
        answer, sock = client.ask(op="explode")
        sock.close()
        assert "unknown request" in answer["error"]["message"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(client.path))
            sock.sendall(b"{nonsense\n")
            assert sock.recv(10) == b""
        assert HostClient(client.path).status()["pid"] == client.process.pid
