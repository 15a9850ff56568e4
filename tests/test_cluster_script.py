"""`python -m scripts.cluster`: everything starts, answers, and ends without a trace, however it is ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from scripts.cluster import Cluster
from testbed.service import PLAIN
from tests.whisper.engine_parts import wait_for

ROOT = Path(__file__).parents[1]


def _processes_of(folder: Path) -> list[str]:
    """Command lines of processes that have this folder in their arguments or environment."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            inside = str(folder) in " ".join([*process.cmdline(), *process.environ().values()])
            if inside and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_the_cluster_runs_and_leaves_nothing(number: signal.Signals, tmp_path: Path, minio: object) -> None:
    command = [sys.executable, "-m", "scripts.cluster", "--data", str(tmp_path), "--port", "0", "--consumers", "2"]
    with (tmp_path / "out").open("wb") as out:
        script = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"WHISPER_MODEL": "demo"}, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 90
        while "Ctrl-C stops" not in (shown := (tmp_path / "out").read_text()):
            assert script.poll() is None, shown
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)
        address = re.search(r"API +(http\S+)", shown)
        assert address is not None
        # a check that takes longer than its 2 s, while all of this starts, is asked again
        wait_for(
            lambda: (
                httpx.get(f"{address[1]}/readyz", verify=PLAIN).json()["checks"]
                == dict.fromkeys(["database", "storage", "broker", "model"], "ok")
            ),
            30,
        )
        assert all(name in shown for name in ("PostgreSQL", "Valkey", "MinIO", "consumer-1", "consumer-2"))
        script.send_signal(number)
        assert script.wait(timeout=60) == (0 if number is signal.SIGINT else -signal.SIGKILL), (
            tmp_path / "out"
        ).read_text()
    finally:
        script.kill()
        script.wait()
    wait_for(lambda: not _processes_of(tmp_path), 30)


def test_a_cluster_that_cannot_start_says_why_and_stops_its_servers(tmp_path: Path, minio: object) -> None:
    cluster = Cluster(tmp_path, consumers=1, env={"CHUNK_DURATION": "nonsense"})
    with pytest.raises(RuntimeError, match="CHUNK_DURATION"):
        cluster.start()
    assert not any(server.running for server in cluster.servers)
    wait_for(lambda: not _processes_of(tmp_path), 30)
