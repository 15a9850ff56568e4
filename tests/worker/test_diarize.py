"""Speakers beside the transcription: never at the cost of a word, and never twice."""

from __future__ import annotations

import io
import threading
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import Cancelled, EngineUnavailable, HandedBack
from core.jobs.job import Job, Phase
from core.jobs.tasks import TRANSCRIBE, TaskState
from core.transcript.formats import from_result
from core.transcript.values import Transcript
from tests.worker.kit import Kit
from whisper.engine.host_diarizer import TurnsDiarizer
from whisper.engine.scripted import Rule
from whisper.speakers import pipeline
from whisper.speakers.frames import Classes
from whisper.speakers.scripted import ScriptedNetworks
from worker.stages import diarize
from worker.stages.diarize import DIARIZE


@pytest.fixture(scope="session")
def talk() -> bytes:
    """40 s: two tones take turns, each for 9 s, with a second of silence behind."""
    t = np.arange(9 * SAMPLE_RATE) / SAMPLE_RATE
    rng = np.random.default_rng(1)
    parts: list[Pcm] = []
    for hertz in (200, 900, 200, 900):
        tone = 3000 * np.sin(2 * np.pi * hertz * t) + rng.normal(0, 20, len(t))  # noise: each second is another word
        parts += [tone.astype(np.int16), np.zeros(SAMPLE_RATE, np.int16)]
    return recording(np.concatenate(parts))


def recording(pcm: Pcm) -> bytes:
    """As a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())
    return out.getvalue()


class Acting(ScriptedNetworks):
    """Does something before each window; counts them, and keeps what it was asked."""

    def __init__(self, act: Callable[[int], object] = lambda _: None) -> None:
        self.asked, self._act = 0, act
        self.windows: list[bytes] = []
        self.pieces: list[bytes] = []

    def classes(self, window: Pcm) -> Classes:
        self.asked += 1
        self._act(self.asked)
        self.windows.append(window.tobytes())
        return super().classes(window)

    def voice(self, piece: Pcm) -> NDArray[np.float32]:
        self._act(-len(self.pieces))
        self.pieces.append(piece.tobytes())
        return super().voice(piece)


def dies(at: int) -> Callable[[int], object]:
    """The process is told to end while it works on the call of that number."""

    def act(asked: int) -> None:
        if asked == at:
            raise HandedBack

    return act


def kit(folder: Path, networks: ScriptedNetworks, *rules: Rule, width: int = 2, **settings: Any) -> Kit:
    made = Kit(folder, *rules, chunk_strategy="fixed", **settings)
    made.parts = replace(made.parts, diarizer=TurnsDiarizer(lambda call, quiet: networks, width=width))
    return made


def transcript(made: Kit, job: Job) -> Transcript:
    return from_result(made.result(job))


def test_segments_and_words_say_whose_they_are(tmp_path: Path, talk: bytes) -> None:
    made = kit(tmp_path, Acting())
    job, plain = made.submit(talk, diarize=True), made.submit(talk, word_timestamps=True)
    assert (made.run(), made.run()) == ("completed", "completed")
    found, without = transcript(made, job), transcript(made, plain)
    assert found.text == without.text and without.speakers is None
    assert [one.id for one in found.speakers or ()] == ["SPEAKER_00", "SPEAKER_01"]
    for segment in found.segments:
        spoken = [max(0.0, min(10 * n + 9, segment.end) - max(10 * n, segment.start)) for n in range(4)]
        assert segment.speaker == f"SPEAKER_0{spoken.index(max(spoken)) % 2}" and segment.speaker_confidence
    assert not found.word_timestamps, "nobody asked for them"
    assert made.store.tasks(plain.id, DIARIZE) == []


def test_its_failure_costs_a_warning_and_no_word(tmp_path: Path, talk: bytes) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("broken")

    made = kit(tmp_path, Acting(fail))
    job, plain = made.submit(talk, diarize=True), made.submit(talk)
    assert (made.run(), made.run()) == ("completed", "completed")
    found = transcript(made, job)
    assert found.text == transcript(made, plain).text and found.speakers is None
    assert [w["code"] for w in made.store.get(job.id).warnings] == ["diarize_failed"]
    assert made.store.tasks(job.id, DIARIZE)[0].state is TaskState.FAILED


def test_networks_that_are_away_for_a_moment_cost_nothing(
    tmp_path: Path, talk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(asked: int) -> None:
        if asked == 9:
            raise EngineUnavailable

    monkeypatch.setattr(pipeline, "BLOCK", 3)
    networks = Acting(away)
    made = kit(tmp_path, networks)
    job = made.submit(talk, diarize=True)
    assert made.run() == "completed"
    assert len(transcript(made, job).speakers or ()) == 2 and not made.store.get(job.id).warnings
    assert networks.asked <= 14 + 1 + 3, "what was known before is not asked again, but for a block at most"


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, talk: bytes) -> None:
    networks = Acting()
    made = kit(tmp_path, networks, Rule(kind="timeout", label="chunk 2/*"), chunk_fail_share=0.0)
    job = made.submit(talk, diarize=True)
    assert made.run() == "failed chunk_timeout"
    asked = networks.asked
    assert asked and made.store.tasks(job.id, DIARIZE)[0].state is TaskState.DONE
    made.script()
    again = made.submit(talk, diarize=True, retry_of=job.id)
    assert made.run() == "completed"
    assert networks.asked == asked and len(transcript(made, again).speakers or ()) == 2


@pytest.mark.parametrize("beside", [True, False])
def test_beside_the_words_or_behind_them(tmp_path: Path, talk: bytes, beside: bool) -> None:
    done: list[int] = []
    networks = Acting(lambda _: done.append(made.call_log.read_text().count("\n") if made.call_log.exists() else 0))
    made = kit(tmp_path, networks, diarize_beside=beside)
    quiet: list[bool] = []

    def watched(call: Any, is_quiet: Callable[[], bool]) -> ScriptedNetworks:
        quiet.append(is_quiet())
        return networks

    made.parts = replace(made.parts, diarizer=TurnsDiarizer(watched, width=2))
    job = made.submit(talk, diarize=True)
    assert made.run() == "completed"
    chunks = len(made.store.tasks(job.id, TRANSCRIBE))
    assert quiet == [beside], "beside the words it has only what they leave"
    assert beside or min(done) >= chunks


def test_cancel_ends_it(tmp_path: Path, talk: bytes) -> None:
    begun = threading.Event()
    made = kit(tmp_path, Acting(lambda _: begun.set()))
    networks = made.parts.diarizer

    class Endless:
        version = networks.version

        def diarize(self, audio: Any, bounds: Any, call: Any, **more: Any) -> Any:
            while True:
                networks.diarize(audio, bounds, call, **more)

    made.parts = replace(made.parts, diarizer=Endless())
    job = made.submit(talk, diarize=True)
    threading.Thread(target=lambda: begun.wait(20) and made.cancel(job), daemon=True).start()
    assert made.run() == "cancelled"


@pytest.mark.parametrize(("exact", "found"), [(1, 0), (2, 2), (3, 3)])
def test_the_number_of_speakers_is_a_hint(tmp_path: Path, talk: bytes, exact: int, found: int) -> None:
    made = kit(tmp_path, Acting())
    job = made.submit(talk, diarize=True, num_speakers=exact)
    assert made.run() == "completed"
    assert len(transcript(made, job).speakers or ()) == found


@pytest.mark.parametrize(("phase", "at"), [("windows", 8), ("pieces", 7)])
def test_whoever_goes_on_asks_for_nothing_twice(
    tmp_path: Path, talk: bytes, monkeypatch: pytest.MonkeyPatch, phase: str, at: int
) -> None:
    monkeypatch.setattr(pipeline, "BLOCK", 3)
    calm = Acting()
    undisturbed = kit(tmp_path / "calm", calm, width=1)
    expected = undisturbed.submit(talk, diarize=True)
    assert undisturbed.run() == "completed"
    assert len(set(calm.windows)) == len(calm.windows) == 14 and len(calm.pieces) >= 12

    networks = Acting(dies(at if phase == "windows" else -at))
    made = kit(tmp_path, networks, width=1)
    job = made.submit(talk, diarize=True)
    assert made.run().startswith("handed back")
    stored = made.objects.keys(f"jobs/{job.id}/checkpoint.")
    before = {"windows": networks.windows, "pieces": networks.pieces}[phase].copy()
    assert len(list(stored)) == (at - 1) // 3 + (4 if phase == "pieces" else 0)
    networks.windows.clear()
    networks.pieces.clear()
    networks._act = lambda _: None
    assert made.run() == "completed"
    after = {"windows": networks.windows, "pieces": networks.pieces}[phase]
    finished = (at - 1) // 3 * 3
    assert not set(before[:finished]) & set(after), "a finished block is never computed again"
    assert before[:finished] + after == {"windows": calm.windows, "pieces": calm.pieces}[phase]
    assert phase == "windows" or len(networks.windows) == 2, "the last block was not full"
    assert transcript(made, job).segments == transcript(undisturbed, expected).segments
    assert not list(made.objects.keys(f"jobs/{job.id}/checkpoint.")), "they go with the job's end"


def test_a_retry_goes_on_from_where_the_failed_job_was(
    tmp_path: Path, talk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BLOCK", 3)

    def cancel(asked: int) -> None:
        if asked == 11:
            made.cancel(job)
            raise Cancelled

    networks = Acting(cancel)
    made = kit(tmp_path, networks, width=1)
    job = made.submit(talk, diarize=True)
    assert made.run() == "cancelled"
    before, networks._act = networks.windows[:9].copy(), lambda _: None
    networks.windows.clear()
    again = made.submit(talk, diarize=True, retry_of=job.id)
    assert made.run() == "completed"
    assert not set(before) & set(networks.windows) and len(transcript(made, again).speakers or ()) == 2


@pytest.mark.parametrize("torn", [b"", b"PK\3\4 nothing", b"\0" * 5000])
def test_a_torn_checkpoint_costs_work_alone(
    tmp_path: Path, talk: bytes, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    monkeypatch.setattr(pipeline, "BLOCK", 3)
    networks = Acting(dies(8))
    made = kit(tmp_path, networks)
    job = made.submit(talk, diarize=True)
    assert made.run().startswith("handed back")
    for key in list(made.objects.keys(f"jobs/{job.id}/checkpoint.")):
        made.objects.put(key, io.BytesIO(torn))
    networks.windows.clear()
    networks._act = lambda _: None
    assert made.run() == "completed"
    assert len(networks.windows) == 14 and len(transcript(made, job).speakers or ()) == 2
    assert not made.store.get(job.id).warnings


def test_users_see_how_far_it_is_once_the_words_are_there(
    tmp_path: Path, talk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diarize, "WRITE_SECONDS", 0.0)
    seen: list[Job] = []
    made = kit(tmp_path, Acting(lambda _: seen.append(made.job(job))), width=1, diarize_beside=False)
    job = made.submit(talk, diarize=True)
    assert made.run() == "completed"
    alone = [one for one in seen if one.stage is Phase.DIARIZING]
    shown = [one.stage_percent or 0.0 for one in alone]
    assert shown == sorted(shown) and len(set(shown)) >= 3
    whole = [one.percent for one in alone]
    assert whole == sorted(whole) and 90 <= whole[0] < whole[-1] <= 99
    assert alone[-1].eta_seconds is not None
