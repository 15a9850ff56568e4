"""What a run takes: of this process, of those it starts, and of the engine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.worker.kit import Kit
from worker.context.resources import Meter, _most_at_once

BUSY = (
    "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ndata = bytearray(60_000_000)"
)


def test_children_count_when_they_have_ended(tmp_path: Path) -> None:
    meter = Meter()
    before = meter.read()["cpu_seconds"]
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    found = meter.read()
    assert 0.3 <= found["cpu_seconds"] - before < 3.0
    assert found["cpu_percent"] > 0.0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell")
def test_memory_of_a_running_child_counts() -> None:
    meter = Meter()
    alone = meter.read()["peak_pss_bytes"]
    code = "data = bytearray(60_000_000); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    with_child = meter.read()["peak_pss_bytes"]
    child.communicate(b"\n")
    assert with_child - alone > 55_000_000
    assert meter.read()["peak_pss_bytes"] >= with_child  # the peak stays


def test_bytes_written_reach_the_disk(tmp_path: Path) -> None:
    meter = Meter()
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(5_000_000))
    written = meter.read()["disk_written_bytes"]
    assert written is None or written in (0, pytest.approx(5_000_000, rel=0.2))  # 0: a folder in memory


def test_what_the_system_does_not_tell_is_null(tmp_path: Path) -> None:
    found = Meter(tmp_path).read()
    assert (found["peak_pss_bytes"], found["disk_read_bytes"], found["disk_written_bytes"]) == (None, None, None)
    assert found["cpu_seconds"] >= 0.0


def test_the_most_workers_at_once() -> None:
    assert _most_at_once([]) == 0
    assert _most_at_once([(0.0, 1.0), (1.0, 2.0)]) == 1
    assert _most_at_once([(0.0, 3.0), (1.0, 2.0), (2.5, 4.0)]) == 2


def test_a_completed_job_says_what_it_took(tmp_path: Path, minute: bytes) -> None:
    kit = Kit(tmp_path, delay=0.02)
    job = kit.submit(minute)
    began = time.monotonic()
    assert kit.run() == "completed"
    wall = time.monotonic() - began
    found = (kit.job(job).performance or {})["resources"]
    engine = (kit.job(job).performance or {})["engine_seconds"]
    assert found["cpu_seconds"] >= engine
    assert found["cpu_percent"] >= 99 * found["cpu_seconds"] / wall
    assert 1 <= found["workers_used"] <= 3
    assert found == kit.result(job)["performance"]["resources"]
