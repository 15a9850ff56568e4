"""Whole jobs against the two common designs on the same library and model: one serial pass (P5), a process per chunk (P6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peer, watch
from benchmarks.harness import Bench, Pcm, ratio
from benchmarks.job import timed, warm_up
from benchmarks.meter import PssSampler, Span, tree
from benchmarks.plot import Plot
from benchmarks.report import Figure
from core.audio.samples import SAMPLE_RATE
from testbed.service import Service
from whisper.library.libraries import Library

CHUNK = 28 * SAMPLE_RATE
WHISPER_CLI_BEAM = 5
GOALS = {
    ("dense", "own"): (0.93, 0.92),
    ("dense", "wheel"): (0.80, 0.92),
    ("silence", "own"): (0.80, 0.70),
    ("silence", "wheel"): (0.80, 0.70),
}
"""(P5, P6): at most so much of the wall of a serial pass, and of a process per chunk."""


def run(bench: Bench) -> None:
    minutes = bench.pick(smoke=0.1, bench=10.0, full=30.0)
    sounds = {"dense": bench.speech(minutes)[0]}
    if not bench.smoke:
        sounds["silence"] = bench.speech(minutes, silence=0.25)[0]
    clips = [bench.speech(5 / 60, seed=n)[0] for n in range(bench.pick(smoke=1, bench=16, full=100))]
    for number, library in enumerate(bench.libraries()):
        best, model = number == 0, bench.model("base")
        with bench.service(library, model) as service:
            warm_up(bench, service)
            for name, pcm in sounds.items():
                if best or name == "dense" or bench.scale == "full":
                    _file(bench, service, library, model, name, pcm)
            if best or bench.scale == "full":
                _clips(bench, service, library, model, clips, library.kind)
            if best:
                _stock(bench, service, library, sounds["dense"])
        if best:
            with bench.service(library, model, ENCODER_CONTEXT="fit") as service:
                warm_up(bench, service)
                _clips(bench, service, library, model, clips, f"{library.kind}, ENCODER_CONTEXT=fit")
    _memory(bench, bench.libraries()[0], sounds["dense"])


def _file(bench: Bench, service: Service, library: Library, model: Path, name: str, pcm: Pcm) -> None:
    """One long file, three ways."""
    serial = {
        "mode": "serial",
        "library": library.directory,
        "model": model,
        "pcm": pcm,
        "processes": 1,
        "threads": 1 if bench.smoke else bench.cores,
    }
    spawn = _spawn(bench, library, model, pcm)
    source = bench.wav(pcm, name)
    runs = bench.repeat(
        {
            f"{library.kind}, {name}: job": lambda: timed(bench, service, source)[0],
            f"{library.kind}, {name}: one serial pass": lambda: _without_load(bench, serial),
            f"{library.kind}, {name}: a process per chunk": lambda: bench.peer(**spawn)[0],
        }
    )
    ours, one, many = runs.values()
    p5, p6 = GOALS.get((name, library.kind), (0.93, 0.92))
    label = f"{name}, {library.kind}"
    bench.result.figures += [
        Figure(name=f"÷ serial pass, {label}", value=ratio(ours, one), goal="P5", at_most=p5, judged=not bench.smoke),
        Figure(
            name=f"÷ process per chunk, {label}", value=ratio(ours, many), goal="P6", at_most=p6, judged=not bench.smoke
        ),
    ]
    _keep(bench, label, runs)
    walls = [[(n, min(taken.alone for taken in taken_all))] for n, taken_all in enumerate(runs.values())]
    bench.result.plots.append(
        Plot(
            name=f"{name}-{library.kind}",
            title=f"{len(pcm) / SAMPLE_RATE / 60:.0f} minutes of speech ({label})",
            y="wall, s",
            series={"wall": [point for points in walls for point in points]},
            labels=("Parascribe", "serial pass", "process per chunk"),
        )
    )


def _clips(bench: Bench, service: Service, library: Library, model: Path, clips: list[Pcm], label: str) -> None:
    """A batch of short clips: jobs of their own here, processes of their own there."""
    sources = [bench.wav(clip, f"clip{n}") for n, clip in enumerate(clips)]
    joined, spans = _joined(clips)
    spawn = {
        "mode": "spawn",
        "library": library.directory,
        "model": model,
        "pcm": joined,
        "spans": spans,
        "processes": bench.cores,
        "threads": 1,
    }

    def ours() -> Span:
        with bench.span() as taken:
            late = watch.transcribe_all(service, sources, language="en")
        taken.wall -= late
        return taken

    runs = bench.repeat(
        {f"{label}, 5 s clips: jobs": ours, f"{label}, 5 s clips: a process each": lambda: bench.peer(**spawn)[0]}
    )
    mine, theirs = runs.values()
    bench.result.figures.append(
        Figure(
            name=f"÷ process per clip, 5 s clips, {label}",
            value=ratio(mine, theirs),
            goal="P6",
            at_most=0.4,
            judged=not bench.smoke,
        )
    )
    _keep(bench, f"clips, {label}", runs)


def _stock(bench: Bench, service: Service, best: Library, pcm: Pcm) -> None:
    """What a user of the common design runs today: the wheel, f16; with whisper-cli's own beam of 5 in full runs."""
    stock = _spawn(bench, bench.libraries()[-1], bench.model("base", "f16"), pcm)
    source = bench.wav(pcm, "stock")
    variants: dict[str, Callable[[], Span]] = {
        "job": lambda: timed(bench, service, source)[0],
        "a process per chunk, wheel, f16": lambda: bench.peer(**stock)[0],
    }
    if bench.scale == "full":
        variants["the same, beam 5"] = lambda: bench.peer(**stock, beam=WHISPER_CLI_BEAM)[0]
    runs = bench.repeat(variants)
    mine, *others = runs.values()
    for name, theirs in zip(list(runs)[1:], others, strict=True):
        goal = 0.5 if "beam" not in name else None
        bench.result.figures.append(
            Figure(
                name=f"{best.kind} build, q8_0 ÷ {name}",
                value=ratio(mine, theirs),
                goal="P6" if goal else "",
                at_most=goal,
                judged=not bench.smoke,
            )
        )
    _keep(bench, "stock", runs)


def _spawn(bench: Bench, library: Library, model: Path, pcm: Pcm) -> dict[str, Any]:
    spans = [[start, min(start + CHUNK, len(pcm))] for start in range(0, len(pcm), CHUNK)]
    return {
        "mode": "spawn",
        "library": library.directory,
        "model": model,
        "pcm": pcm,
        "spans": spans,
        "processes": bench.cores,
        "threads": 1,
    }


def _without_load(bench: Bench, job: dict[str, Any]) -> Span:
    """The serial pass alone: loading the model is not charged, as ours is loaded already."""
    taken, answer = bench.peer(**job)
    share = (taken.wall - answer["load"][0]) / taken.wall
    return Span(wall=taken.wall * share, own=taken.own * share, foreign=taken.foreign * share, idle=taken.idle)


def _joined(clips: list[Pcm]) -> tuple[Pcm, list[list[int]]]:
    ends = np.cumsum([len(clip) for clip in clips]).tolist()
    return np.concatenate(clips), [[end - len(clip), end] for end, clip in zip(ends, clips, strict=True)]


def _memory(bench: Bench, library: Library, pcm: Pcm) -> None:
    """Ours against a process per chunk, by size of the model: what every process has of its own grows with it."""
    sizes = bench.pick(smoke=("base",), bench=("base", "small"), full=("base", "small", "medium"))
    source = bench.wav(pcm, "memory")
    bars: dict[str, list[tuple[float, float]]] = {"Parascribe": [], "process per chunk": []}
    for number, size in enumerate(sizes):
        bench.say(f"memory, {size}")
        model = bench.model(size)
        with bench.service(library, model) as service:
            warm_up(bench, service)
            ours = service_memory(bench, service, source)
        theirs = _spawned_memory(bench, _spawn(bench, library, model, pcm))
        bench.result.figures.append(
            Figure(
                name=f"memory ÷ process per chunk, {size} q8_0, {library.kind}",
                value=ours / theirs,
                goal="P6",
                at_most=0.6,
                judged=not bench.smoke,
            )
        )
        bench.result.details[f"memory, {size}"] = {"ours": round(ours, 1), "theirs": round(theirs, 1)}
        bars["Parascribe"].append((number, ours))
        bars["process per chunk"].append((number, theirs))
    bench.result.plots.append(
        Plot(
            name="memory",
            title=f"Memory with {bench.cores} busy workers (q8_0)",
            y="MiB",
            series=bars,
            labels=tuple(sizes),
        )
    )


def service_memory(bench: Bench, service: Service, source: Path) -> float:
    """Peak PSS in MiB of the whole service while every worker is busy, in a run of its own: sampling costs time."""
    with PssSampler(lambda: _tree(service)) as sampler:
        job = service.submit(source, language="en")["id"]
        watch.wait(service, job, lambda body: body["progress"]["chunks_done"] > 2 * bench.cores)
    watch.cancel(service, job)
    return sampler.peak


def _spawned_memory(bench: Bench, spawn: dict[str, Any]) -> float:
    """Peak PSS in MiB of a process per chunk, as many at once as cores."""
    short = dict(spawn, spans=spawn["spans"][: 2 * bench.cores])
    with peer.start(short, bench.folder) as process, PssSampler(lambda: tree(process.pid), every=0.05) as sampler:
        process.communicate()
    return sampler.peak


def _tree(service: Service) -> list[int]:
    return tree(service.process.pid) if service.process is not None else []


def _keep(bench: Bench, label: str, runs: dict[str, list[Span]]) -> None:
    bench.result.details[label] = {name: [taken.to_dict() for taken in taken_all] for name, taken_all in runs.items()}
