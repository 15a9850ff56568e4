"""When each word is said: starts and ends with `align` and with `word_timestamps` alone, on times that are known; its cost.

What is known: times by PocketSphinx (in ../shared/real; left out where the extra `align-english` is installed), single words of
real people with pauses between them (the recordings of digits in ../shared/bank_digits), and where real clips begin and end
that stand between silences. The rules were chosen on joins of the same recordings, see docs/explanation/alignment.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from benchmarks import official, watch
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.official import MissingModel
from benchmarks.recordings import SHARED, Clip, MissingRecordings, shared
from benchmarks.report import Figure
from benchmarks.words import align, plain
from core.audio.samples import SAMPLE_RATE
from worker.stages.words import english

DIGITS = SHARED.parent / "bank_digits"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LOUD_DB, FRAME = (20.0, 25.0, 30.0), SAMPLE_RATE // 200
"""Speech begins and ends with the first and last 5 ms of a recording that are within so many dB of its loud ones..."""
AGREED, MARGIN = 0.03, 0.05
"""...if it is quiet before and behind for so many seconds, and the three say the same within so many: else nobody knows."""
LENGTH, PAUSES, DIGIT_PAUSES = 28.0, (0.3, 1.5), (0.1, 0.9)
"""Seconds of each file that is put together, and of silence between clips and between digits."""
MODELS = ("base", "tiny.en")
MEDIAN, MOST, SHARE = 40.0, 120.0, 90.0
"""Goals: milliseconds that half of all edges are off at most, and those that so many per cent are."""

Known = tuple[str, float | None, float | None]
"""A word, its start and its end in seconds; None where nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A file of one set, and what is said in it."""

    kind: str
    pcm: Pcm
    words: Sequence[Known]


@dataclass(frozen=True, kw_only=True)
class Off:
    """Milliseconds that starts and ends are off."""

    starts: Sequence[float]
    ends: Sequence[float]


def run(bench: Bench) -> None:
    try:
        files = list(_sentences(bench)) if bench.smoke else list(material())
        for size in ("demo",) if bench.smoke else MODELS:
            _measure(bench, size, files)
    except (MissingModel, MissingRecordings) as error:
        raise CannotRun(str(error)) from error


def material() -> Iterator[Said]:
    """Raises MissingRecordings."""
    rng = np.random.default_rng(11)
    clips = [clip for clip in shared() if clip.language == "en" and clip.text and not clip.name.startswith("ami")]
    for clip in clips:
        if clip.words and english.version() is None:  # else it would be its own judge
            yield Said(kind="by PocketSphinx", pcm=clip.samples(), words=clip.words)
    yield from _digits(rng)
    yield from _joins([clip for clip in clips if 1.5 < len(clip.samples()) / SAMPLE_RATE < 14 and not clip.words], rng)


def _digits(rng: np.random.Generator) -> Iterator[Said]:
    """Of each person a file of single words, over a faint noise."""
    if not (DIGITS / "bank.json").is_file():
        raise MissingRecordings(f"there are no recordings in {DIGITS}")
    bank = _decoded(DIGITS / "bank.flac")
    index = json.loads((DIGITS / "bank.json").read_text("utf-8"))
    for speaker in dict.fromkeys(item["speaker"] for item in index):
        mine = [item for item in index if item["speaker"] == speaker]
        said = [mine[n] for n in rng.permutation(len(mine))]
        parts = [(bank[one["start"] : one["end"]], (NAMES[one["digit"]],)) for one in said]
        yield _joined("digits", parts, DIGIT_PAUSES, rng, sure=False)


def _joins(clips: Sequence[Clip], rng: np.random.Generator) -> Iterator[Said]:
    """Clips of which an edge is known, between silences: each once."""
    parts = [(clip.samples(), (clip.text or "").split()) for clip in clips if any(known_edges(clip.samples()))]
    waiting = [parts[n] for n in rng.permutation(len(parts))]
    while waiting:
        taken, seconds = [waiting.pop()], PAUSES[1]
        while waiting and seconds + len(waiting[-1][0]) / SAMPLE_RATE + 2 * PAUSES[1] < LENGTH:
            seconds += len(taken[-1][0]) / SAMPLE_RATE + PAUSES[1]
            taken.append(waiting.pop())
        yield _joined("joins", taken, PAUSES, rng)


def _joined(
    kind: str,
    parts: Sequence[tuple[Pcm, Sequence[str]]],
    pauses: tuple[float, float],
    rng: np.random.Generator,
    *,
    sure: bool = True,
) -> Said:
    """As many as LENGTH holds, at one loudness. sure: only edges about which there is no doubt are known"""
    sound: list[NDArray[np.float64]] = []
    words: list[Known] = []
    at = 0
    for pcm, texts in parts:
        pause = np.zeros(round(rng.uniform(*pauses) * SAMPLE_RATE))
        at += len(pause)
        if at + len(pcm) > LENGTH * SAMPLE_RATE:
            break
        loudness = np.sqrt(np.mean(pcm.astype(np.float64) ** 2)) + 1.0
        sound += [pause, pcm * (1500.0 / loudness)]
        start, end = (
            None if one is None else (at + one) / SAMPLE_RATE
            for one in (known_edges(pcm) if sure else _edges(pcm, LOUD_DB[-1]))
        )
        last = len(texts) - 1
        words += [(text, None if n else start, end if n == last else None) for n, text in enumerate(texts)]
        at += len(pcm)
    mix = np.concatenate([*sound, np.zeros(SAMPLE_RATE // 2)])
    mix += rng.normal(0.0, 5.0, len(mix))
    return Said(kind=kind, pcm=np.clip(mix, -32768, 32767).astype(np.int16), words=words)


def known_edges(pcm: Pcm) -> tuple[int | None, int | None]:
    """Samples at which speech begins and ends; None where that is in doubt."""
    starts, ends = zip(*(_edges(pcm, db) for db in LOUD_DB), strict=True)
    agreed, margin = AGREED * SAMPLE_RATE, MARGIN * SAMPLE_RATE
    return (
        starts[1] if max(starts) - min(starts) <= agreed and min(starts) >= margin else None,
        ends[1] if max(ends) - min(ends) <= agreed and max(ends) <= len(pcm) - margin else None,
    )


def _edges(pcm: Pcm, db: float) -> tuple[int, int]:
    frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    level = np.convolve(10 * np.log10(np.mean(frames**2, axis=1) + 1.0), np.ones(3) / 3, "same")
    loud = np.flatnonzero(level > np.percentile(level, 95) - db)
    return int(loud[0]) * FRAME, (int(loud[-1]) + 1) * FRAME


def _decoded(path: Path) -> Pcm:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    command += ["-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "pipe:1"]
    return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, "<i2")


def _sentences(bench: Bench) -> Iterator[Said]:
    """What the demo model understands."""
    pcm, truth = bench.speech(0.4)
    words: list[Known] = []
    for one in truth["utterances"]:
        texts = one["text"].split()
        words.append((texts[0], one["start"], None))
        words += [(text, None, None) for text in texts[1:-1]]
        words.append((texts[-1], None, one["end"]))
    yield Said(kind="joins", pcm=pcm, words=words)


def _measure(bench: Bench, size: str, files: Sequence[Said]) -> None:
    library = bench.libraries()[0]
    model = bench.model(size) if bench.smoke else official.model(size)
    sources = [bench.wav(file.pcm, f"said-{n}") for n, file in enumerate(files)]
    found: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, float] = {}
    with bench.service(library, model) as service:
        watch.results(service, sources[:1], {"align": "true", "language": "en"})  # what is loaded once is loaded
        for option in ("word_timestamps", "align"):
            bench.say(f"{size}: {option}")
            with bench.span() as taken:
                found[option] = watch.results(service, sources, {option: "true", "language": "en"})
            seconds[option] = taken.own
    for option, results in found.items():
        for kind in dict.fromkeys(file.kind for file in files):
            some = [(file, result) for file, result in zip(files, results, strict=True) if file.kind == kind]
            goal = "A1" if option == "align" and size != "tiny.en" else ""
            bench.result.figures += _figures(f"{size}, {kind}, {option}", off(some), goal, judged=not bench.smoke)
    same = sum(a["text"] == b["text"] for a, b in zip(*found.values(), strict=True))
    audio = sum(len(file.pcm) for file in files) / SAMPLE_RATE
    bench.result.figures += [
        Figure(name=f"{size}: same text with align", value=same / len(files), goal="A2", at_least=1.0),
        Figure(name=f"{size}: CPU with align ÷ without", value=seconds["align"] / seconds["word_timestamps"]),
        Figure(name=f"{size}: CPU ÷ audio, with align", value=seconds["align"] / audio),
    ]


def _figures(name: str, found: Off, goal: str, *, judged: bool) -> Iterator[Figure]:
    for edge, values in (("starts", found.starts), ("ends", found.ends)):
        off_by = np.abs(values)
        yield Figure(
            name=f"{name}: {edge} off by, median of {len(off_by)}",
            value=float(np.median(off_by)),
            unit="ms",
            goal=goal,
            at_most=MEDIAN if goal else None,
            judged=judged,
        )
        yield Figure(name=f"{name}: {edge} off by, 90th percentile", value=float(np.percentile(off_by, 90)), unit="ms")
        yield Figure(
            name=f"{name}: {edge} within {MOST:.0f} ms",
            value=100.0 * float(np.mean(off_by <= MOST)),
            unit="%",
            goal=goal,
            at_least=SHARE if goal else None,
            judged=judged,
        )


def off(files: Sequence[tuple[Said, dict[str, Any]]]) -> Off:
    """By how much the words that were heard right are off, later than known counted as positive."""
    starts, ends = [], []
    for file, result in files:
        said = [(_plain(word), start, end) for word, start, end in file.words]
        heard = [
            (_plain(word["word"]), word["start"], word["end"])
            for segment in result["segments"]
            for word in segment["words"]
            if plain(word["word"]) and word["start"] is not None
        ]
        for i, j in align([word for word, *_ in said], [word for word, *_ in heard])[0]:
            (word, start, end), (other, begun, ended) = said[i], heard[j]
            if word == other:
                starts += [1000 * (begun - start)] if start is not None else []
                ends += [1000 * (ended - end)] if end is not None else []
    return Off(starts=starts, ends=ends)


def _plain(word: str) -> str:
    """A digit alone is written out."""
    bare = plain(word)
    return NAMES[int(bare)] if bare.isascii() and bare.isdigit() and len(bare) == 1 else bare
