"""The same without overlap and without a pool: one loop that takes what has come, looks for its ends, and waits for the engine.

Detector, endpoints, requests and their options are those of the service's streams, and the engine's one worker has all cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Pcm
from benchmarks.live.speech import Talk
from benchmarks.meter import CORES
from core.audio.samples import SAMPLE_RATE, Region
from core.speech.quiet_speech import QuietSpeech
from core.speech.regions import FRAME
from testbed.live import streams
from whisper import VAD_MODEL
from whisper.types import ChunkTranscript, TranscribeOptions
from whisper.vad.model import SileroModel
from whisper.vad.silero import SileroVad
from worker.live.stages.endpoints import Edge, Endpoints
from worker.live.stages.recogniser import SLOWER, STEP

BLOCK = SAMPLE_RATE // 10
SILENCE = round(0.4 * SAMPLE_RATE)

FINALS = TranscribeOptions(language="en", word_timestamps=True, fit_context=True)
PARTIALS = replace(FINALS, word_timestamps=False, ladder=False)


@dataclass(kw_only=True)
class _Stream:
    pcm: Pcm
    endpoints: Endpoints
    score: QuietSpeech
    began: float = 0.0
    at: int = 0
    #: where the utterance that is open is heard from, up to where a partial has heard it, and what that took
    open: int | None = None
    partly: int = 0
    took: float = 0.0
    #: (true position of the end in seconds, seconds until the text was there)
    late: list[tuple[float, float]] = field(default_factory=list)


def play_in_turn(
    folder: Path, talks: Sequence[Talk], *, model: Path | None, library: Path, speed: float = 1.0, threads: int = CORES
) -> list[list[tuple[float, float]]]:
    """Of each stream's finals: where its speech ends by the detector, and seconds from then until its text was there."""
    with streams(folder, model=model, workers=1, threads=threads, library=library, log_level="WARNING") as parts:
        ask = partial(parts.transcriber.transcribe, model=parts.model)
        ask(talks[0].pcm[: 3 * SAMPLE_RATE], FINALS)  # the model is loaded
        silero = SileroModel.read(VAD_MODEL)
        there = [
            _Stream(pcm=talk.pcm, endpoints=Endpoints(silence=SILENCE), score=QuietSpeech(SileroVad(silero).feed))
            for talk in talks
        ]
        began = time.monotonic()
        for n, stream in enumerate(there):
            stream.began = began + n / len(there)
        while any(stream.at + FRAME <= len(stream.pcm) for stream in there):
            came = [_look(stream, ask, speed) for stream in there]
            if not any(came):
                time.sleep(0.005)
    return [stream.late for stream in there]


def _look(stream: _Stream, ask: partial[ChunkTranscript], speed: float) -> bool:
    """Whether anything had come."""
    came = min(len(stream.pcm), int((time.monotonic() - stream.began) * speed * SAMPLE_RATE)) // BLOCK * BLOCK
    if came == len(stream.pcm) // BLOCK * BLOCK:
        came = len(stream.pcm)
    whole = (came - stream.at) // FRAME * FRAME
    if whole <= 0:
        return False
    block = stream.pcm[stream.at : stream.at + whole]
    stream.at += whole
    for found in stream.endpoints.feed(stream.score(block)):
        if found.edge is Edge.BEGUN:
            stream.open = stream.partly = found.heard.start
        elif found.edge is Edge.ENDED:
            stream.open = None
            ask(_read(stream.pcm, found.heard), FINALS)
            end = found.speech.end / SAMPLE_RATE
            stream.late.append((end, time.monotonic() - stream.began - end / speed))
    step = max(STEP, round(SLOWER * stream.took * SAMPLE_RATE))
    if stream.open is not None and not stream.endpoints.is_quiet and stream.at - stream.partly >= step:
        began, stream.partly = time.monotonic(), stream.at
        ask(_read(stream.pcm, Region(start=stream.open, end=stream.at)), PARTIALS)
        stream.took = time.monotonic() - began
    return True


def _read(pcm: Pcm, region: Region) -> Pcm:
    return np.ascontiguousarray(pcm[region.start : region.end])
