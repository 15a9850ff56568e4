"""A whisper-cli compatible program: what it can do, how it is asked, and how its answers are read.

The dialect is that of whisper.cpp's `whisper-cli` (formerly `main`) from 1.5 on; flags that came later are used
only where `--help` shows them. Outputs go by name beside the inputs: with `-of` they are matched by position, and a
missing input shifts them onto the wrong names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import ChunkFailed, EngineUnavailable
from core.transcript.languages import LANGUAGES, UNSPACED
from core.transcript.values import Segment, Word
from whisper.library.inference import compression_ratio
from whisper.library.phrases import Phrase, Token
from whisper.library.word_times import words_of
from whisper.types import LONGEST, SHORTEST, TranscribeOptions
from whisper.wire.process import engine_environment

log = logging.getLogger(__name__)

_PADDED = SAMPLE_RATE + SAMPLE_RATE // 10
"""Samples: below 1 s whisper.cpp up to 1.8.5 reads past its buffer (#3956), and it rounds down to 10 ms."""
_SPECIAL = re.compile(r"\[_[A-Z]+(_\d+)?_?\]")
_DETECTED = re.compile(r"auto-detected language: (\w+) \(p = ([\d.]+)\)")


class CliProgram:
    """An executable. Raises EngineUnavailable when it is missing, cannot run, or is nothing like whisper-cli."""

    def __init__(self, executable: Path, *, threads: int = 1) -> None:
        self.path = executable.expanduser().absolute()
        self._threads = threads
        try:
            done = subprocess.run(
                [str(self.path), "--help"],
                env=engine_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineUnavailable(f"WHISPER_EXECUTABLE {self.path} cannot be run: {error}") from error
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        self.flags = frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*\b", text))
        missing = {"-m", "-f", "-l", "-t", "-oj"} - self.flags
        if missing:
            raise EngineUnavailable(
                f"WHISPER_EXECUTABLE {self.path} is not whisper-cli: its help does not name {', '.join(sorted(missing))}."
            )
        self.version = "sha256:" + hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]
        self._ignored: set[str] = set()

    def decode_arguments(self, options: TranscribeOptions) -> tuple[str, ...]:
        """The options in this program's words. Raises ChunkFailed for a language that no model knows."""
        if options.language is not None and options.language not in LANGUAGES:
            raise ChunkFailed(f"There is no language {options.language!r}.", reason="bad_chunk")
        arguments = [*self._output(), "-l", options.language or "auto", "-bs", str(options.beam_size or 1), "-bo", "2"]
        arguments += ["-mc", "224" if options.prompt else "0"]
        if options.task == "translate":
            arguments.append("-tr")
        if options.prompt:
            arguments += ["--prompt", options.prompt.replace("\0", " ")]
        arguments += self._optional("-tpi", "0.4") + self._optional("-sns")
        if options.temperature:
            arguments += self._optional("-tp", str(options.temperature), wanted=True)
        return tuple(arguments)

    def detect_arguments(self) -> tuple[str, ...]:
        """Detect the language only. The probability is on stderr, so prints stay on."""
        return ("-oj", "-l", "auto", "-dl")

    def command(self, model: str, arguments: tuple[str, ...], files: list[Path]) -> list[str]:
        inputs = [word for file in files for word in ("-f", str(file))]
        return [str(self.path), "-m", model, "-t", str(self._threads), *arguments, *inputs]

    def _output(self) -> list[str]:
        return [*self._optional("-np"), "-ojf" if "-ojf" in self.flags else "-oj"]

    def _optional(self, flag: str, *value: str, wanted: bool = False) -> list[str]:
        if flag in self.flags:
            return [flag, *value]
        if wanted and flag not in self._ignored:
            self._ignored.add(flag)
            log.warning("%s has no option %s: it is left out", self.path.name, flag)
        return []


@dataclass(frozen=True, kw_only=True)
class CliOutput:
    """One output file, read."""

    language: str
    segments: tuple[Segment, ...]


def write_wav(path: Path, pcm: Pcm) -> None:
    """16 kHz mono s16, padded with silence to a little over a second. Raises ChunkFailed for a bad length."""
    if not SHORTEST <= len(pcm) <= LONGEST:
        raise ChunkFailed(
            f"A chunk must have 0.1 to 30 s, this one has {len(pcm) / SAMPLE_RATE:.3f} s.", reason="bad_chunk"
        )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.pad(pcm, (0, max(0, _PADDED - len(pcm)))).astype("<i2").tobytes())


def output_of(wav: Path) -> Path:
    return wav.with_name(wav.name + ".json")


def read_output(path: Path, *, seconds: float, words: bool) -> CliOutput | None:
    """Read an output file; None when it is missing or not complete. Times are clamped to `seconds` and monotonic.

    The program escapes only quotes and backslashes and cuts characters at token ends: control characters are let
    pass, and bytes that are no UTF-8 kept until the tokens are joined.
    """
    try:
        data = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"), strict=False)
        language, entries = str(data["result"]["language"]), data["transcription"]
        spaced = language not in UNSPACED or bool(data.get("params", {}).get("translate"))
        ratio = compression_ratio(b"".join(_bytes(entry["text"]) for entry in entries))
        segments: list[Segment] = []
        for entry in entries:
            floor = segments[-1].end if segments else 0.0
            start = min(max(entry["offsets"]["from"] / 1000, floor), seconds)
            end = min(max(entry["offsets"]["to"] / 1000, start), seconds)
            text = _bytes(entry["text"]).decode("utf-8", "replace").strip()
            tokens = _tokens(entry.get("tokens", ()))
            if not text:
                continue
            phrase = Phrase(start, end, tokens)
            timed = words_of(phrase, spaced=spaced) if words and tokens else []
            segments.append(
                Segment(
                    start=start,
                    end=end,
                    text=text,
                    avg_logprob=sum(token.plog for token in tokens) / len(tokens) if tokens else None,
                    compression_ratio=ratio,
                    language=language,
                    words=tuple(Word(**word) for word in timed),
                )
            )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return CliOutput(language=language, segments=tuple(segments))


def read_detection(stderr: str) -> tuple[str, float] | None:
    """(language, probability) of the last detection reported."""
    found = _DETECTED.findall(stderr)
    return (found[-1][0], float(found[-1][1])) if found else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _tokens(entries: Any) -> tuple[Token, ...]:
    """Text tokens; timestamps and other specials are named `[_BEG_]`, `[_TT_150]` and the like."""
    return tuple(
        Token(entry["id"], _bytes(entry["text"]), entry["p"], math.log(max(entry["p"], 1e-9)))
        for entry in entries
        if not _SPECIAL.fullmatch(entry["text"])
    )
