"""Live streams without a server around them: how late the text comes, and how much worse it is than a job's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import joined, official, watch
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.recordings import Clip, MissingRecordings, shared
from benchmarks.report import Figure
from benchmarks.words import Errors, errors
from core.audio.samples import SAMPLE_RATE
from core.live.events import Final, Partial, SpeechEnd
from testbed.live import MemorySink, Streams, streams

SET = "test-other/"
"""Of the shared recordings: 50 clips of LibriSpeech, six minutes."""


def run(bench: Bench) -> None:
    """Real speech, base q8_0, played in real time for L1 and L2 and as fast as it goes for L5; a smoke run has made speech."""
    model, talks = _model(bench), _talks(bench)
    library = bench.libraries()[0]
    heard: dict[str, tuple[MemorySink, MemorySink]] = {}
    with streams(bench.folder, model=None if bench.smoke else model, library=library.directory) as engine:
        for name, (pcm, _) in talks.items():
            bench.say(name)
            heard[name] = asyncio.run(_both(engine, pcm, seconds=bench.pick(smoke=5, bench=120, full=600)))
    jobs = _jobs(bench, library, model, talks)
    for name, (pcm, text) in talks.items():
        played, fast = heard[name]
        live, job = errors(text, fast.text, "en"), errors(text, jobs[name], "en")
        bench.result.details[name] = {
            "minutes": len(pcm) / SAMPLE_RATE / 60,
            "live": _figures(live),
            "job": _figures(job),
            "cuts": cuts(fast),
            "latency": latency(played),
        }
        found = latency(played)
        judged = not bench.smoke
        bench.result.figures += [
            Figure(name=f"{name}: partial, p95", value=found["partial_p95"], unit="s", goal="L1", at_most=0.5, judged=judged),
            Figure(name=f"{name}: end of speech to final, p50", value=found["final_p50"], unit="s", goal="L2", at_most=0.7, judged=judged),
            Figure(name=f"{name}: end of speech to final, p95", value=found["final_p95"], unit="s", goal="L2", at_most=1.2, judged=judged),
            Figure(name=f"{name}: WER less the job's", value=live.rate - job.rate, unit="points", goal="L5", at_most=1.0, judged=judged),
        ]  # fmt: skip


async def _both(engine: Streams, pcm: Pcm, *, seconds: float) -> tuple[MemorySink, MemorySink]:
    """The beginning as it would be spoken, with partials; and all of it as fast as it goes, without."""
    params = {"language": "en"}
    await engine.play(pcm[: 3 * SAMPLE_RATE], params=params)  # the model is loaded
    played = await engine.play(pcm[: round(seconds * SAMPLE_RATE)], real_time=True, params=params)
    fast = await engine.play(pcm, block=SAMPLE_RATE, params=params, stream={"partials": False})
    return played, fast


def latency(sink: MemorySink) -> dict[str, float]:
    """Of a stream that was played in real time, in seconds.

    final: from the true end of speech (as the detector places it) to the final. partial: from when a sample came to the
    partial that has heard it, less the second of a step; the oldest sample of each partial counts
    """
    began = sink.began
    ends = {event.utterance: event.t for _, event in sink.events if isinstance(event, SpeechEnd)}
    finals = [at - began - ends[event.utterance] for at, event in sink.events if isinstance(event, Final)]
    partials = [at - began - event.end for at, event in sink.events if isinstance(event, Partial)]
    return {
        "final_p50": _percentile(finals, 50),
        "final_p95": _percentile(finals, 95),
        "partial_p50": _percentile(partials, 50),
        "partial_p95": _percentile(partials, 95),
        "finals": len(finals),
        "partials": len(partials),
    }


def cuts(sink: MemorySink) -> int:
    """How many utterances went on behind a cut through speech."""
    return sum(one.chunk["regions"][-1][1] > one.end for one in sink.kept)


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else 0.0


def _figures(found: Errors) -> dict[str, Any]:
    return {"wer": round(found.rate, 2), "sub": found.substitutions, "del": found.deletions, "ins": found.insertions}


def _model(bench: Bench) -> Path:
    if bench.smoke:
        return bench.model("base")
    try:
        return official.model("base", "q8_0")
    except official.MissingModel as error:
        raise CannotRun(str(error)) from error


def _talks(bench: Bench) -> dict[str, tuple[Pcm, str]]:
    """By name: samples, and what is said."""
    if bench.smoke:
        pcm, truth = bench.speech(0.4)
        return {"sentences": (pcm, truth["text"])}
    try:
        clips: list[Clip] = [clip for clip in shared() if clip.name.startswith(SET)]
    except MissingRecordings as error:
        raise CannotRun(str(error)) from error
    minutes = bench.pick(smoke=0.5, bench=6.0, full=12.0)
    made_of = {"with pauses": joined.with_pauses(clips, minutes), "unbroken": joined.unbroken(clips, minutes)}
    return {name: (pcm, " ".join(one["text"] for one in truth["utterances"])) for name, (pcm, truth) in made_of.items()}


def _jobs(bench: Bench, library: Any, model: Path, talks: dict[str, tuple[Pcm, str]]) -> dict[str, str]:
    """The same as files."""
    files = [bench.wav(pcm, name.replace(" ", "-")) for name, (pcm, _) in talks.items()]
    with bench.service(library, model) as service:
        results = watch.results(service, files, {"language": "en"})
    return {name: str(result["text"]) for name, result in zip(talks, results, strict=True)}
