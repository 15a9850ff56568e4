"""faster-whisper as its users call it, in an interpreter of its own (benchmarks.ct2_setup), started by path: imports nothing of ours.

`faster_peer.py JOB`, JOB being JSON: model (folder), audio (file of float32 at 16 kHz), spans [[start, end]] in samples,
times (whether words get times), parent (process id). All else is the package's default, but for the filter by voice activity.
Prints {"load", "decode", "answers": [{"text", "language", "words": [[word, start, end]]}]}, seconds of the wall clock.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import numpy as np
from faster_whisper import WhisperModel


def main() -> None:
    job = json.loads(sys.argv[1])
    threading.Thread(target=_watch, args=(job["parent"],), daemon=True).start()
    audio = np.fromfile(job["audio"], np.float32)
    began = time.monotonic()
    model = WhisperModel(job["model"], device="cpu", local_files_only=True)
    loaded = time.monotonic()
    answers = []
    for start, end in job["spans"]:
        segments, info = model.transcribe(audio[start:end], vad_filter=True, word_timestamps=job["times"])
        found = list(segments)
        answers.append(
            {
                "text": " ".join(segment.text.strip() for segment in found),
                "language": info.language,
                "words": [[word.word, word.start, word.end] for segment in found for word in segment.words or ()],
            }
        )
    print(json.dumps({"load": loaded - began, "decode": time.monotonic() - loaded, "answers": answers}))


def _watch(parent: int) -> None:
    """Ends with the benchmark, however that ends."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
