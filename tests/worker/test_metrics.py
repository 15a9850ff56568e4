"""A consumer's figures: what job processes tell, heard by the process that serves them."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from core.jobs.consumers import ConsumerInfo
from tests.worker.kit import PLAN, Kit
from whisper.engine.scripted import Rule
from worker.context.figures import (
    ChunkEnded,
    EngineAnswered,
    Event,
    JobBegan,
    JobLeft,
    JobProcessDied,
    Listener,
    Sender,
)
from worker.metrics import ConsumerMetrics, JobFigures, Seen

ENGINE = {
    "pid": 1,
    "restarts": {"base": 2},
    "hosts": [
        {
            "model": "/models/ggml-base.bin",
            "state": "serving",
            "workers": [{"pid": 2, "idle": True}, {"pid": 3, "idle": False}, {"pid": 4, "idle": False}],
            "queued": {"one": 3, "two": 1},
            "pool": {"held": "CPU pressure is 99 %"},
        },
        {"model": "/models/ggml-tiny.bin", "state": "down"},
    ],
}


def shown(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def seen(info: Callable[[], ConsumerInfo] = lambda: ConsumerInfo(plan=PLAN, engine=ENGINE)) -> Seen:
    return Seen(info=info, busy=lambda: 1, restarts=lambda: {"consumer": 4})


def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come")


def test_events_reach_the_port_from_another_process(tmp_path: Path) -> None:
    metrics = ConsumerMetrics(tmp_path / "figures", seen(), version="1.2.3")
    port = metrics.start("127.0.0.1", 0)
    try:
        child = os.fork()
        if child == 0:
            send = Sender(tmp_path / "figures")
            for _ in range(200):
                send(ChunkEnded(outcome="done", audio_seconds=2.5, engine_seconds=0.5))
            send(JobLeft(outcome="completed", code="", seconds=50.0, audio_seconds=500.0))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

        def figures() -> dict[str, float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return shown(answer.read().decode())

        until(lambda: 'parascribe_jobs_left_total{code="",outcome="completed"}' in figures())
        found = figures()
    finally:
        metrics.stop()
    assert found['parascribe_chunks_total{outcome="done"}'] == 200.0
    assert found["parascribe_audio_seconds_total"] == 500.0
    assert found["parascribe_engine_cpu_seconds_total"] == 100.0
    assert found["parascribe_real_time_factor_sum"] == pytest.approx(0.1)
    assert found['parascribe_build_info{version="1.2.3"}'] == 1.0
    assert found["parascribe_consumer_memory_bytes"] > 10_000_000
    assert (found["parascribe_consumer_slots"], found["parascribe_consumer_slots_busy"]) == (1.0, 1.0)
    assert found['parascribe_process_restarts_total{process="consumer"}'] == 4.0
    assert found['parascribe_engine_restarts_total{model="base"}'] == 2.0
    assert found['parascribe_engine_workers{model="base",state="busy"}'] == 2.0
    assert found['parascribe_engine_waiting{model="base"}'] == 4.0
    assert found['parascribe_engine_held{model="base"}'] == 1.0
    assert found['parascribe_engine_workers{model="tiny",state="idle"}'] == 0.0
    assert found["parascribe_engine_up"] == 1.0


def test_an_engine_that_is_away_shows(tmp_path: Path) -> None:
    away = ConsumerMetrics(tmp_path / "figures", seen(lambda: ConsumerInfo(engine={"state": "away"})), version="1")
    assert shown(generate_latest(away.registry).decode())["parascribe_engine_up"] == 0.0


def test_a_listener_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    send = Sender(tmp_path / "figures")
    send(JobProcessDied())
    listener = Listener(tmp_path / "figures")
    for _ in range(2000):  # more than any socket holds: nobody listens, and the sender goes on
        send(JobBegan(waited=1.0))
        if send._socket.gettimeout():
            send._socket.settimeout(0.0)
    listener.close()
    send(JobProcessDied())
    send.close()


def test_a_listener_ends_when_it_is_closed(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "figures")
    heard: list[Event] = []
    thread = threading.Thread(target=lambda: heard.extend(listener.events()), daemon=True)
    thread.start()
    send = Sender(tmp_path / "figures")
    send(EngineAnswered(model="base", waited=0.5, worked=2.0))
    send.close()
    until(lambda: bool(heard))
    listener.close()
    thread.join(10)
    assert not thread.is_alive()
    assert heard == [EngineAnswered(model="base", waited=0.5, worked=2.0)]


def test_what_a_job_tells(tmp_path: Path, minute: bytes) -> None:
    registry = CollectorRegistry()
    kit = Kit(tmp_path, Rule(kind="crash", label="chunk 2/*"))
    kit.parts = replace(kit.parts, tell=JobFigures(registry))
    job = kit.submit(minute)
    assert kit.run() == "completed"
    found = shown(generate_latest(registry).decode())
    chunks = kit.chunks(job)
    assert found['parascribe_chunks_total{outcome="done"}'] == len(chunks) - 1
    assert found['parascribe_chunks_total{outcome="failed"}'] == 1
    assert found['parascribe_chunk_seconds_count{model="demo"}'] >= len(chunks) - 1
    assert found['parascribe_jobs_left_total{code="",outcome="completed"}'] == 1
    assert found["parascribe_real_time_factor_count"] == found["parascribe_job_wait_seconds_count"] == 1
    done = sum(chunk.audio_seconds for chunk in chunks if chunk.error is None)
    assert found["parascribe_audio_seconds_total"] == pytest.approx(done)


def test_a_failed_job_tells_its_code(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    kit = Kit(tmp_path)
    kit.parts = replace(kit.parts, tell=JobFigures(registry))
    kit.submit(b"RIFF no sound at all")
    assert kit.run() == "failed audio_undecodable"
    found = shown(generate_latest(registry).decode())
    assert found['parascribe_jobs_left_total{code="audio_undecodable",outcome="failed"}'] == 1
    assert found["parascribe_real_time_factor_count"] == 0


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        metrics = ConsumerMetrics(tmp_path / "figures", seen(), version="1")
        with pytest.raises(OSError, match="in use"):
            metrics.start("127.0.0.1", other.getsockname()[1])
