from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np

from core.errors import ChunkFailed
from whisper import DEMO_MODEL
from whisper.engine.scripted import Rule, ScriptedEngine
from whisper.types import Call, TranscribeOptions

MODEL = str(DEMO_MODEL)
EN = TranscribeOptions(language="en", word_timestamps=True)


def test_one_word_per_audible_second_and_phrases_between_silences() -> None:
    pcm = np.zeros(7 * 16_000, np.int16)
    pcm[16_000 : 3 * 16_000] = 1000
    pcm[5 * 16_000 : 6 * 16_000] = -2000
    said = ScriptedEngine().transcribe(MODEL, pcm, EN)
    assert [(s.start, s.end, len(s.words)) for s in said.segments] == [(1.0, 3.0, 2), (5.0, 6.0, 1)]
    assert said.segments[0].words[0].word == said.segments[0].words[1].word, "the same samples, the same word"
    assert said.segments[0].words[0].word != said.segments[1].words[0].word


def test_a_script_goes_on_in_the_next_process(tmp_path: Path) -> None:
    """A rule for the first call kills a process; its successor's call is the second."""
    rules = [Rule(kind="kill", label="chunk 2/*", calls=(1,)), Rule(kind="crash", label="chunk 2/*", calls=(2,))]
    engine = ScriptedEngine(rules=rules, call_log=tmp_path / "calls")
    pcm = np.full(16_000, 500, np.int16)

    def run() -> None:
        engine.transcribe(MODEL, pcm, EN, Call(label="chunk 1/2"))
        try:
            engine.transcribe(MODEL, pcm, EN, Call(label="chunk 2/2"))
        except ChunkFailed:
            os._exit(7)

    fork = multiprocessing.get_context("fork")
    ends = []
    for _ in range(3):
        process = fork.Process(target=run)
        process.start()
        process.join(10)
        ends.append(process.exitcode)
    assert ends == [-signal.SIGKILL, 7, 0]
    assert len((tmp_path / "calls").read_text().splitlines()) == 6
