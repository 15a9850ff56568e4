"""The shared transcriber: from a model's name and PCM to text, whatever engine does the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import ChunkFailed, ChunkTimeout, ModelInvalid, ModelUnavailable, ServiceError, UnknownModel
from core.system.cancel import Cancel, raise_if_cancelled
from core.system.retry import retry
from whisper.download.downloader import ModelDownloader
from whisper.types import LONGEST, SHORTEST, Call, ChunkTranscript, Engine, LanguageGuess, TranscribeOptions

log = logging.getLogger(__name__)

T = TypeVar("T")


class WhisperTranscriber:
    """One per consumer, made once and shared by its jobs: safe from many threads and after fork.

    chunk_timeout: seconds an engine worker may spend on one chunk, as the operator gave it; 0 = from what the engine
        has measured
    """

    def __init__(self, engine: Engine, downloader: ModelDownloader, *, chunk_timeout: float = 0.0) -> None:
        self.engine = engine
        self.downloader = downloader
        self.chunk_timeout = chunk_timeout or None
        self._known: dict[str, str] = {}
        log.info("Initializing shared WhisperTranscriber")

    def transcribe(self, pcm: Pcm, options: TranscribeOptions, call: Call = Call(), *, model: str) -> ChunkTranscript:
        """Transcribe one chunk of 0.1 to 30 s.

        model: a name (`base`), fetched if it has not been here yet
        call: without a timeout it has `chunk_timeout`

        A chunk that times out or kills its worker is tried once more. Raises ChunkTimeout, ChunkFailed (also
        for audio that cannot be a chunk), Cancelled, and what `ensure_model_exists` and the engine raise.
        """
        _check(pcm, call.label)
        call = self._limited(call)
        with self._model(model, call.cancel) as path:
            return _twice(lambda: self.engine.transcribe(path, pcm, options, call), call)

    def detect_language(self, pcm: Pcm, call: Call = Call(), *, model: str) -> LanguageGuess:
        """Guess the language of 0.1 to 30 s of speech. Retries and raises as `transcribe` does."""
        _check(pcm, call.label)
        call = self._limited(call)
        with self._model(model, call.cancel) as path:
            return _twice(lambda: self.engine.detect_language(path, pcm, call), call)

    def _limited(self, call: Call) -> Call:
        return replace(call, timeout=self.chunk_timeout) if call.timeout is None else call

    @contextmanager
    def _model(self, name: str, cancel: Cancel | None) -> Iterator[str]:
        """Path of a model. One that was removed under its jobs is not fetched again by a chunk: an engine may
        well have it in memory. Raises ModelUnavailable where it turns out to need the file."""
        store = self.downloader.store
        try:
            gone = store.path(name) is None
        except UnknownModel:  # a `local:` file
            gone = True
        if not gone or name not in self._known:
            self._known[name] = str(self.downloader.ensure_model_exists(name, cancel=cancel))
        path = self._known[name]
        try:
            yield path
        except ModelInvalid as error:
            if Path(path).exists():
                raise
            raise ModelUnavailable(
                f"The model {name} was removed while it was in use: there is no file {path}.", model=name
            ) from error

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.close()


def _twice(attempt: Callable[[], T], call: Call) -> T:
    def again(error: Exception) -> bool:
        if not isinstance(error, ChunkFailed) or error.details.get("reason") == "bad_chunk":
            return False  # that one would fail anywhere
        log.warning("%s: %s, trying once more", call.label or "chunk", error.code)
        return True

    raise_if_cancelled(call.cancel)
    try:
        return retry(attempt, pauses=(0.0,), retryable=again, wait=lambda _: raise_if_cancelled(call.cancel))
    except ChunkFailed as error:
        raise _named(error, call.label) from error


def _named(error: ChunkFailed, label: str) -> ServiceError:
    """The same error saying which chunk, and for a timeout which variable."""
    message = error.message
    if isinstance(error, ChunkTimeout) and "CHUNK_TIMEOUT" not in message:
        message += " If the machine is just slow, raise CHUNK_TIMEOUT."
    return type(error)(f"{label}: {message}" if label else message, **error.details)


def _check(pcm: Pcm, label: str) -> None:
    """Raises ChunkFailed for what no engine should see."""
    seconds = len(pcm) / SAMPLE_RATE if pcm.ndim == 1 else 0.0
    if pcm.ndim != 1:
        problem = f"it has {pcm.ndim} dimensions instead of one"
    elif not np.isfinite(pcm).all():
        problem = "it has samples that are not finite"
    elif pcm.dtype != np.int16:
        problem = f"its samples are {pcm.dtype} instead of int16"
    elif not SHORTEST <= len(pcm) <= LONGEST:
        problem = f"it has {seconds:.3f} s instead of 0.1 to 30 s"
    else:
        return
    raise ChunkFailed(f"{label or 'The audio'} cannot be transcribed: {problem}.", reason="bad_chunk")
