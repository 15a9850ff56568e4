"""An engine that follows a script: deterministic text from the samples, delays, failures. For tests of all above it."""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import ChunkFailed, ChunkTimeout, EngineUnavailable
from core.system.cancel import raise_if_cancelled
from core.transcript.values import Segment, Word
from whisper.models.ggml import read_header
from whisper.types import LONGEST, SHORTEST, Call, ChunkTranscript, LanguageGuess, TranscribeOptions

QUIET = 100
"""A second whose samples all stay below this (-50 dB) holds no word."""

VOCABULARY = (
    "alder ash aspen beech birch cedar cherry chestnut cypress elder elm fir hawthorn hazel holly juniper "
    "larch laurel lime maple oak olive pear pine plane plum poplar rowan spruce walnut willow yew"
).split()

_POLL = 0.01


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What goes wrong, and when. All conditions must hold.

    kind: `crash` (the worker dies), `timeout`, `hang` (until cancelled or timed out), `unavailable` (no engine),
        or `kill` (the calling process is killed, as by kill -9)
    label: pattern of the labels it applies to
    calls: which calls, counted per label from 1; empty = all
    """

    kind: str
    label: str = "*"
    calls: tuple[int, ...] = ()

    def applies(self, label: str, call: int) -> bool:
        return fnmatch.fnmatchcase(label, self.label) and (not self.calls or call in self.calls)


class ScriptedEngine:
    """One word per second of audio that is not silent, chosen by the samples' hash; phrases end at silent seconds.

    delay: seconds of wall per second of audio
    language: what it detects when none is asked for
    rules: the first that applies decides
    call_log: a file that gets one JSON line {"job", "label", "pcm"} per execution. It is also what calls are
        counted by, so that a script goes on where it was when another process takes over; without it each
        process counts for itself.
    """

    hears_languages = False

    def __init__(
        self, *, delay: float = 0.0, language: str = "en", rules: Sequence[Rule] = (), call_log: Path | None = None
    ) -> None:
        self._delay = delay
        self._language = language
        self._rules = tuple(rules)
        self._call_log = call_log
        self._calls: list[str] = []

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        began = time.monotonic()
        self._act(model, pcm, call)
        language, no_speech = options.language or self._language, 0.0 if _loudest(pcm) >= QUIET else 1.0
        return ChunkTranscript(
            segments=tuple(replace(s, language=language, no_speech_prob=no_speech) for s in _segments(pcm, options)),
            language=language,
            no_speech_prob=no_speech,
            engine_seconds=len(pcm) / SAMPLE_RATE * self._delay,
            wall_seconds=time.monotonic() - began,
            engine={"library": "scripted", "version": "1"},
        )

    def detect_language(self, model: str, pcm: Pcm, call: Call = Call()) -> LanguageGuess:
        self._act(model, pcm, call)
        return LanguageGuess(
            language=self._language, probability=0.99, probabilities={self._language: 0.99}, engine_seconds=0.0
        )

    def close(self) -> None:
        """There is nothing to stop."""

    def _act(self, model: str, pcm: Pcm, call: Call) -> None:
        """Everything but the text: the checks, the script, the time it takes."""
        raise_if_cancelled(call.cancel)
        read_header(Path(model))
        if not SHORTEST <= len(pcm) <= LONGEST:
            raise ChunkFailed(
                f"A chunk must have 0.1 to 30 s, this one has {len(pcm) / SAMPLE_RATE:.3f} s.", reason="bad_chunk"
            )
        number = self._note(call, hashlib.sha256(pcm.tobytes()).hexdigest())
        rule = next((rule for rule in self._rules if rule.applies(call.label, number)), None)
        match rule.kind if rule else None:
            case None:
                self._wait(len(pcm) / SAMPLE_RATE * self._delay, call)
            case "crash":
                raise ChunkFailed("The engine worker was killed by SIGSEGV.", signal="SIGSEGV")
            case "timeout":
                raise ChunkTimeout(f"The chunk took longer than {call.timeout or 0:.0f} s.")
            case "hang":
                self._wait(float("inf"), call)
            case "unavailable":
                raise EngineUnavailable
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case unknown:
                raise ValueError(f"no such rule: {unknown}")

    def _wait(self, seconds: float, call: Call) -> None:
        began, timeout = time.monotonic(), call.timeout
        while (passed := time.monotonic() - began) < seconds:
            raise_if_cancelled(call.cancel)
            if timeout is not None and passed > timeout:
                raise ChunkTimeout(f"The chunk took longer than {timeout:.0f} s.")
            time.sleep(min(_POLL, seconds - passed))
        raise_if_cancelled(call.cancel)  # it may have overslept, and never looked
        if timeout is not None and seconds > timeout:
            raise ChunkTimeout(f"The chunk took longer than {timeout:.0f} s.")

    def _note(self, call: Call, digest: str) -> int:
        """Write the call down; returns how many there have been with this label, this one included."""
        if self._call_log is None:
            self._calls.append(call.label)
            return self._calls.count(call.label)
        with self._call_log.open("a+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.write(json.dumps({"job": call.job, "label": call.label, "pcm": digest}) + "\n")
            log.flush()
            log.seek(0)
            return sum(json.loads(line)["label"] == call.label for line in log)


def _segments(pcm: Pcm, options: TranscribeOptions) -> list[Segment]:
    segments: list[Segment] = []
    words: list[Word] = []

    def close() -> None:
        if words:
            text = " ".join(word.word for word in words)
            segments.append(
                Segment(
                    start=words[0].start or 0.0,
                    end=words[-1].end or 0.0,
                    text=text,
                    avg_logprob=-0.1,
                    compression_ratio=1.0,
                    words=tuple(words) if options.word_timestamps else (),
                )
            )
            words.clear()

    for start in range(0, len(pcm), SAMPLE_RATE):
        second = pcm[start : start + SAMPLE_RATE]
        if _loudest(second) < QUIET:
            close()
            continue
        number = hashlib.sha256(second.tobytes() + options.task.encode()).digest()[0]
        word = VOCABULARY[number % len(VOCABULARY)]
        words.append(
            Word(word=word, start=start / SAMPLE_RATE, end=(start + len(second)) / SAMPLE_RATE, probability=0.9)
        )
    close()
    return segments


def _loudest(pcm: Pcm) -> int:
    return max(int(pcm.max()), -int(pcm.min()))
