"""How much worse the text of a stream is than that of the same file as a job, and what becomes of words at forced cuts (L5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import joined, parity, watch
from benchmarks.harness import Bench, Pcm
from benchmarks.live import speech
from benchmarks.report import Figure
from benchmarks.words import Errors, errors
from core.audio.samples import SAMPLE_RATE
from core.live.events import Final
from core.live.sessions import StoredUtterance
from core.speech.chunks import Chunk
from testbed.live import MemorySink, Streams, streams


def run(bench: Bench) -> None:
    """Real speech, base q8_0, as fast as it goes, finals only, without a server around it; a smoke run has made speech."""
    model, talks = speech.model(bench), _talks(bench)
    library = bench.libraries()[0]
    bench.result.details["library"] = f"{library.kind} {library.version}"
    bench.say(f"libwhisper: {library.kind} {library.version}")
    heard: dict[str, MemorySink] = {}
    given = None if bench.smoke else model
    with streams(bench.folder, model=given, library=library.directory, log_level="WARNING") as engine:
        for name, (pcm, _) in talks.items():
            bench.say(name)
            heard[name] = asyncio.run(_played(engine, pcm))
    jobs = _jobs(bench, library, model, talks)
    for name, (pcm, truth) in talks.items():
        fast = heard[name]
        text = " ".join(one["text"] for one in truth["utterances"])
        live, job = errors(text, fast.text, "en"), errors(text, jobs[name], "en")
        cut = at_cuts(truth, fast.finals, fast.kept, jobs[name])
        bench.result.details[name] = {
            "minutes": len(pcm) / SAMPLE_RATE / 60,
            "live": _figures(live),
            "job": _figures(job),
            "cuts": cut,
        }
        for figure, value, unit, most in (
            ("WER less the job's", live.rate - job.rate, "points", 1.0),
            ("words lost at forced cuts", cut["lost"], "", 0.0),
            ("words doubled at forced cuts", cut["doubled"], "", 0.0),
        ):
            bench.result.figures.append(
                Figure(
                    name=f"{name}: {figure}", value=value, unit=unit, goal="L5", at_most=most, judged=not bench.smoke
                )
            )


async def _played(engine: Streams, pcm: Pcm) -> MemorySink:
    return await engine.play(pcm, block=SAMPLE_RATE, params={"language": "en"}, stream={"partials": False})


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


def _figures(found: Errors) -> dict[str, Any]:
    return {"wer": round(found.rate, 2), "sub": found.substitutions, "del": found.deletions, "ins": found.insertions}


def _talks(bench: Bench) -> dict[str, tuple[Pcm, dict[str, Any]]]:
    """By name: samples, and what is said."""
    if bench.smoke:
        pcm, truth = bench.speech(0.4)
        return {"sentences": (pcm, truth)}
    clips = speech.real_clips()
    minutes = bench.pick(smoke=0.5, bench=6.0, full=12.0)
    return {"with pauses": joined.with_pauses(clips, minutes), "unbroken": joined.unbroken(clips, minutes)}


def _jobs(bench: Bench, library: Any, model: Path, talks: dict[str, tuple[Pcm, dict[str, Any]]]) -> dict[str, str]:
    """The same as files."""
    files = [bench.wav(pcm, name.replace(" ", "-")) for name, (pcm, _) in talks.items()]
    with bench.service(library, model) as service:
        results = watch.results(service, files, {"language": "en"})
    return {name: str(result["text"]) for name, result in zip(talks, results, strict=True)}
