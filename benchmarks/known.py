"""Known voices: how alike samples are to the voices of conversations, of the same person and of others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.conversations import Floats, Style, conversation, readers
from benchmarks.harness import Bench, CannotRun
from benchmarks.recordings import MissingRecordings, shared
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE, Pcm
from whisper import SPEAKER_MODELS
from whisper.speakers.diarizer import Diarization, WholeAudio
from whisper.speakers.known import MATCH
from whisper.speakers.networks import OnnxNetworks
from whisper.speakers.pipeline import TurnPipeline

STYLES = (Style(), Style(short=True), Style(short=True, room=True))
LENGTHS = {2: 8, 5: 6, 10: 4}
"""Seconds of a sample, and how many of each person."""
OTHERS = 3
"""Samples of each person who is in none of the conversations."""
NOBODY = ("test-other/", "ami/", "noise/", "faster-whisper/")
"""Recordings of these very people, of several at once, of none."""

Vector = NDArray[np.float64]


def run(bench: Bench) -> None:
    try:
        known, others = readers(noisy=True), strangers(3 if bench.smoke else None)
    except MissingRecordings as error:
        raise CannotRun(str(error)) from error
    pipeline = TurnPipeline(OnnxNetworks(*SPEAKER_MODELS))
    same: dict[int, list[float]] = {seconds: [] for seconds in LENGTHS}
    different: dict[int, list[float]] = {seconds: [] for seconds in LENGTHS}
    split = 0
    for half in (0,) if bench.smoke else (0, 1):
        talking = {name: clips[half::2] for name, clips in known.items()}
        voices: list[tuple[Vector, str]] = []
        for n, style in enumerate(STYLES[:1] if bench.smoke else STYLES):
            seconds = bench.pick(smoke=40.0, bench=240.0, full=240.0)
            made = conversation(len(talking), seconds, style, seed=14 + 10 * half + n, people=talking)
            found, twice = _named(pipeline.diarize(WholeAudio(made.pcm)), made.turns)
            voices, split = voices + found, split + twice
        samples: dict[str, Floats] = {}
        for name, clips in known.items():
            samples[name] = np.concatenate([clip.samples for clip in clips[1 - half :: 2]])
        for seconds, most in LENGTHS.items():
            if bench.smoke and seconds != 5:
                continue
            for name, whole in (samples | others).items():
                for part in _parts(whole, seconds, 1 if bench.smoke else most if name in samples else OTHERS):
                    sample = pipeline.diarize(WholeAudio(part)).voices
                    for voice, who in voices if len(sample) else ():
                        (same if who == name else different)[seconds].append(float(voice @ sample[0]))
            bench.say(
                f"half {half}, {seconds} s: {len(same[seconds])} of the same, {len(different[seconds])} of others"
            )
    figures = bench.result.figures
    for seconds in (seconds for seconds in LENGTHS if same[seconds]):
        ours, theirs = np.array(same[seconds]), np.array(different[seconds])
        figures += [
            Figure(name=f"{seconds} s: the same person, pairs", value=len(ours)),
            Figure(name=f"{seconds} s: the same person, least alike", value=ours.min()),
            Figure(name=f"{seconds} s: the same person, median", value=float(np.median(ours))),
            Figure(name=f"{seconds} s: others, pairs", value=len(theirs)),
            Figure(name=f"{seconds} s: others, median", value=float(np.median(theirs))),
            Figure(name=f"{seconds} s: others, most alike", value=theirs.max()),
        ]
        for threshold in (0.40, 0.45, MATCH, 0.60):
            missed, mistaken = 100 * (ours < threshold).mean(), 100 * (theirs >= threshold).mean()
            figures.append(Figure(name=f"{seconds} s: missed at {threshold:.2f}", value=missed, unit="%"))
            figures.append(Figure(name=f"{seconds} s: mistaken at {threshold:.2f}", value=mistaken, unit="%"))
    figures.append(Figure(name="further voices of somebody who was found", value=split))


def strangers(most: int | None) -> dict[str, Floats]:
    """Recordings of single other people; at most so many."""
    clips = [clip for clip in shared() if not clip.name.startswith(NOBODY)]
    return {clip.name: (clip.samples() / 32768).astype(np.float32) for clip in clips[:most]}


def _named(found: Diarization, turns: tuple[tuple[float, float, str], ...]) -> tuple[list[tuple[Vector, str]], int]:
    """Each reader's voice, which is the one that has most of their speech; and how many voices more were found of them."""
    spoken: list[dict[str, float]] = [{} for _ in found.voices]
    for turn in found.turns:
        for start, end, who in turns:
            if (seconds := min(end, turn.end) - max(start, turn.start)) > 0:
                spoken[turn.voice][who] = spoken[turn.voice].get(who, 0.0) + seconds
    best: dict[str, tuple[float, int]] = {}
    voices = [(max(said, key=lambda who: said[who]), n) for n, said in enumerate(spoken) if said]
    for who, n in voices:
        best[who] = max(best.get(who, (0.0, n)), (spoken[n][who], n))
    return [(found.voices[n].astype(np.float64), who) for who, (_, n) in best.items()], len(voices) - len(best)


def _parts(whole: Floats, seconds: int, most: int) -> Iterator[Pcm]:
    length = seconds * SAMPLE_RATE
    for start in range(0, min(most, len(whole) // length) * length, length):
        yield (np.clip(whole[start : start + length], -1, 1) * 32767).astype(np.int16)
