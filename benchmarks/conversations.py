"""Conversations put together from recordings of single people, with the exact turns and, where recordings are not cut, the words.

The reference leaves out pauses of more than 0.25 s, found by loudness, which knows nothing of any model under test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.der import Spoken
from benchmarks.recordings import SHARED, MissingRecordings, shared
from core.audio.samples import SAMPLE_RATE, Pcm
from testbed import audio_bank

Floats = NDArray[np.float32]

LEVEL = 0.05
"""Root mean square of each recording before its speaker's gain."""
NOISY = "/1688-"
"""A reader whose room clicks as loudly as he speaks softly: loudness cannot tell when he does."""
FEW = {"libri/2412-153948-0000.flac": "2412", "libri/libri-1088-134315-0000.wav": "1088"}
"""Readers of whom there is one recording: they take part where the others do not suffice."""
MADE = ("flite-rms", "flite-kal16", "espeak-en-us+Annie", "espeak-en-gb-scotland+m5")
"""Of the bank's voices, most of which are one synthesiser with other formants, those that CAM++ takes for different people:
cosines of 0.2 at most; of two sentences of one of them 0.8."""
_STEP = SAMPLE_RATE // 100
_PAUSE = 0.25


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What one person says without a break."""

    samples: Floats
    text: str

    @staticmethod
    def of(pcm: Pcm, text: str) -> Recording:
        """As loud as all others."""
        samples = pcm.astype(np.float32) / 32768
        return Recording(samples=samples / np.sqrt((samples**2).mean()) * LEVEL, text=text)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """said: (who, text) by when each begins, of recordings that are heard from their start to their end; turns as all are"""

    pcm: Pcm
    turns: tuple[Spoken, ...]
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Style:
    """short: turns of 1 to 3 s instead of whole utterances; overlap: share of turns that begin in another's; room: with
    reverberation and noise"""

    short: bool = False
    overlap: float = 0.0
    room: bool = False


Bank = dict[str, list[Recording]]
"""By speaker."""


def readers(least: int = 0, *, noisy: bool = False) -> Bank:
    """Of LibriSpeech, so many or more; `noisy`: the one too whose turns nobody can tell. Raises MissingRecordings."""
    found: Bank = {}
    for clip in shared():
        if clip.name.startswith("test-other/") and (noisy or NOISY not in clip.name):
            found.setdefault(clip.path.name.split("-")[0], []).append(Recording.of(clip.samples(), clip.text or ""))
    if least > len(found):
        few = (clip for clip in shared() if clip.name in FEW)
        found |= {FEW[clip.name]: [Recording.of(clip.samples(), clip.text or "")] for clip in few}
    return found


def made_voices(*, few: bool = False) -> Bank:
    """Synthetic ones that say what the demo model understands. few: the sentences that come with the project alone.

    Raises MissingRecordings.
    """
    data = audio_bank.DATA if few else SHARED.parent / "bank"
    if not data.is_dir():
        raise MissingRecordings(f"there are no sentences in {data}")
    found = audio_bank.voices(*MADE, data=data)
    return {speaker: [Recording.of(pcm, text) for pcm, text in sentences] for speaker, sentences in found.items()}


def conversation(speakers: int, seconds: float, style: Style, *, seed: int, people: Bank | None = None) -> Conversation:
    """Everybody may follow anybody else; all take part. people: `readers`, if nobody is named"""
    rng = np.random.default_rng(seed)
    people = people or readers(speakers)
    names = [str(name) for name in rng.permutation(sorted(people))[:speakers]]
    said = {name: _endless(people[name], style, rng) for name in names}
    total = round(seconds * SAMPLE_RATE)
    mix, turns, texts = np.zeros(total + 40 * SAMPLE_RATE, np.float32), [], []
    at, last, length = SAMPLE_RATE // 2, "", 0
    queue = [str(name) for name in rng.permutation(names)]  # all of them once, then anybody
    while at < total:
        name = queue.pop() if queue else str(rng.choice([one for one in names if one != last] or names))
        samples, parts, text = next(said[name])
        start = at
        if last and last != name and rng.random() < style.overlap:
            start = max(0, at - round(rng.uniform(0.3, min(1.5, length / SAMPLE_RATE * 0.6) + 0.31) * SAMPLE_RATE))
        mix[start : start + len(samples)] += samples
        turns += [((start + a) / SAMPLE_RATE, (start + b) / SAMPLE_RATE, name) for a, b in parts]
        if text and start + len(samples) <= total:
            texts.append((start, name, text))
        length, last = len(samples), name
        at = max(at, start + len(samples)) + round(rng.uniform(0.05, 0.6) * SAMPLE_RATE)
    mix = mix[:total] + rng.normal(0, 0.002 if style.room else 0.0003, total).astype(np.float32)
    mix /= max(1.0, float(np.abs(mix).max()) / 0.95)
    cut = [(start, min(end, seconds), who) for start, end, who in sorted(turns) if start < seconds]
    return Conversation(
        pcm=(mix * 32767).astype(np.int16),
        turns=tuple(cut),
        said=tuple((name, text) for _, name, text in sorted(texts)),
    )


def _endless(
    recordings: list[Recording], style: Style, rng: np.random.Generator
) -> Iterator[tuple[Floats, list[tuple[int, int]], str]]:
    """What one person says, each time with the spans of speech in it and, if it is whole, the text: at their own level, in
    their own room."""
    gain = 10 ** (rng.uniform(-5, 5) / 20)
    room = _room(rng) if style.room else None
    while True:
        for n in rng.permutation(len(recordings)):
            whole = recordings[n].samples
            spans = _spoken(whole)
            for start, end in _short(whole, spans, rng) if style.short else [(0, len(whole))]:
                part = whole[start:end] * gain
                inside = [(max(a, start) - start, min(b, end) - start) for a, b in spans if b > start and a < end]
                if room is not None:
                    part = np.convolve(part, room)[: len(part)].astype(np.float32)
                if inside:
                    yield part, inside, "" if style.short else recordings[n].text


def _spoken(samples: Floats) -> list[tuple[int, int]]:
    """Half-open spans of samples that are loud, with the shorter pauses in them."""
    frames = len(samples) // _STEP
    loudness = 10 * np.log10(np.maximum((samples[: frames * _STEP].reshape(frames, _STEP) ** 2).mean(axis=1), 1e-10))
    loudness = np.convolve(loudness, np.ones(3) / 3, "same")
    top, floor = np.percentile(loudness, [95, 5])
    loud = np.flatnonzero(loudness > max(top - 35, floor + 8, -58.0))
    found: list[tuple[int, int]] = []
    for frame in loud.tolist():
        if found and frame * _STEP - found[-1][1] < _PAUSE * SAMPLE_RATE:
            found[-1] = (found[-1][0], (frame + 1) * _STEP)
        else:
            found.append((frame * _STEP, (frame + 1) * _STEP))
    return [(a, b) for a, b in found if b - a > 0.08 * SAMPLE_RATE]


def _short(samples: Floats, spans: list[tuple[int, int]], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Parts of 1 to 3 s, cut where it is quietest."""
    at, end = spans[0][0], spans[-1][1]
    while end - at > 0.9 * SAMPLE_RATE:
        cut = at + round(rng.uniform(1.0, 3.0) * SAMPLE_RATE)
        if cut > end - SAMPLE_RATE // 2:
            cut = end
        else:
            low, high = cut - round(0.3 * SAMPLE_RATE), min(end, cut + round(0.3 * SAMPLE_RATE))
            loudness = [float((samples[n : n + 320] ** 2).mean()) for n in range(low, high - 320, 160)]
            cut = low + 160 * int(np.argmin(loudness))
        yield at, cut
        at = cut


def _room(rng: np.random.Generator) -> Floats:
    """An impulse response: the direct sound, then noise that dies away within 0.2 to 0.5 s."""
    length = round(rng.uniform(0.2, 0.5) * SAMPLE_RATE)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail[0] = 0.0
    response = 0.25 * tail / np.sqrt((tail**2).sum())
    response[0] = 1.0
    found: Floats = response.astype(np.float32)
    return found
