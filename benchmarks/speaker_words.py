"""Words with the right speaker: conversations whose words and speakers are known, through the whole service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import official, watch
from benchmarks.conversations import Bank, Conversation, Style, conversation, made_voices, readers
from benchmarks.der import best_match
from benchmarks.harness import Bench, CannotRun
from benchmarks.official import MissingModel
from benchmarks.recordings import MissingRecordings
from benchmarks.report import Figure
from benchmarks.words import align, plain
from whisper import DEMO_MODEL

DEMO, BASE = "demo model", "base"
IN_TURN = "in turn"
STYLES = {IN_TURN: Style(), "overlap": Style(overlap=0.35)}
"""Of words that two say at once one recogniser hears one, and nobody knows of whom: no goal."""
GOAL = 97.0
"""Per cent of the words that were heard right."""
SPEAKERS = (2, 3, 4)
TELLING = 3
"""Words on both sides of one that is shown."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A word that was heard right. right: said by whom it is given to, at the best match of people and speakers"""

    word: str
    start: float
    end: float
    said_by: str
    given_to: str | None
    right: bool
    around: str


def run(bench: Bench) -> None:
    try:
        _model(bench, DEMO, DEMO_MODEL, made_voices(few=bench.smoke))
        if not bench.smoke:
            _model(bench, BASE, official.model("base"), readers(noisy=True))
    except (MissingModel, MissingRecordings) as error:
        raise CannotRun(str(error)) from error


def _model(bench: Bench, name: str, model: Path, people: Bank) -> None:
    styles = {IN_TURN: STYLES[IN_TURN]} if bench.smoke else STYLES
    minutes = bench.pick(smoke=0.4, bench=2.0, full=10.0)
    conversations = {
        style: [
            conversation(number, 60 * minutes, STYLES[style], seed=100 * number + len(style), people=people)
            for number in ((2,) if bench.smoke else SPEAKERS)
        ]
        for style in styles
    }
    every = [one for found in conversations.values() for one in found]
    bench.say(f"{name}: {len(every)} conversations of {minutes:g} min")
    sources = [bench.wav(one.pcm, f"{name}-{n}") for n, one in enumerate(every)]
    with bench.service(bench.libraries()[0], model) as service:
        options = {"diarize": "true", "word_timestamps": "true", "language": "en"}
        results = iter(watch.results(service, sources, options))
    for style, found in conversations.items():
        words = [given(one, next(results)) for one in found]
        _figures(bench, f"{name}, {style}", words, in_turn=style == IN_TURN)


def _figures(bench: Bench, name: str, words: Sequence[Sequence[Heard]], *, in_turn: bool) -> None:
    every = [word for one in words for word in one]
    wrong = [word for word in every if not word.right]
    bench.result.figures += [
        Figure(
            name=f"{name}: words with the right speaker",
            value=100 * (1 - len(wrong) / max(1, len(every))),
            unit="%",
            goal="S7" if in_turn else "",
            at_least=GOAL if in_turn else None,
            judged=not bench.smoke,
        ),
        Figure(name=f"{name}: words heard right", value=len(every)),
    ]
    bench.result.details[name] = [[asdict(word) for word in one if not word.right] for one in words]


def given(truth: Conversation, result: Mapping[str, Any]) -> list[Heard]:
    """The words of the conversation that were heard right. result: a job's, with times of words"""
    said = [(word, who) for who, text in truth.said for word in _plain(text.split())]
    heard = [word for segment in result["segments"] for word in segment["words"] if plain(word["word"])]
    pairs = [
        (i, j)
        for i, j in align([word for word, _ in said], [plain(word["word"]) for word in heard])[0]
        if said[i][0] == plain(heard[j]["word"])
    ]
    people = sorted({who for _, who in said})
    speakers = sorted({word["speaker"] for word in heard if word["speaker"]})
    shared = np.zeros((len(people), len(speakers)))
    for i, j in pairs:
        if speaker := heard[j]["speaker"]:
            shared[people.index(said[i][1]), speakers.index(speaker)] += 1
    match = {people[row]: speakers[column] for row, column in best_match(shared).items()}
    found = []
    for i, j in pairs:
        word, who = heard[j], match.get(said[i][1])
        found.append(
            Heard(
                word=word["word"],
                start=word["start"],
                end=word["end"],
                said_by=who or said[i][1],
                given_to=word["speaker"],
                right=who is not None and word["speaker"] == who,
                around=" ".join(one["word"] for one in heard[max(0, j - TELLING) : j + TELLING + 1]),
            )
        )
    return found


def _plain(words: Iterable[str]) -> list[str]:
    return [bare for word in words if (bare := plain(word))]
