"""Real speech and official weights: errors by word, times of words, invented words; beside whisper.cpp and faster-whisper.

Three ways over the same recordings: ours as a running service; one `whisper_full` over each file by the same library and
weights, told the language; faster-whisper with its own defaults and its VAD filter, same weights. Quantised weights are
heard by ours alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import joined, made, official, watch
from benchmarks.faster import FasterWhisper, faster_whisper
from benchmarks.harness import Bench, CannotRun, Pcm
from benchmarks.official import MissingModel
from benchmarks.recordings import Clip, MissingRecordings, packaged, shared
from benchmarks.report import Figure
from benchmarks.words import Errors, Timing, errors, timing
from core.audio.samples import SAMPLE_RATE
from whisper.library.libraries import Library

OURS, SERIAL, FASTER = "ours", "whisper.cpp, one pass", "faster-whisper"
CLIPS, LONG, UNBROKEN = "clips", "long", "no pauses"
MODELS = {"base": ("q8_0", "q5_1"), "tiny.en": ("q8_0",)}
"""Sizes, and in which quantisations they are tried too."""

LONG_ENOUGH = 3.0
"""Seconds from which on a clip's language must be recognised."""


@dataclass(frozen=True, kw_only=True)
class File:
    """Something to be heard: text "" = nobody speaks; words: aligned ones; made = put together of clips"""

    name: str
    pcm: Pcm
    source: Path
    language: str
    text: str
    words: tuple[tuple[str, float, float], ...] = ()
    made: bool = False

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_RATE


@dataclass(kw_only=True)
class Way:
    """What one way heard, by file: text, language where it was asked for, words with times where there are any."""

    name: str
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    def errors(self, files: Sequence[File]) -> Errors:
        found = [errors(file.text, self.answers[file.name]["text"], file.language) for file in files]
        return sum(found, Errors())


def run(bench: Bench) -> None:
    try:
        files = material(bench)
        for size in bench.pick(smoke=("tiny.en",), bench=tuple(MODELS), full=tuple(MODELS)):
            _size(bench, size, files)
    except (MissingModel, MissingRecordings) as error:
        raise CannotRun(str(error)) from error


def material(bench: Bench) -> dict[str, list[File]]:
    """By group: the clips, two long files made of the English ones, wordless sounds. Raises MissingRecordings."""
    clips = [
        clip for clip in (*packaged(), *shared()) if clip.text is not None and clip.name != "jfk.flac"
    ]  # there is a jfk.wav
    if bench.smoke:  # to read all of them takes longer than what is done with a few
        timed = next(clip for clip in clips if clip.words and len(clip.samples()) > LONG_ENOUGH * SAMPLE_RATE)
        clips = [clip for clip in clips if clip.name in (timed.name, "jfk.wav")]
    spoken = [clip for clip in clips if clip.spoken]
    english = [clip for clip in spoken if clip.language == "en" and len(clip.samples()) > LONG_ENOUGH * SAMPLE_RATE]
    minutes = bench.pick(smoke=(0.1, 0.0), bench=(25.0, 5.0), full=(25.0, 20.0))
    groups = {CLIPS: [_of(bench, clip) for clip in spoken], "wordless": _wordless(bench, clips)}
    for name, make, length in ((LONG, joined.with_pauses, minutes[0]), (UNBROKEN, joined.unbroken, minutes[1])):
        if length:
            pcm, truth = make(english, length)
            text = " ".join(one["text"] for one in truth["utterances"])
            groups[name] = [File(name=name, pcm=pcm, source=bench.wav(pcm, name), language="en", text=text, made=True)]
    return groups


def _of(bench: Bench, clip: Clip) -> File:
    return File(
        name=clip.name,
        pcm=clip.samples(),
        source=clip.path,
        language=clip.language,
        text=clip.text or "",
        words=clip.words,
    )


def _wordless(bench: Bench, clips: Sequence[Clip]) -> list[File]:
    """Silence, white noise, chords, and the recordings of noise."""
    seconds = bench.pick(smoke=2, bench=120, full=900)
    t = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * (220 * 2 ** (np.floor(2 * t) * 7 % 12 / 12)) * k * t) / k for k in range(1, 6))
    sounds = {
        "silence": np.zeros(len(t), np.int16),
        "white noise": np.random.default_rng(1).normal(0, 1000, len(t)).astype(np.int16),
        "music": (2500 * tones * np.exp(-3 * (t % 0.5))).astype(np.int16),
    }
    made_up = [
        File(name=name, pcm=pcm, source=bench.wav(pcm, name), language="", text="") for name, pcm in sounds.items()
    ]
    return made_up + [_of(bench, clip) for clip in clips if not clip.spoken]


def _size(bench: Bench, size: str, groups: dict[str, list[File]]) -> None:
    library, model = bench.libraries()[0], official.model(size)
    understood = [file for file in groups[CLIPS] if size == "base" or file.language == "en"]
    heard = {**groups, CLIPS: understood}
    ways = [_ours(bench, library, model, heard)]
    if not bench.smoke:
        ways += [_serial(bench, library, model, heard), _faster(bench, faster_whisper(bench, size), heard)]
    for way in ways:
        _judge(bench, size, way, ways, heard)
    for kind in MODELS[size] if not bench.smoke else ():
        fewer = heard if bench.scale == "full" else {CLIPS: understood, "wordless": heard["wordless"]}
        name = f"{size}-{kind}"
        _judge(bench, name, _ours(bench, library, official.model(size, kind), fewer), (), fewer)


def _ours(bench: Bench, library: Library, model: Path, groups: dict[str, list[File]]) -> Way:
    way = Way(name=OURS)
    name = made.setting(model)[1].removeprefix("local:")
    quick = {"ENCODER_CONTEXT": "fit"} if bench.smoke else {}
    with bench.service(library, model, **quick) as service:
        for group, files in groups.items():
            bench.say(f"{name}: {OURS}, {group}")
            with bench.span() as taken:
                for timed in (True, False):
                    some = [file for file in files if bool(file.words) == timed]
                    results = watch.results(
                        service, [file.source for file in some], {"word_timestamps": str(timed).lower()}
                    )
                    for file, result in zip(some, results, strict=True):
                        way.answers[file.name] = _answer(result)
            way.cpu[group] = taken.own
    return way


def _answer(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": result["text"],
        "language": result["language"]["code"],
        "words": [
            (word["word"], word["start"], word["end"])
            for segment in result["segments"]
            for word in segment.get("words", ())
        ],
    }


def _serial(bench: Bench, library: Library, model: Path, groups: dict[str, list[File]]) -> Way:
    """Each file by itself, two at a time: a process each that is given the language."""
    way = Way(name=SERIAL)
    for group, files in groups.items():
        bench.say(f"{model.stem}: {SERIAL}, {group}")
        for language in dict.fromkeys(file.language for file in files):
            some = [file for file in files if file.language == language]
            pcm, ends = np.concatenate([file.pcm for file in some]), np.cumsum([len(file.pcm) for file in some])
            spans = [[int(end) - len(file.pcm), int(end)] for file, end in zip(some, ends, strict=True)]
            width = min(len(some), bench.cores)
            taken, answer = bench.peer(
                mode="spawn",
                library=library.directory,
                model=model,
                pcm=pcm,
                spans=spans,
                processes=width,
                threads=bench.cores // width,
                language=language.partition("+")[0] or "en",
            )
            way.answers |= {file.name: {"text": text} for file, text in zip(some, answer["texts"], strict=True)}
            way.cpu[group] = way.cpu.get(group, 0.0) + taken.own
    return way


def _faster(bench: Bench, peer: FasterWhisper, groups: dict[str, list[File]]) -> Way:
    way = Way(name=FASTER)
    for group, files in groups.items():
        bench.say(f"{peer.model.name}: {FASTER}, {group}")
        for timed in (True, False):
            some = [file for file in files if bool(file.words) == timed]
            if some:
                taken, answers = peer.hear([file.pcm for file in some], times=timed)
                way.answers |= {file.name: answer for file, answer in zip(some, answers, strict=True)}
                way.cpu[group] = way.cpu.get(group, 0.0) + taken.own
    return way


def _judge(bench: Bench, model: str, way: Way, ways: Sequence[Way], groups: dict[str, list[File]]) -> None:
    """The figures of one way, held against the others' where it is ours and the model base."""
    goal = "accuracy" if way.name == OURS and model == "base" else ""
    add = bench.result.figures.append
    for group in (group for group in (CLIPS, LONG, UNBROKEN) if group in groups):
        english = [file for file in groups[group] if file.language == "en"]
        found = way.errors(english)
        bound = (
            min((_bound(other, other.errors(english)) for other in ways if other is not way), default=None)
            if goal
            else None
        )
        add(
            Figure(
                name=f"{model}: WER, {group}, {way.name}",
                value=found.rate,
                unit="%",
                goal=goal if bound is not None else "",
                at_most=bound,
            )
        )
        bench.result.details.setdefault("errors", []).append(
            {"model": model, "way": way.name, "group": group} | asdict(found)
        )
        if group != CLIPS:
            add(Figure(name=f"{model}: words lost, {group}, {way.name}", value=found.deletions))
        if group in way.cpu:
            add(
                Figure(
                    name=f"{model}: CPU ÷ audio, {group}, {way.name}",
                    value=way.cpu[group] / sum(f.seconds for f in groups[group]),
                )
            )
    invented = sum(len(way.answers[file.name]["text"].split()) for file in groups["wordless"])
    hours = sum(file.seconds for file in groups["wordless"]) / 3600
    _bounded(add, f"{model}: invented words per hour, {way.name}", invented / hours, goal, 0.0)
    together = sum(
        (timing(file.words, way.answers[file.name].get("words", ())) for file in groups[CLIPS] if file.words), Timing()
    )
    if together.starts:
        for share, name, most in ((50, "median", 60.0), (95, "95th percentile", 200.0)):
            _bounded(
                add,
                f"{model}: starts of words off by, {name}, {way.name}",
                1000 * together.percentile(share),
                goal,
                most,
                "ms",
            )
    if model.startswith("base") and way.name != SERIAL:
        wrong = [file.name for file in groups[CLIPS] if file.seconds >= LONG_ENOUGH and _mistaken(file, way)]
        _bounded(add, f"{model}: clips in a wrong language, {way.name}", len(wrong), goal, 0.0)
    bench.result.details.setdefault("clips", []).extend(
        {
            "model": model,
            "way": way.name,
            "file": file.name,
            "language": file.language,
            "seconds": round(file.seconds, 2),
            "text": way.answers[file.name]["text"],
        }
        | asdict(errors(file.text, way.answers[file.name]["text"], file.language))
        for file in groups[CLIPS]
    )


def _bound(other: Way, found: Errors) -> float:
    """Ours may be as bad as whisper.cpp, and 0.2 points worse than faster-whisper, whose search is wider (beam 5)."""
    return found.rate + (0.2 if other.name == FASTER else 0.0)


def _bounded(add: Callable[[Figure], None], name: str, value: float, goal: str, most: float, unit: str = "") -> None:
    add(Figure(name=name, value=value, unit=unit, goal=goal, at_most=most if goal else None))


def _mistaken(file: File, way: Way) -> bool:
    return way.answers[file.name]["language"] not in file.language.split("+")
