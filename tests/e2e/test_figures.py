"""The figures of a running service: the API's at its port, the consumer's at one of its own."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from scripts.servers import free_port
from testbed.service import Service, audio, running


def figures(url: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in httpx.get(f"{url}/metrics").text.splitlines() if line[0] != "#")
    return {name: float(value) for name, value in lines}


def test_a_job_shows_in_both(tmp_path: Path) -> None:
    port = free_port()
    path, _ = audio(tmp_path, minutes=0.5, seed=3)
    with running(tmp_path / "service", METRICS_PORT=str(port)) as service:
        assert f"Figures of this consumer on http://127.0.0.1:{port}/metrics" in service.log
        job = service.wait(service.submit(path, model="demo")["id"])
        assert job["status"] == "completed"
        deadline, done = time.monotonic() + 10, 'parascribe_jobs_left_total{code="",outcome="completed"}'
        while done not in (found := figures(f"http://127.0.0.1:{port}")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found[done] == 1.0
        assert found['parascribe_chunks_total{outcome="done"}'] == job["progress"]["chunks_done"]
        assert found["parascribe_audio_seconds_total"] == pytest.approx(30.0, abs=1.0)
        assert found['parascribe_chunk_seconds_count{model="demo"}'] >= job["progress"]["chunks_done"]
        assert found["parascribe_engine_up"] == 1.0
        assert found['parascribe_engine_workers{model="demo",state="busy"}'] == 0.0
        assert found["parascribe_consumer_memory_bytes"] > 50_000_000
        table = figures(service.url)
        assert table['parascribe_jobs{status="completed"}'] == 1.0
        assert table["parascribe_consumers"] == 1.0
        killed = service.processes("parascribe whisper host")[0]
        killed.kill()
        restarts = 'parascribe_engine_restarts_total{model="demo"}'
        while restarts not in (found := figures(f"http://127.0.0.1:{port}")) and time.monotonic() < deadline + 10:
            time.sleep(0.02)
        assert found[restarts] == 1.0


def test_a_port_in_use_is_refused_in_words(tmp_path: Path) -> None:
    with running(tmp_path / "one", METRICS_PORT=str(port := free_port())):
        two = Service(tmp_path / "two", METRICS_PORT=str(port)).start(wait=False)
        assert two.process is not None
        assert two.process.wait(30) == 1
        assert f"Port {port} of 127.0.0.1 cannot be had for figures (METRICS_PORT)" in two.log
        two.assert_gone()
