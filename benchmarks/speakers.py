"""Who speaks when: error rates on made conversations and real ones, the count of people, CPU and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.conversations import Style, conversation
from benchmarks.der import NOTHING, ErrorRate, Spoken, error_rate, read_rttm
from benchmarks.harness import Bench, CannotRun
from benchmarks.recordings import SHARED, MissingRecordings, shared
from benchmarks.report import Figure
from core.audio.samples import Pcm

COLLAR = 0.25

SETS: dict[str, tuple[Style, tuple[int, ...], float, float | None]] = {
    "one voice, long": (Style(), (1,), 5.0, None),
    "one voice, short": (Style(short=True), (1,), 5.0, None),
    "long turns": (Style(), (2, 3, 4, 6), 5.0, 3.3),
    "short turns": (Style(short=True), (2, 3, 4, 6), 5.0, 8.5),
    "overlap": (Style(short=True, overlap=0.35), (2, 3, 4, 6), 5.0, 9.0),
    "room": (Style(short=True, overlap=0.35, room=True), (2, 3, 4, 6), 5.0, 9.0),
    "30 min": (Style(short=True, overlap=0.35), (2, 3, 4, 6), 30.0, 7.0),
}
"""Style, numbers of speakers, minutes of each, and the goal: the error rate with the collar, per cent."""
CONFUSED = {"overlap": 5.0, "room": 5.0}

ALONE = """
import json, os, re, resource, sys
import numpy as np
from whisper import SPEAKER_MODELS
from whisper.speakers.networks import OnnxNetworks
from whisper.speakers.pipeline import TurnPipeline

class Audio:
    def length(self, at_least): return os.path.getsize(sys.argv[1]) // 2
    def read(self, start, end): return np.fromfile(sys.argv[1], "<i2", end - start, offset=2 * start)

found = TurnPipeline(OnnxNetworks(*SPEAKER_MODELS)).diarize(Audio())
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "turns": [[t.start, t.end, str(t.voice)] for t in found.turns], "voices": len(found.voices),
    "cpu": usage.ru_utime + usage.ru_stime, "mb": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024,
}))
"""

HOURS = """
import json, re, resource, sys
from benchmarks.timeline import Timeline
from whisper.speakers.pipeline import TurnPipeline

hours = Timeline(float(sys.argv[1]))
found = TurnPipeline(hours).diarize(hours)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "voices": len(found.voices), "cpu": usage.ru_utime + usage.ru_stime, "mb": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024,
}))
"""
"""All but the networks: what stays of a recording, and what is made of that. Memory by the kernel's VmHWM: `ru_maxrss` begins with
that of whoever started the process."""


def run(bench: Bench) -> None:
    figures = bench.result.figures
    right = of = 0
    cpu = minutes = memory = 0.0
    try:
        sets = {"long turns": SETS["long turns"]} if bench.smoke else SETS
        for name, (style, speakers, whole, goal) in sets.items():
            length = bench.pick(smoke=0.5, bench=min(whole, 10.0), full=whole)
            total = {0.0: NOTHING, COLLAR: NOTHING}
            for number in (2,) if bench.smoke else speakers:
                made = conversation(number, 60 * length, style, seed=1000 * number + len(name))
                found = alone(bench, made.pcm)
                heard = [tuple(turn) for turn in found["turns"]]
                total = {
                    collar: rates + error_rate(made.turns, heard, collar=collar) for collar, rates in total.items()
                }
                right, of = right + (found["voices"] == number), of + 1
                cpu, minutes, memory = cpu + found["cpu"], minutes + length, max(memory, found["mb"])
                bench.say(
                    f"{name}, {number}: {found['voices']} found, {error_rate(made.turns, heard, collar=COLLAR).rate:.1f} %"
                )
            figures += _figures(bench, name, total, goal)
        for clip, goal in (("dev00", 20.0), ("tst00", None))[: 1 if bench.smoke else None]:
            rate = error_rate(read_rttm(SHARED / f"ami/{clip}.rttm"), _real(bench, f"ami/{clip}.wav"))
            figures.append(_figure(bench, f"AMI {clip}, error rate", rate.rate, goal))
    except MissingRecordings as error:
        raise CannotRun(str(error)) from error
    hours = bench.pick(smoke=0.2, bench=10.0, full=10.0)
    long = _in_process(HOURS, str(hours))
    figures += [
        Figure(
            name=f"memory, {hours:g} h, networks apart",
            value=long["mb"],
            unit="MB",
            goal="S5",
            at_most=400.0,
            judged=not bench.smoke,
        ),
        Figure(name=f"CPU, {hours:g} h, networks apart", value=long["cpu"], unit="s"),
        Figure(name=f"people counted, {hours:g} h", value=long["voices"], goal="S1", at_least=5.0, at_most=5.0),
        Figure(name="people counted right", value=right / of, goal="S1", at_least=1.0, judged=not bench.smoke),
        Figure(
            name="CPU per hour", value=60 * cpu / minutes, unit="s", goal="S4", at_most=120.0, judged=not bench.smoke
        ),
        Figure(name="memory at most", value=memory, unit="MB", goal="S5", at_most=220.0, judged=not bench.smoke),
    ]


def alone(bench: Bench, pcm: Pcm) -> dict[str, Any]:
    """In a process of its own, on one thread: turns, voices, CPU seconds and memory, that of starting included."""
    path = bench.folder / "conversation.s16le"
    path.write_bytes(pcm.astype("<i2").tobytes())
    return _in_process(ALONE, str(path))


def _in_process(program: str, argument: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, argument],
        stdout=subprocess.PIPE,
        check=True,
        env={"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _real(bench: Bench, name: str) -> list[Spoken]:
    clip = next(clip for clip in shared() if clip.name == name)
    return [tuple(turn) for turn in alone(bench, clip.samples())["turns"]]


def _figures(bench: Bench, name: str, total: dict[float, ErrorRate], goal: float | None) -> list[Figure]:
    found = [
        _figure(bench, f"{name}, error rate with collar", total[COLLAR].rate, goal),
        Figure(name=f"{name}, error rate", value=total[0.0].rate, unit="%"),
    ]
    if name in CONFUSED:
        found.append(_figure(bench, f"{name}, confusion", total[COLLAR].confusion, CONFUSED[name], "S3"))
    return found


def _figure(bench: Bench, name: str, value: float, goal: float | None, number: str = "S2") -> Figure:
    return Figure(name=name, value=value, unit="%", goal=number if goal else "", at_most=goal, judged=not bench.smoke)
