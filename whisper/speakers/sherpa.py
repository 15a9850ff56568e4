"""sherpa-onnx on our two networks, another way to find out who speaks when: a program of its own, for what kills it kills no job.

`python -m whisper.speakers.sherpa OPTIONS < samples`: mono PCM at 16 kHz as s16le in, JSON lines out: {"share": done so far}
each time there is more, at the end {"turns": [[start, end, voice]], "voices": [[192 numbers]]}.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from core.audio.samples import SAMPLE_RATE
from core.errors import ServiceError
from whisper.wire.process import die_with, no_core_dumps

DISTANCE = 0.7
"""Of clusters; with 0.9 two people of a telephone call become one (complete linkage, the same embeddings)."""
_VOICE_SECONDS, _VOICE_TURNS = 10.0, 3
"""What a voice sounds like is taken from so many of its longest turns, and so much of each."""


def installed_version() -> str:
    """Raises ServiceError, with what to do, where the package is missing."""
    try:
        return version("sherpa-onnx")
    except PackageNotFoundError:
        raise ServiceError("DIARIZATION_BACKEND=sherpa needs sherpa-onnx: pip install 'parascribe[sherpa]'.") from None


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--segmentation", required=True)
    parser.add_argument("--embedding", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--exact", type=int, default=0, help="how many people speak; 0: not known")
    parser.add_argument("--least", type=int, default=1)
    parser.add_argument("--most", type=int, default=20)
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    options = parser.parse_args()
    die_with(options.parent)
    no_core_dumps()
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what the library has to say is no answer
        found = _found(options, sys.stdin.buffer.read(), lambda line: print(json.dumps(line), file=out, flush=True))
        print(json.dumps(found), file=out)


def _found(options: Namespace, data: bytes, say: Any) -> dict[str, Any]:
    import numpy as np
    import sherpa_onnx

    samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    embedding = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=options.embedding, num_threads=options.threads)
    pyannote = sherpa_onnx.OfflineSpeakerSegmentationPyannoteModelConfig(model=options.segmentation)

    def turns(speakers: int) -> list[tuple[float, float, int]]:
        """speakers: -1: as many as are heard"""
        diarization = sherpa_onnx.OfflineSpeakerDiarization(
            sherpa_onnx.OfflineSpeakerDiarizationConfig(
                segmentation=sherpa_onnx.OfflineSpeakerSegmentationModelConfig(
                    pyannote=pyannote, num_threads=options.threads
                ),
                embedding=embedding,
                clustering=sherpa_onnx.FastClusteringConfig(num_clusters=speakers, threshold=DISTANCE),
                min_duration_on=0.1,
                min_duration_off=0.0,
            )
        )

        def done(parts: int, of: int) -> int:
            say({"share": 0.95 * parts / max(1, of)})
            return 0

        result = diarization.process(samples, callback=done)
        return [(turn.start, turn.end, turn.speaker) for turn in result.sort_by_start_time()]

    found = turns(options.exact or -1)
    heard = len({voice for _, _, voice in found})
    if found and not options.exact and not options.least <= heard <= options.most:
        found = turns(min(max(heard, options.least), options.most))
    if not found:
        return {"turns": [], "voices": []}
    names = {voice: n for n, voice in enumerate(dict.fromkeys(voice for _, _, voice in found))}
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(embedding)

    def sounds(voice: int) -> list[float]:
        longest = sorted((turn for turn in found if turn[2] == voice), key=lambda turn: turn[0] - turn[1])
        total = np.zeros(extractor.dim)
        for start, end, _ in longest[:_VOICE_TURNS]:
            seconds = min(end - start, _VOICE_SECONDS)
            stream = extractor.create_stream()
            stream.accept_waveform(SAMPLE_RATE, samples[int(start * SAMPLE_RATE) :][: int(seconds * SAMPLE_RATE)])
            stream.input_finished()
            total += seconds * np.array(extractor.compute(stream)) if extractor.is_ready(stream) else 0.0
        return [round(float(one), 6) for one in total / max(float(np.linalg.norm(total)), 1e-9)]

    return {
        "turns": [[start, end, names[voice]] for start, end, voice in found],
        "voices": [sounds(voice) for voice in names],
    }


if __name__ == "__main__":
    main()
