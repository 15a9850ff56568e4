"""Decode and plan beside each other: the pause after the first chunks of a long file, and all that ends it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from core.audio.decoder import DecodedAudio
from core.errors import AudioUndecodable, Interrupted
from core.jobs.tasks import TRANSCRIBE, Task
from testbed import audio_bank
from tests.worker.kit import Kit, soon
from whisper.engine.scripted import Rule
from worker.context.growing_plan import GrowingPlan
from worker.context.recording import Recording

MINUTES = 12.0


@pytest.fixture(scope="module")
def long_talk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pcm, _ = audio_bank.speech(MINUTES, seed=5)
    return audio_bank.write(tmp_path_factory.mktemp("long") / "long.mp3", pcm).read_bytes()


def test_a_long_file_is_not_decoded_ahead_of_its_first_chunks(tmp_path: Path, long_talk: bytes) -> None:
    """Nor does the pause outlast a cancel."""
    kit = Kit(tmp_path, Rule(kind="hang"), chunk_strategy="silence", chunk_seconds=5)
    job = kit.submit(long_talk, language="en")
    seen: list[int] = []

    def look() -> None:
        soon(lambda: len(kit.chunks(job)) >= 3)
        time.sleep(1.5)  # without the pause the whole file takes about as long
        seen.append(len(kit.chunks(job)))
        kit.cancel(job)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    assert kit.run() == "cancelled"
    thread.join(10)
    assert seen[0] < 60 * MINUTES / 5 / 2 and kit.job(job).chunks_total is None


def test_the_rest_comes_when_the_first_chunks_are_done(tmp_path: Path, long_talk: bytes) -> None:
    kit = Kit(tmp_path, chunk_strategy="silence", chunk_seconds=5)
    job = kit.submit(long_talk, language="en")
    assert kit.run() == "completed"
    done = kit.job(job)
    assert done.duration == pytest.approx(60 * MINUTES, abs=0.2)
    assert done.chunks_total == done.chunks_done == len(kit.chunks(job)) > 60 * MINUTES / 5


def test_who_waits_for_more_ends_the_pause(tmp_path: Path) -> None:
    """The language vote may want more windows than the pause lets through."""
    stop = threading.Event()
    recording = Recording(tmp_path / "pcm", head=2, cancel=stop)
    plan = GrowingPlan([], complete=False, cancel=stop, on_wait=lambda: recording.want_more(beyond=6))

    def planner() -> None:
        for n in range(6):
            plan.add([Task(stage=TRANSCRIBE, number=n)])
            recording.planned += 1
            recording.pause()
        plan.close()

    thread = threading.Thread(target=planner)
    thread.start()
    began = time.monotonic()
    assert [task.number for task in plan.open_tasks()] == list(range(6))
    thread.join()
    assert time.monotonic() - began < 5.0, "the pause would take 10 s"


def test_who_waits_for_samples_gets_the_decoders_error_or_hears_of_a_stop(tmp_path: Path) -> None:
    stop = threading.Event()
    recording = Recording(tmp_path / "pcm", head=0, cancel=stop)
    recording.grow(100)
    recording.wait(100)
    threading.Timer(0.05, lambda: recording.fail(AudioUndecodable())).start()
    with pytest.raises(AudioUndecodable):
        recording.wait(101)
    recording.wait(50)  # what is there is there
    other = Recording(tmp_path / "pcm", head=0, cancel=stop)
    stop.set()
    with pytest.raises(Interrupted):
        other.wait(1)
    other.finish(DecodedAudio(samples=0, warnings=()))
    other.wait(1)
