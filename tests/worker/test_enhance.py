"""Cleaned sound: who listens to it, that it moves nothing, and that what fails there costs no word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import ChunkFailed, EngineUnavailable
from core.jobs.job import Job
from core.speech.chunks import Chunk
from testbed import audio_bank
from testbed.faults.waiting import wait_for
from tests.worker.kit import Kit
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.enhance.blocks import STEP
from whisper.enhance.scripted import ScriptedEnhancer
from whisper.types import Call, ChunkTranscript, TranscribeOptions

HISS = 100
"""Loudest sample of the noise; the scripted enhancer makes zeros of it."""


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pcm, bytes]:
    """35 s: a tone of 2 s, hiss for as long, and so on."""
    t = np.arange(35 * SAMPLE_RATE)
    tone = 3000 * np.sin(2 * np.pi * 220 * t / SAMPLE_RATE) * (t // (2 * SAMPLE_RATE) % 2 == 0)
    pcm = (tone + np.random.default_rng(1).integers(-HISS, HISS + 1, len(t))).astype(np.int16)
    return pcm, audio_bank.write(tmp_path_factory.mktemp("sound") / "talk.wav", pcm).read_bytes()


class Listening(ScriptedEngine):
    """Keeps what it was given; as sure of itself as `sure` says."""

    def __init__(self, sure: Callable[[Pcm], float], **more: Any) -> None:
        super().__init__(**more)
        self.heard: list[Pcm] = []
        self._sure = sure

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        self.heard.append(pcm)
        said = super().transcribe(model, pcm, options, call)
        return replace(said, segments=tuple(replace(one, avg_logprob=self._sure(pcm)) for one in said.segments))


def hissing(pcm: Pcm) -> bool:
    """Whether there is noise between its tones; what is left of it around them is shorter than half a frame."""
    frames = np.abs(pcm[: len(pcm) // 800 * 800].astype(int)).reshape(-1, 800)
    return bool(np.any((frames.max(axis=1) <= HISS) & ((frames != 0).mean(axis=1) > 0.5)))


class Detector:
    """A detector of speech that keeps what it hears."""

    def __init__(self, heard: list[Pcm]) -> None:
        self._heard = heard

    def feed(self, pcm: Pcm) -> Any:
        self._heard.append(pcm)
        return (np.abs(pcm[: len(pcm) // 512 * 512].astype(int)).reshape(-1, 512).max(axis=1) > 1000).astype(np.float32)


class Diarizer:
    version = "1"

    def __init__(self, heard: list[Pcm]) -> None:
        self._heard = heard

    def diarize(self, audio: Any, bounds: Any, call: Call, **more: Any) -> Any:
        self._heard.append(audio.read(0, audio.length(35 * SAMPLE_RATE)))
        raise ChunkFailed("heard enough")


def kit(folder: Path, enhancer: Any, *rules: Rule, sure: Callable[[Pcm], float] = lambda _: -0.3, **more: Any) -> Kit:
    made = Kit(folder, *rules, **more)
    made.parts = replace(made.parts, enhancer=enhancer, vad=lambda: Detector([]))
    listen(made, *rules, sure=sure)
    return made


def listen(made: Kit, *rules: Rule, sure: Callable[[Pcm], float] = lambda _: -0.3) -> None:
    """From now on."""
    engine = Listening(sure, rules=rules, call_log=made.call_log)
    made.parts = replace(made.parts, transcriber=WhisperTranscriber(engine, made.parts.transcriber.downloader))


def heard(made: Kit) -> list[Pcm]:
    engine = made.parts.transcriber.engine
    assert isinstance(engine, Listening)
    return engine.heard


def warnings(made: Kit, job: Job) -> list[str]:
    return [warning["code"] for warning in made.store.get(job.id).warnings]


def whole(blocks: Sequence[Pcm]) -> Pcm:
    return np.concatenate([*blocks, np.empty(0, np.int16)])


@pytest.mark.parametrize(("listeners", "words"), [("all", {False}), ("speakers", {True}), ("both", {True, False})])
def test_who_listens_to_cleaned_sound(
    tmp_path: Path, sound: tuple[Pcm, bytes], listeners: str, words: set[bool]
) -> None:
    pcm, data = sound
    searched: list[Pcm] = []
    told_apart: list[Pcm] = []
    made = kit(tmp_path, ScriptedEnhancer())
    made.parts = replace(made.parts, vad=lambda: Detector(searched), diarizer=Diarizer(told_apart))
    job = made.submit(data, enhance="denoise", enhance_for=listeners, diarize=True)
    assert made.run() == "completed"
    assert warnings(made, job) == ["diarize_failed"]
    assert {hissing(one) for one in heard(made)} == words
    loud = np.abs(pcm.astype(int)) > HISS + 20
    for found in (whole(searched)[: len(pcm)], *told_apart):  # what looks for speech is given whole frames
        assert len(found) == len(pcm) and not hissing(found)
        assert np.array_equal(found[loud], pcm[loud]), "each sample is where it was"


@pytest.mark.parametrize("listeners", ["all", "speakers", "both"])
def test_without_it_nothing_is_cleaned(tmp_path: Path, sound: tuple[Pcm, bytes], listeners: str) -> None:
    enhancer = ScriptedEnhancer()
    made = kit(tmp_path, enhancer)
    job = made.submit(sound[1], enhance_for=listeners)  # as JOB_DEFAULTS may say
    assert made.run() == "completed" and not enhancer.asked
    assert "enhance" not in made.result(job)["performance"]


@pytest.mark.parametrize("surer", ["cleaned", "as_recorded", "neither"])
def test_both_keeps_the_surer_text(tmp_path: Path, sound: tuple[Pcm, bytes], surer: str) -> None:
    def sure(pcm: Pcm) -> float:
        return -0.5 if surer == "neither" or hissing(pcm) == (surer == "cleaned") else -0.1

    made = kit(tmp_path, ScriptedEnhancer(), sure=sure)
    job = made.submit(sound[1], enhance="denoise", enhance_for="both")
    assert made.run() == "completed" and warnings(made, job) == []
    found = made.result(job)
    kept = found["performance"]["enhance"]
    chunks = len(made.chunks(job))
    assert chunks > 2 and kept == {
        name: chunks * (name == (surer if surer != "neither" else "as_recorded")) for name in kept
    }
    assert {segment["avg_logprob"] for segment in found["segments"]} == {-0.5 if surer == "neither" else -0.1}


def test_a_consumer_that_cannot_clean_says_so(tmp_path: Path, sound: tuple[Pcm, bytes]) -> None:
    made, plain = kit(tmp_path / "a", None), kit(tmp_path / "b", None)
    job, other = made.submit(sound[1], enhance="denoise"), plain.submit(sound[1])
    assert (made.run(), plain.run()) == ("completed", "completed")
    assert warnings(made, job) == ["enhance_failed"]
    assert made.result(job)["segments"] == plain.result(other)["segments"]


@pytest.mark.parametrize(("broken", "asked"), [({1}, 4), ({1, 2, 3, 4}, 2)])
def test_what_cannot_be_cleaned_is_taken_as_it_is(
    tmp_path: Path, sound: tuple[Pcm, bytes], broken: set[int], asked: int
) -> None:
    def act(number: int) -> None:
        if number in broken:
            raise ChunkFailed("The engine: it died") if number % 2 else ValueError("its own")

    searched: list[Pcm] = []
    enhancer = ScriptedEnhancer(act)
    made = kit(tmp_path, enhancer)
    made.parts = replace(
        made.parts, vad=lambda: Detector(searched), plan=replace(made.parts.plan, workers=1)
    )  # one block after the other
    job = made.submit(sound[1], enhance="denoise")
    assert made.run() == "completed"
    assert warnings(made, job) == ["enhance_failed"] and enhancer.asked == asked
    found = whole(searched)
    assert [hissing(found[start + 800 : start + STEP]) for start in range(0, len(found), STEP)] == [
        n + 1 in broken for n in range(4)
    ]


def test_what_is_away_for_a_moment_costs_nothing(tmp_path: Path, sound: tuple[Pcm, bytes]) -> None:
    def act(number: int) -> None:
        if number == 2:
            raise EngineUnavailable

    made = kit(tmp_path, ScriptedEnhancer(act))
    job = made.submit(sound[1], enhance="denoise")
    assert made.run() == "completed" and warnings(made, job) == []
    assert not any(map(hissing, heard(made)))


def test_cancel_ends_it(tmp_path: Path, sound: tuple[Pcm, bytes]) -> None:
    begun, never = threading.Event(), threading.Event()

    class Endless(ScriptedEnhancer):
        def clean(self, pcm: Pcm, call: Call) -> Any:
            begun.set()
            while True:
                super().clean(pcm, call)
                never.wait(0.01)

    made = kit(tmp_path, Endless())
    job = made.submit(sound[1], enhance="denoise")
    threading.Thread(target=lambda: begun.wait(20) and made.cancel(job), daemon=True).start()
    assert made.run() == "cancelled"


def test_who_goes_on_cleans_only_what_is_still_needed(tmp_path: Path, sound: tuple[Pcm, bytes]) -> None:
    enhancer, lost = ScriptedEnhancer(), list[int]()

    def sure(pcm: Pcm) -> float:
        if len(heard(made)) >= 3 and heard(made)[2] is pcm and not lost:
            wait_for(lambda: made.chunks_done(job) >= 2 and made.job(job).chunks_total is not None)
            chunk = next(chunk for chunk in made.chunks(job) if not chunk.ended)
            lost.append(Chunk.from_dict(chunk.plan or {}).regions[0].start // STEP)
            raise EngineUnavailable
        return -0.1

    made = kit(tmp_path, enhancer, sure=sure)
    job = made.submit(sound[1], enhance="denoise")
    assert made.run() == "completed"
    assert enhancer.asked == 4 + 4 - lost[0], "blocks from the one with the open chunk on"
    assert len(heard(made)) == 4 and not any(map(hissing, heard(made)))


def test_a_retry_takes_over_nothing_that_was_made_of_other_sound(tmp_path: Path, sound: tuple[Pcm, bytes]) -> None:
    broken = [True]

    def act(_: int) -> None:
        if broken[0]:
            raise ChunkFailed("The engine: it died")

    made = kit(tmp_path, ScriptedEnhancer(act), Rule(kind="timeout", label="chunk 3/*"), chunk_fail_share=0.0)
    job = made.submit(sound[1], enhance="denoise")
    assert made.run() == "failed chunk_timeout" and sum(chunk.ended for chunk in made.chunks(job)) == 3
    broken[0] = False
    listen(made)
    again = made.submit(sound[1], enhance="denoise", retry_of=job.id)
    assert made.run() == "completed" and warnings(made, again) == []
    assert len(heard(made)) == 3 and not any(map(hissing, heard(made)))
