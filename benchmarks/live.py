"""Live streams without a server around them: how late the text comes, and how much worse it is than a job's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import joined, official, parity, watch
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.recordings import Clip, MissingRecordings, shared
from benchmarks.report import Figure
from benchmarks.words import Errors, errors
from core.audio.samples import SAMPLE_RATE
from core.live.events import Final, Partial, SpeechEnd
from core.live.sessions import StoredUtterance
from core.speech.chunks import Chunk
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
    for name, (pcm, truth) in talks.items():
        played, fast = heard[name]
        text = " ".join(one["text"] for one in truth["utterances"])
        live, job = errors(text, fast.text, "en"), errors(text, jobs[name], "en")
        late, cut = latency(played), at_cuts(truth, fast.finals, fast.kept, jobs[name])
        bench.result.details[name] = {
            "minutes": len(pcm) / SAMPLE_RATE / 60,
            "live": _figures(live),
            "job": _figures(job),
            "cuts": cut,
            "latency": late,
        }
        for figure, value, goal, most in (
            ("partial, p95", late["partial_p95"], "L1", 0.5),
            ("end of speech to final, p50", late["final_p50"], "L2", 0.7),
            ("end of speech to final, p95", late["final_p95"], "L2", 1.2),
            ("WER less the job's", live.rate - job.rate, "L5", 1.0),
            ("words lost at forced cuts", cut["lost"], "L5", 0.0),
            ("words doubled at forced cuts", cut["doubled"], "L5", 0.0),
        ):
            unit = {"L5": "points" if "WER" in figure else ""}.get(goal, "s")
            bench.result.figures.append(
                Figure(
                    name=f"{name}: {figure}", value=value, unit=unit, goal=goal, at_most=most, judged=not bench.smoke
                )
            )


async def _both(engine: Streams, pcm: Pcm, *, seconds: float) -> tuple[MemorySink, MemorySink]:
    """The beginning as it would be spoken, with partials; and all of it as fast as it goes, without."""
    params = {"language": "en"}
    await engine.play(pcm[: 3 * SAMPLE_RATE], params=params)  # the model is loaded
    played = await engine.play(pcm[: round(seconds * SAMPLE_RATE)], real_time=True, params=params)
    fast = await engine.play(pcm, block=SAMPLE_RATE, params=params, stream={"partials": False})
    return played, fast


def latency(sink: MemorySink) -> dict[str, float]:
    """Of a stream that was played in real time, in seconds.

    final: from the end of speech, as the detector places it, to the final. partial: from when the last sample that it has
    heard came to the partial itself: what is waited for beyond the second of a step
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


def at_cuts(
    truth: dict[str, Any], finals: Sequence[Final], kept: Sequence[StoredUtterance], job: str
) -> dict[str, int]:
    """Cuts that were forced, in pauses too short for an end and through speech; words lost and doubled there.

    As `benchmarks.parity` counts them, against what the job heard.
    """
    chunks = [Chunk.from_dict(dict(one.chunk)) for one in kept]
    said = [final.to_dict() for final in finals]
    found = {"cuts": 0, "through": 0, "lost": 0, "doubled": 0}
    for before, after in pairwise(chunks):
        through = before.regions[-1].end > before.end
        if through or after.regions[0].start == before.regions[-1].end:
            here = parity.at_cuts(truth, said, job, [before, after])
            found["cuts"] += 1
            found["through"] += through
            found["lost"] += here["lost"]
            found["doubled"] += here["doubled"]
    return found


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


def _talks(bench: Bench) -> dict[str, tuple[Pcm, dict[str, Any]]]:
    """By name: samples, and what is said."""
    if bench.smoke:
        pcm, truth = bench.speech(0.4)
        return {"sentences": (pcm, truth)}
    try:
        clips: list[Clip] = [clip for clip in shared() if clip.name.startswith(SET)]
    except MissingRecordings as error:
        raise CannotRun(str(error)) from error
    minutes = bench.pick(smoke=0.5, bench=6.0, full=12.0)
    return {"with pauses": joined.with_pauses(clips, minutes), "unbroken": joined.unbroken(clips, minutes)}


def _jobs(bench: Bench, library: Any, model: Path, talks: dict[str, tuple[Pcm, dict[str, Any]]]) -> dict[str, str]:
    """The same as files."""
    files = [bench.wav(pcm, name.replace(" ", "-")) for name, (pcm, _) in talks.items()]
    with bench.service(library, model) as service:
        results = watch.results(service, files, {"language": "en"})
    return {name: str(result["text"]) for name, result in zip(talks, results, strict=True)}
