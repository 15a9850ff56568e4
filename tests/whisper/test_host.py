"""The engine host: fairness, crashes, deadlines, hang-ups, clean state; on the real library and the demo model."""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.whisper.engine_parts import (
    MODEL,
    QUICK,
    Asked,
    HostClient,
    chunk,
    gone,
    running_host,
    text_of,
    timeless,
    wait_for,
)
from whisper.host.clients import Connection
from whisper.host.worker_process import MOST_PAUSED, Worker, WorkerProcess, process_cpu, waited_for_cpu
from whisper.kinds.whisper import WhisperKind
from whisper.wire.frames import PREFIX, FrameType, pack


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a Unix socket's path is limited to about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="ps") as path:
        yield Path(path)


@pytest.fixture
def host(folder: Path) -> Iterator[HostClient]:
    with running_host(folder) as client:
        yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[HostClient]:
    """Two workers, for tests that leave the host as it was."""
    with tempfile.TemporaryDirectory(prefix="ps") as path, running_host(Path(path), workers=2) as client:
        yield client


def hold(pid: int) -> None:
    """Stop a worker, so that what it is given stays undone for as long as a test wants."""
    os.kill(pid, signal.SIGSTOP)


def test_text_times_and_figures(shared: HostClient) -> None:
    pcm, said = chunk()
    reply = shared.transcribe(pcm, options={"language": None, "word_timestamps": True})
    assert text_of(reply) == said
    assert reply["language"] == "en"
    assert reply["no_speech_prob"] < 0.01
    assert 0.01 < reply["engine_seconds"] <= reply["wall_seconds"] * 1.1 + 0.05
    edges = [t for s in reply["segments"] for t in (s["start"], s["end"])]
    assert edges == sorted(edges) and edges[-1] <= len(pcm) / 16000
    for segment in reply["segments"]:
        assert " ".join(w["word"] for w in segment["words"]) == segment["text"]
        times = [t for w in segment["words"] for t in (w["start"], w["end"])]
        assert times == sorted(times) and segment["start"] <= times[0] and times[-1] <= segment["end"]


def test_short_audio_is_padded_and_times_stay_inside(shared: HostClient) -> None:
    pcm, _ = chunk()
    short = pcm[16000 : 16000 + 4000]
    reply = shared.transcribe(short)
    assert all(s["end"] <= 0.25 for s in reply["segments"])


def test_no_speech_probability_tells_silence_from_speech_in_any_order(shared: HostClient) -> None:
    noise = (np.random.default_rng(1).standard_normal(80000) * 300).astype(np.int16)
    speech, _ = chunk()
    seen = [shared.transcribe(pcm)["no_speech_prob"] for pcm in (noise, speech, noise, speech, noise)]
    assert len({round(p, 9) for p in seen[0::2]}) == 1 and len({round(p, 9) for p in seen[1::2]}) == 1
    assert seen[0] > 1000 * seen[1]


@pytest.mark.parametrize(
    ("samples", "options", "words"),
    [
        (np.zeros(0), {}, "0.1 to 30 s"),
        (np.zeros(1599), {}, "0.1 to 30 s"),
        (np.zeros(480_001), {}, "0.1 to 30 s"),
        (np.full(16000, np.nan), {}, "not finite"),
        (np.full(16000, np.inf), {}, "not finite"),
        (np.zeros(16000), {"language": "klingon"}, "unknown language"),
        (np.zeros(16000), {"task": "summarise"}, "unknown task"),
        (np.zeros(16000), {"beam_size": 9}, "beam_size"),
        (np.zeros(16000), {"temperature": 2}, "temperature"),
        (np.zeros(16000), {"audio_ctx": 10}, "unknown option"),
    ],
)
def test_what_libwhisper_must_not_see_is_refused(shared: HostClient, samples, options, words) -> None:  # type: ignore[no-untyped-def]
    if not len(samples):
        shared.transcribe(chunk()[0])  # whose text it would get back
    reply = shared.transcribe(samples * 32768, options=options)
    assert reply["code"] == "bad_chunk" and words in reply["message"]


def test_same_answer_from_any_worker_at_any_time(shared: HostClient) -> None:
    """Sampled decoding shows leaks: the random generator lives in the state."""
    pcm, _ = chunk()
    options = QUICK | {"temperature": 1.0}
    first = shared.transcribe(pcm, options=options)
    with ThreadPoolExecutor(4) as pool:
        between = pool.submit(shared.transcribe, chunk(5, "de")[0], options=QUICK | {"language": "de"})
        again = list(pool.map(lambda _: shared.transcribe(pcm, options=options), range(4)))
        assert text_of(between.result()) == chunk(5, "de")[1]
    assert all(timeless(reply) == timeless(first) for reply in again)


def test_prompt_beam_translation_and_detection(shared: HostClient) -> None:
    pcm, said = chunk()
    assert text_of(shared.transcribe(pcm, options=QUICK | {"beam_size": 3})) == said
    prompted = shared.transcribe(pcm, options=QUICK | {"prompt": "Lucy buys five blue books on Monday."})
    assert text_of(prompted) == said
    german, said_in_german = chunk(5, "de")
    translated = text_of(shared.transcribe(german, options={"language": "de", "task": "translate"}))
    assert translated and translated != said_in_german
    guess = shared.send(german, op="detect").answer()
    assert guess["language"] == "de" and guess["probability"] > 0.9
    assert set(guess["probabilities"]) <= {"de", "en"}


def test_workers_share_the_weights(folder: Path) -> None:
    with running_host(folder, workers=4) as host:
        for pid in host.grow(4):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            shared = int(re.search(r"^Shared_Dirty: *(\d+) kB", rollup, re.MULTILINE)[1]) * 1024
            assert shared > MODEL.stat().st_size  # the weights, and Python's own heap


def known(status: dict[str, Any]) -> int:
    """Chunks that wait or are worked on."""
    return sum(status["queued"].values()) + sum(not worker["idle"] for worker in status["workers"])


def test_the_live_go_before_jobs_and_each_class_takes_turns(host: HostClient) -> None:
    (pid,) = host.worker_pids()
    hold(pid)
    pcm = chunk()[0][:16_000]
    waiting = {}
    classes = {"x": "live", "y": "live", "p": "interactive"}
    for name in ("x0", "a1", "a2", "a3", "b1", "b2", "p1", "x1", "x2", "y1"):
        urgency = classes.get(name[0], "job")
        waiting[name] = host.send(pcm, keep=4, job=name[0], label=name, urgency=urgency)
        wait_for(lambda: known(host.status()) == len(waiting))
    assert host.status()["queued"] == {"a": 3, "b": 2, "p": 1, "x": 2, "y": 1}
    os.kill(pid, signal.SIGCONT)
    for name in ("x0", "y1", "x1", "x2", "p1", "a1", "b1", "a2", "b2", "a3"):
        wait_for(lambda name=name: host.status()["workers"][0].get("label") == name)
        assert "segments" in waiting[name].answer()


def at_work(host: HostClient) -> dict[str, dict[str, Any]]:
    """What each busy worker does, by label."""
    return {worker["label"]: worker for worker in host.status()["workers"] if "label" in worker}


def test_an_urgent_request_does_not_wait_for_a_worker_to_be_done(host: HostClient) -> None:
    """Another stands aside for it and goes on where it was: never do more compute at once than there are to be."""
    pcm = chunk()[0][:16_000]
    ask = functools.partial(host.send, pcm, keep=4)
    bulk = ask(job="a", label="bulk")
    wait_for(lambda: "bulk" in at_work(host))
    clip, second = (ask(job=f"p{n}", label=f"clip {n}", urgency="interactive") for n in (1, 2))
    found = wait_for(lambda: (w := at_work(host)) and len(w) == 2 and w)
    first = next(name for name in found if name != "bulk")
    assert "paused" in found["bulk"] and "paused" not in found[first]
    stopped = psutil.Process(found["bulk"]["pid"])
    wait_for(lambda: stopped.status() == psutil.STATUS_STOPPED)  # the signal is sent; each thread sees it in its time
    clips = {"clip 1": clip, "clip 2": second}
    other = ask(job="b", label="other")
    assert "segments" in clips.pop(first).answer()
    (name, left), *_ = clips.items()
    wait_for(lambda: name in at_work(host))
    assert "paused" in at_work(host)["bulk"], "it is the next one's turn first"
    assert "segments" in left.answer()
    found = wait_for(lambda: len(w := at_work(host)) == 1 and "paused" not in w["bulk"] and w)
    wait_for(lambda: sum(worker["idle"] for worker in host.status()["workers"]) == 1)
    assert host.status()["queued"] == {"b": 1}, "the worker that is free is one too many"
    assert "segments" in bulk.answer()
    assert "segments" in other.answer()


def test_time_stands_still_for_who_stands_aside() -> None:
    child = subprocess.Popen(["sleep", "60"])
    control, client = socket.socketpair()
    try:
        worker = Worker(WorkerProcess(child.pid), control, request={"urgency": "job"}, started=10.0, deadline=30.0)
        worker.connection = Connection(client, 0.0)
        assert worker.yields
        worker.pause(15.0)
        assert not worker.yields
        worker.go_on(19.0)
        worker.go_on(25.0)
        assert (worker.started, worker.deadline, worker.paused, worker.yields) == (14.0, 34.0, 4.0, True)
        worker.pause(20.0)
        worker.go_on(20.0 + MOST_PAUSED)
        assert not worker.yields, "it has stood aside for long enough"
        worker.request = {"urgency": "interactive"}
        worker.paused = 0.0
        assert not worker.yields
    finally:
        child.kill()
        child.wait()
        control.close()
        client.close()


def test_killed_worker_is_reported_and_replaced(host: HostClient) -> None:
    (pid,) = host.worker_pids()
    hold(pid)
    asked = host.send(chunk()[0], job="j", label="chunk 1/1")
    wait_for(lambda: not host.status()["workers"][0]["idle"])
    os.kill(pid, signal.SIGKILL)
    reply = asked.answer()
    assert reply["code"] == "worker_died" and reply["signal"] == 9
    assert text_of(host.transcribe(chunk()[0])) == chunk()[1]
    assert host.worker_pids() != [pid]


@pytest.mark.parametrize("doing", ["stuck", "receiving", "decoding"])
def test_client_that_hangs_up_frees_its_worker(host: HostClient, doing: str) -> None:
    (pid,) = host.worker_pids()
    hold(pid)
    keep = 4 if doing == "receiving" else 0
    asked = host.send(chunk(minutes=0.45)[0], keep=keep, options={"beam_size": 8})  # more than a second's work
    wait_for(lambda: not host.status()["workers"][0]["idle"])
    queued = host.send(chunk()[0], job="queued")
    wait_for(lambda: host.status()["queued"] == {"queued": 1})
    queued.hang_up()
    if doing != "stuck":
        os.kill(pid, signal.SIGCONT)  # only now, so that it is not done before
        wait_for(lambda: asked.sent)
    if doing == "decoding":
        hold(pid)  # before it is done
    asked.hang_up()
    if doing != "receiving":  # there the worker itself may be the first to notice: then it lives on
        wait_for(lambda: gone(pid))
    assert host.worker_pids() != [pid] or doing == "receiving"
    assert host.status()["done"] == 0 and host.status()["queued"] == {}


def test_deadline_counts_from_the_worker_not_from_the_queue(host: HostClient) -> None:
    (pid,) = host.worker_pids()
    hold(pid)
    start = time.monotonic()
    stuck = host.send(chunk()[0], timeout=3.0)
    wait_for(lambda: not host.status()["workers"][0]["idle"])
    patient = host.send(chunk()[0], timeout=2.9)
    reply = stuck.answer()
    assert reply["code"] == "chunk_timeout" and reply["timeout"] == 3.0
    assert 2.9 < time.monotonic() - start < 10.0
    assert text_of(patient.answer()) == chunk()[1]
    assert gone(pid)


def test_a_chunk_without_a_deadline_gets_one_from_what_was_measured(host: HostClient) -> None:
    def allowed() -> float:
        (pid,) = host.worker_pids()
        hold(pid)
        asked = host.send(chunk()[0][:16_000])
        (worker,) = wait_for(lambda: [worker for worker in host.status()["workers"] if not worker["idle"]])
        os.kill(pid, signal.SIGCONT)
        assert "segments" in asked.answer()
        return float(worker["timeout"])

    first = allowed()
    assert first == WhisperKind.ops["transcribe"].seconds
    assert 20 <= allowed() < first


def test_only_a_worker_that_was_denied_its_core_gets_more_time() -> None:
    assert waited_for_cpu(10, 2, threads=1, runnable=True) == 8
    assert waited_for_cpu(10, 16, threads=2, runnable=True) == 2
    assert waited_for_cpu(10, 2, threads=1, runnable=False) == 0  # stuck
    assert waited_for_cpu(10, 10.1, threads=1, runnable=True) == 0  # merely slow
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            wait_for(lambda: process_cpu(busy.pid)[0] > 0.05 and process_cpu(busy.pid)[1])
            hold(busy.pid)
            wait_for(lambda: not process_cpu(busy.pid)[1])
        finally:
            busy.kill()


def test_workers_are_recycled(folder: Path) -> None:
    with running_host(folder, arguments=("--recycle-after", "2")) as host:
        pids = []
        for _ in range(4):
            pids += host.worker_pids()
            assert text_of(host.transcribe(chunk()[0])) == chunk()[1]
        assert pids[0] == pids[1] != pids[2] == pids[3]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a frame"),
        (PREFIX.pack(struct.unpack("<I", b"PFRM")[0], 1, 1, 1 << 30, 0), "out of bounds"),
        (PREFIX.pack(struct.unpack("<I", b"PFRM")[0], 1, 77, 2, 0), "unknown frame type"),
        (PREFIX.pack(struct.unpack("<I", b"PFRM")[0], 1, 1, 2, 0) + b"{]", "JSON"),
        (pack(FrameType.REQUEST, {"op": "explode"}), "unknown request"),
        (pack(FrameType.REQUEST, {"op": "transcribe", "timeout": -1}), "timeout"),
        (
            pack(FrameType.REQUEST, {"op": "transcribe", "urgency": "now"}),
            "urgency must be one of live, interactive, job",
        ),
    ],
)
def test_malformed_requests_are_refused(shared: HostClient, data: bytes, words: str) -> None:
    reply = Asked(shared.connect(), data).answer()
    assert reply["code"] == "bad_request" and words in reply["message"]


def test_slow_clients_hold_up_nobody(shared: HostClient) -> None:
    mute = [shared.connect() for _ in range(20)]
    half = shared.connect()
    half.sendall(pack(FrameType.REQUEST, {"op": "transcribe", "job": "half"}, 64_000) + b"\0" * 1000)  # and no more
    try:
        assert text_of(shared.transcribe(chunk()[0])) == chunk()[1]
    finally:
        for sock in (*mute, half):
            sock.close()
    shared.worker_pids()


def test_a_worker_inherits_nobody_elses_connections(shared: HostClient) -> None:
    others = [shared.connect() for _ in range(10)]
    old = shared.grow(2)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    new = wait_for(lambda: next((p for p in shared.worker_pids() if p not in old), None))
    assert psutil.Process(new).num_fds() == 4  # stdin, stdout, stderr, its control socket
    for sock in others:
        sock.close()


def test_terminate_ends_all_at_once(folder: Path) -> None:
    with running_host(folder, workers=2) as host:
        pids = host.grow(2)
        hold(pids[0])
        hold(pids[1])
        asked = host.send(chunk()[0])
        host.process.terminate()
        assert host.process.wait(5) == 0
        wait_for(lambda: all(map(gone, pids)))
        with pytest.raises((EOFError, ConnectionError)):
            asked.answer()


def test_killed_host_leaves_no_worker(folder: Path) -> None:
    with running_host(folder, workers=2) as host:
        pids = host.grow(2)
        hold(pids[0])
        host.process.kill()
        wait_for(lambda: all(map(gone, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults in /proc")
def test_short_chunks_find_the_pages_of_the_last_one(host: HostClient) -> None:
    (pid,) = host.worker_pids()

    def faults(options: dict[str, object]) -> int:
        before = page_faults(pid)
        host.transcribe(chunk()[0], options=options | {"language": "en"})
        return page_faults(pid) - before

    new = min(faults({}) for _ in range(3))
    kept = min(faults({"fit_context": True}) for _ in range(6))  # the first few still need some
    assert kept < new / 4
    wait_for(lambda: psutil.Process(pid).memory_full_info().uss < 16 * 1024**2)  # idle: given back
    host.transcribe(chunk()[0], options={"language": "en", "fit_context": True})
    assert faults({}) > new / 2  # a full one does not keep what a short one before it did


def page_faults(pid: int) -> int:
    """Pages that a process has been given so far."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_titles_tell_what_runs(host: HostClient) -> None:
    (pid,) = host.worker_pids()
    assert psutil.Process(host.process.pid).cmdline()[0] == "parascribe whisper host ggml-demo.bin"
    asked = host.send(chunk(minutes=0.45)[0], keep=4, job="0198f3c2", label="chunk 3/60\n\0")
    wait_for(lambda: psutil.Process(pid).cmdline()[0] == "parascribe whisper worker 0198f3c2 chunk 3/60??")
    asked.answer()
    wait_for(lambda: psutil.Process(pid).cmdline()[0] == "parascribe whisper worker idle")


def test_frames_are_not_merged_with_descriptors() -> None:
    """The hand-over relies on it: bytes sent with a descriptor are never read together with earlier ones."""
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as file:
        socket.send_fds(ours, [b"\0abc"], [file.fileno()])
        data, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
        assert data == b"\0" and len(descriptors) == 1 and theirs.recv(10) == b"abc"
        os.close(descriptors[0])
