"""Speech of any length with its exact truth, put together from recorded sentences (testbed/data/bank.flac).

The sentences are synthetic voices reading the small grammar that the demo model knows, in English
and German. Same arguments, same samples: tests and benchmarks may rely on it.
"""

from __future__ import annotations

import json
import random
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from core.audio.samples import SAMPLE_RATE

DATA = Path(__file__).parent / "data"


def speech(
    minutes: float = 0.5,
    seed: int = 1,
    lang: str = "en",
    silence: float = 0.0,
    gap: tuple[float, float] = (0.2, 0.9),
    noise_db: float | None = 40.0,
) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """Mono 16 kHz samples of exactly `minutes`, and what is said in them.

    silence: share of the file that is long silence (holes of 4-20 s)
    gap: shortest and longest pause between sentences, seconds
    noise_db: white noise that far below the speech; None = digital silence between sentences

    Truth: {"duration", "lang", "text", "utterances": [{"start", "end", "text", "text_en", "speaker"}]}, seconds.
    """
    rng = random.Random(seed)
    bank, index = _bank()
    sentences = [item for item in index if item["lang"] == lang]
    samples = round(minutes * 60 * SAMPLE_RATE)
    mix = np.zeros(samples, np.float32)
    if noise_db is not None:
        mix += np.random.default_rng(seed).standard_normal(samples, dtype=np.float32) * (3000 * 10 ** (-noise_db / 20))
    utterances: list[dict[str, Any]] = []
    position, silent = rng.uniform(0.2, 1.0), 0.0
    while True:
        if silent < silence * position and rng.random() < 0.5:
            hole = rng.uniform(4, 20)
            position, silent = position + hole, silent + hole
        item = rng.choice(sentences)
        start, length = int(position * SAMPLE_RATE), item["end"] - item["start"]
        end = position + length / SAMPLE_RATE
        if start + length > samples - SAMPLE_RATE // 5:
            break
        mix[start : start + length] += bank[item["start"] : item["end"]] * np.float32(rng.uniform(0.5, 1.0))
        said = {key: item[key] for key in ("text", "text_en", "speaker")}
        utterances.append({"start": round(position, 3), "end": round(end, 3), **said})
        position = end + rng.uniform(*gap)
    text = " ".join(u["text"] for u in utterances)
    truth = {"duration": samples / SAMPLE_RATE, "lang": lang, "text": text, "utterances": utterances}
    return np.clip(mix, -32768, 32767).astype(np.int16), truth


def sentence(number: int) -> tuple[NDArray[np.int16], str]:
    """One sentence of the bank by its number: samples and words."""
    bank, index = _bank()
    item = index[number]
    return bank[item["start"] : item["end"]], item["text"]


def voices(*names: str, data: Path = DATA) -> dict[str, list[tuple[NDArray[np.int16], str]]]:
    """By speaker: samples and words of each English sentence. data: folder of another bank, with more of them"""
    bank, index = _bank(data)
    found: dict[str, list[tuple[NDArray[np.int16], str]]] = {}
    for item in index:
        if item["lang"] == "en" and item["speaker"] in names:
            found.setdefault(item["speaker"], []).append((bank[item["start"] : item["end"]], item["text"]))
    return found


def write(path: Path, pcm: NDArray[np.int16], *options: str) -> Path:
    """Encode 16 kHz samples as whatever the suffix says; `options` are ffmpeg output options (-c:a, -ar ...)."""
    source = ("-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:0")
    ffmpeg(*source, *options, "-y", str(path), stdin=pcm.astype("<i2").tobytes())
    return path


def ffmpeg(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run the wheel's ffmpeg with arguments of the tests' own; returns its stdout."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "error", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, f"ffmpeg {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout


@cache
def _bank(data: Path = DATA) -> tuple[NDArray[np.int16], list[dict[str, Any]]]:
    """All sentences' samples end to end, and where each lies (start, end in samples); decoded once per process."""
    pcm = np.frombuffer(ffmpeg("-i", str(data / "bank.flac"), "-f", "s16le", "pipe:1"), "<i2")
    return pcm, json.loads((data / "bank.json").read_text(encoding="utf-8"))
