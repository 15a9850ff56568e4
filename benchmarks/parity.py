"""Does cutting cost words? Parallel chunks against one serial pass of the same library over the same files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import joined, official
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.local import runner
from benchmarks.official import MissingModel
from benchmarks.recordings import MissingRecordings, packaged, shared
from benchmarks.report import Figure
from benchmarks.score import score, words_said
from benchmarks.words import align
from core.audio.samples import SAMPLE_RATE
from core.speech.chunks import Chunk
from whisper import DEMO_MODEL
from whisper.library.libraries import Library

NEAR = 2.0
"""Seconds from a cut within which a lost word is laid at its door."""

SEAM = 0.5
"""Seconds around a cut, and 0.25 around what both its chunks have heard, in which a word can have been said twice."""

PAUSES, THROUGH, RUN_TOGETHER = "with pauses", "cut through speech", "sentences run together"
"""The last has no goal: the demo model fails on a third of its words even in one pass."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What cutting did to one file."""

    name: str
    words: int
    """Said."""
    near: int
    """Of them, within NEAR of a cut."""
    cuts: int
    parallel: float
    """WER in per cent, and so `serial`."""
    serial: float
    lost: int
    """Words near a cut that the serial pass heard and the parallel one did not."""
    lost_elsewhere: int
    """The same, away from every cut: what another window hears otherwise anyway."""
    doubled: int


def run(bench: Bench) -> None:
    library = bench.libraries()[0]
    judged = [(DEMO_MODEL, cases(bench))]  # a larger made model says the very same, more slowly
    if not bench.smoke:
        try:
            judged.append((official.model("base"), real_cases(bench)))
        except (MissingModel, MissingRecordings) as error:
            raise CannotRun(str(error)) from error
    for model, groups in judged:
        for group, files in groups.items():
            found = measure(bench, library, model, files)
            bench.result.figures += _figures(group, found)
            bench.result.details[group] = [vars(one) for one in found]


def real_cases(bench: Bench) -> dict[str, dict[str, tuple[Pcm, dict[str, Any]]]]:
    """Real speech: clips with pauses between them, and speech without any pause that a cut could use. Raises MissingRecordings."""
    clips = [
        clip
        for clip in (*packaged(), *shared())
        if clip.spoken and clip.language == "en" and len(clip.samples()) > 3 * SAMPLE_RATE
    ]
    minutes = bench.pick(smoke=0.5, bench=20.0, full=60.0)
    return {
        f"real speech, {PAUSES}": {"long": joined.with_pauses(clips, minutes)},
        f"real speech, {THROUGH}": {f"seed {seed}": joined.unbroken(clips, minutes / 4, seed=seed) for seed in (1, 2)},
    }


def _figures(group: str, found: list[Parity]) -> list[Figure]:
    words = sum(one.words for one in found)
    parallel, serial = (sum(getattr(one, way) * one.words for one in found) / words for way in ("parallel", "serial"))
    goal = "" if group == RUN_TOGETHER else "parity"
    within, none = (None, None) if group == RUN_TOGETHER else (0.2, 0.0)
    near = sum(one.near for one in found)
    lost, elsewhere = sum(one.lost for one in found), sum(one.lost_elsewhere for one in found)
    return [
        Figure(
            name=f"{group}: WER, parallel less serial",
            value=parallel - serial,
            unit="points",
            goal=goal,
            at_most=within,
        ),
        Figure(name=f"{group}: words lost at cuts", value=lost, goal=goal, at_most=none),
        Figure(name=f"{group}: of the words at cuts", value=100 * lost / max(1, near), unit="%"),
        Figure(name=f"{group}: of the words elsewhere", value=100 * elsewhere / max(1, words - near), unit="%"),
        Figure(
            name=f"{group}: words doubled at cuts", value=sum(one.doubled for one in found), goal=goal, at_most=none
        ),
        Figure(name=f"{group}: WER, serial", value=serial, unit="%"),
        Figure(name=f"{group}: cuts", value=sum(one.cuts for one in found)),
    ]


def cases(bench: Bench) -> dict[str, dict[str, tuple[Pcm, dict[str, Any]]]]:
    """Files by group: with pauses of many kinds; without one that is a safe cut; sentences run together."""
    factor = bench.pick(smoke=0.4, bench=1.0, full=4.0)
    pauses = {
        "25 % silence": bench.speech(3.0 * factor, seed=31, silence=0.25),
        "noise": bench.speech(2.0 * factor, seed=32, noise_db=20.0),
    }
    if not bench.smoke:
        pauses |= {"long": bench.speech(3.0 * factor, seed=50)}
        pauses |= {
            f"{minutes:g} min": bench.speech(minutes, seed=round(10 * minutes))
            for minutes in (0.4, 0.6, 0.95, 1.3, 2.7, 5.0)
        }
    seeds = range(7, bench.pick(smoke=8, bench=13, full=27))
    through = {f"seed {seed}": bench.speech(1.0, seed=seed, gap=(0.1, 0.14), noise_db=None) for seed in seeds}
    together = {f"seed {seed}": bench.speech(1.0, seed=seed, gap=(0.0, 0.0), noise_db=None) for seed in list(seeds)[:6]}
    groups = {PAUSES: pauses, THROUGH: through}
    return groups if bench.smoke else groups | {RUN_TOGETHER: together}


def measure(bench: Bench, library: Library, model: Path, files: dict[str, tuple[Pcm, dict[str, Any]]]) -> list[Parity]:
    """Both ways over each file."""
    found = []
    with runner(bench.folder, library, model) as transcribe:
        for name, (pcm, truth) in files.items():
            bench.say(name)
            result, chunks = transcribe(bench.wav(pcm, "parity"))
            _, answer = bench.peer(
                mode="serial",
                library=library.directory,
                model=model,
                pcm=pcm,
                processes=1,
                threads=1 if bench.smoke else bench.cores,
            )
            serial = answer["texts"][0]
            found.append(
                Parity(
                    name=name,
                    words=score(truth, serial).words,
                    cuts=len(chunks) - 1,
                    parallel=100 * score(truth, result["segments"]).wer,
                    serial=100 * score(truth, serial).wer,
                    **at_cuts(truth, result["segments"], serial, chunks),
                )
            )
    return found


def at_cuts(truth: dict[str, Any], segments: list[dict[str, Any]], serial: str, chunks: list[Chunk]) -> dict[str, int]:
    """Parity's counts: `near`, `lost`, `lost_elsewhere`, `doubled`.

    Lost: heard by the serial pass, not heard in parallel, be it cut off or misheard. Doubled: heard in parallel but not
    said, and the same as a word beside it, where both chunks have heard. A word's time is its share of its sentence.
    """
    cuts = [chunk.end / SAMPLE_RATE for chunk in chunks[:-1]]
    said, times = _timed(truth["utterances"])
    parallel, _ = words_said(segments)
    alone, _ = words_said([{"start": None, "text": serial}])
    here, there = dict(align(said, parallel)[0]), dict(align(said, alone)[0])
    lost = [
        _near(times[n], cuts) for n, word in enumerate(said) if n not in here and n in there and alone[there[n]] == word
    ]
    seams = [
        (
            min(cut - SEAM, after.regions[0].start / SAMPLE_RATE - SEAM / 2),
            max(cut + SEAM, before.regions[-1].end / SAMPLE_RATE + SEAM / 2),
        )
        for cut, (before, after) in zip(cuts, pairwise(chunks), strict=True)
        if before.regions and after.regions
    ]
    place = {heard: n for n, heard in here.items()}
    doubled = 0
    for n, word in enumerate(parallel):
        twins = [
            m for m in range(max(0, n - 3), min(len(parallel), n + 4)) if m != n and m in place and parallel[m] == word
        ]
        doubled += n not in place and any(a <= times[place[m]] <= b for m in twins for a, b in seams)
    near = sum(_near(moment, cuts) for moment in times)
    return {"near": near, "lost": sum(lost), "lost_elsewhere": len(lost) - sum(lost), "doubled": doubled}


def _timed(utterances: list[dict[str, Any]]) -> tuple[list[str], list[float]]:
    words: list[str] = []
    times: list[float] = []
    for one in utterances:
        spoken, _ = words_said([one])
        pace = (one["end"] - one["start"]) / max(1, len(spoken))
        words += spoken
        times += [one["start"] + pace * (n + 0.5) for n in range(len(spoken))]
    return words, times


def _near(moment: float, cuts: list[float]) -> bool:
    return any(abs(moment - cut) <= NEAR for cut in cuts)
