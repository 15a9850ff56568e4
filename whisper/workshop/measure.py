"""How fast a libwhisper is on this machine, and what it makes of some speech: measured in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.audio.samples import Pcm
from core.errors import EngineUnavailable
from whisper.library.inference import Inference, Samples
from whisper.library.libraries import Library
from whisper.library.libwhisper import LibraryUnusable, LibWhisper
from whisper.types import LONGEST, SHORTEST
from whisper.wire.process import die_with, engine_environment, no_core_dumps, python_command

TIMEOUT = 900.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One thread, `audio_seconds` of audio in windows of up to 30 s; seconds of the fastest pass."""

    audio_seconds: float
    cpu_seconds: float
    wall_seconds: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(library: Library, model: Path, pcm: Pcm, *, passes: int = 2, timeout: float = TIMEOUT) -> Figures:
    """Decode the speech `passes` times with one thread. Raises EngineUnavailable, saying what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder, "audio.f32")
        (np.asarray(pcm, np.float32) / np.float32(32768)).astype("<f4").tofile(audio)
        command = python_command(
            "whisper.workshop.measure",
            "--library",
            str(library.directory.absolute()),
            "--model",
            str(model.absolute()),
            "--audio",
            str(audio),
            "--passes",
            str(passes),
            "--parent",
            str(os.getpid()),
        )
        try:
            done = subprocess.run(
                command,
                env=engine_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineUnavailable(f"Measuring {library.directory} took longer than {timeout:.0f} s.") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
        raise EngineUnavailable(f"Measuring {library.directory} failed: {said[-1]}")
    return Figures(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(prog="whisper.workshop.measure", description="Time a libwhisper.")
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True, help="f32le, mono, 16 kHz")
    parser.add_argument("--passes", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    die_with(options.parent)
    no_core_dumps()
    try:
        lib = LibWhisper(options.library)
        core = Inference(lib, lib.load_model(options.model), threads=1)
    except (LibraryUnusable, ValueError) as error:
        sys.exit(str(error))
    data = options.audio.read_bytes()
    runs = []
    for _ in range(options.passes):
        replies = []
        for start in range(0, len(data), 4 * LONGEST):
            window = data[start : start + 4 * LONGEST]
            if len(window) >= 4 * SHORTEST:
                samples = Samples(len(window) // 4)
                samples.bytes()[:] = window
                replies.append(core.transcribe(samples, {"language": "en"}))
        cpu, wall = (sum(reply[name] for reply in replies) for name in ("engine_seconds", "wall_seconds"))
        text = " ".join(segment["text"] for reply in replies for segment in reply["segments"])
        runs.append(Figures(audio_seconds=len(data) / 64_000, cpu_seconds=cpu, wall_seconds=wall, text=text))
    print(json.dumps(min(runs, key=lambda run: run.cpu_seconds).to_dict()))


if __name__ == "__main__":
    main()
