"""Every odd file of the corpus is heard whole, at the time a player shows, and what is odd about it is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.audio.decoder import Decoder
from core.audio.ffmpeg import find
from core.audio.probe import probe
from core.audio.samples import SAMPLE_RATE
from core.audio.sniff import HEAD_BYTES, sniff
from core.audio.tracks import TrackChoice
from core.config.settings import Settings
from core.speech.regions import ScoredRegions, SpeechRegions
from core.transcript.language_tags import language_code
from parascribe.run.local import transcribe_files
from testbed.audio_bank import sentence
from tests.media.corpus import CORPUS
from tests.media.made import LEAD, NUMBERS, Pcm, clip
from tests.whisper.engine_parts import MODEL, WHEEL
from tests.whisper.test_context import samples_of
from whisper import VAD_MODEL
from whisper.library.inference import Inference
from whisper.library.libwhisper import LibWhisper
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad

FFMPEG = find()
#: the engine hears each sentence by itself, with so much before it, seconds in all
AROUND = 0.3
LENGTH = 2.4
#: what no silence is
LOUD = 1500
#: so like its clip (cross-correlation, 1 = the same) that it sounds the same; lossy codecs for music give 0.97 to 1
ALIKE = 0.97
OPTIONS = {"language": "en", "fit_context": True}


@pytest.fixture(scope="session")
def inference() -> Iterator[Inference]:
    lib = LibWhisper(WHEEL.directory)  # must live as long as what uses it
    yield Inference(lib, lib.load_model(MODEL), threads=1)
    del lib


@pytest.fixture(scope="session")
def silero() -> SileroModel:
    return SileroModel.read(VAD_MODEL)


@pytest.mark.parametrize("n", range(len(NUMBERS)))
def test_the_clips_are_heard(n: int, inference: Inference) -> None:
    """So a file from which one of them comes as it went in need not be heard again: that takes most of the time."""
    heard = inference.transcribe(samples_of(clip(n)[: round(LENGTH * SAMPLE_RATE)]), OPTIONS)["segments"]
    assert words(segment["text"] for segment in heard) == words([sentence(NUMBERS[n])[1]])
    assert likeness(clip(n), clip(n)) > 0.999
    assert max(likeness(clip(n), clip(other)) for other in range(len(NUMBERS)) if other != n) < ALIKE / 2


@pytest.mark.parametrize("name", CORPUS)
def test_media(name: str, inference: Inference, silero: SileroModel, tmp_path: Path) -> None:
    medium = CORPUS[name]
    path = medium.make(tmp_path, name)
    media_type = sniff(path.read_bytes()[:HEAD_BYTES], name, partial(probe, FFMPEG))
    choice = TrackChoice(
        wanted=medium.track,
        speech=lambda: ScoredRegions(SileroVad(silero).feed, SpeechRegions()),
        language_code=language_code,
    )
    audio = Decoder(FFMPEG, max_seconds=600, choice=choice, media_type=media_type).decode(path, tmp_path / "spool")
    pcm = np.fromfile(tmp_path / "spool", "<i2")
    covered = np.zeros(len(pcm), bool)
    for start, text in medium.said:
        first = max(0, round((start - AROUND) * SAMPLE_RATE))
        part = slice(first, first + round(LENGTH * SAMPLE_RATE))
        if likeness(pcm[part], clip_of(text)) < ALIKE:
            heard = inference.transcribe(samples_of(pcm[part]), OPTIONS)["segments"]
            assert words(segment["text"] for segment in heard) == words([text]), audio
        assert first / SAMPLE_RATE + onset(pcm[part]) == pytest.approx(
            start + onset(clip_of(text)) - LEAD, abs=medium.tolerance
        ), audio
        covered[part] = True
    assert not (np.abs(pcm[~covered].astype(int)) > LOUD).any(), "something is heard where nothing was said"
    assert {warning.code for warning in audio.warnings} == medium.warnings, audio.warnings


def test_some_of_them_through_the_whole_job(tmp_path: Path) -> None:
    names = ["joined.webm", "first-silent.mka", "inverted.mp3", "conference.g722", "late1.5.ts"]
    paths = [CORPUS[name].make(tmp_path, name) for name in names]
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", whisper_model="demo", encoder_context="fit")
    results = transcribe_files(settings, paths, {"language": "en"})
    for name, result in zip(names, results, strict=True):
        medium = CORPUS[name]
        assert words(segment["text"] for segment in result["segments"]) == words(text for _, text in medium.said), name
        for segment, (start, _) in zip(result["segments"], medium.said, strict=True):
            assert segment["start"] == pytest.approx(start, abs=0.4), name
        assert {warning["code"] for warning in result["warnings"]} == medium.warnings, name


def likeness(pcm: Pcm, wanted: Pcm) -> float:
    """Greatest cross-correlation of the two at any lag, as a share of what they would have if they were the same."""
    one, other = pcm.astype(float), wanted[: len(pcm)].astype(float)
    size = 2 * len(one)
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    return float(np.abs(product).max() / max(1.0, np.linalg.norm(one) * np.linalg.norm(other)))


def onset(pcm: Pcm) -> float:
    """Seconds to the first 10 ms that are a sixth as loud as the loudest."""
    energy = np.abs(pcm[: len(pcm) // 160 * 160].astype(float)).reshape(-1, 160).mean(axis=1)
    return float(np.argmax(energy > energy.max() / 6)) / 100


def clip_of(text: str) -> Pcm:
    return next(clip(n) for n in range(len(NUMBERS)) if sentence(NUMBERS[n])[1] == text)


def words(texts: Iterable[str]) -> list[str]:
    return re.findall(r"\w+", " ".join(texts).lower())


def test_there_are_enough_of_them() -> None:
    assert len(CORPUS) >= 150


def test_the_page_names_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "media.md").read_text("utf-8")
    table = [line.rsplit(" | ", 1)[1] for line in page.splitlines() if line.startswith("| ")][1:]
    assert re.findall(r"`([^`]+)`", " ".join(table)) == [
        name for kind in dict.fromkeys(m.kind for m in CORPUS.values()) for name, m in CORPUS.items() if m.kind == kind
    ]
