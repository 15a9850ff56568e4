"""Whisper's own translation, to English: the same sound once more, by the task the model has learnt for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from core.audio.samples import Pcm
from whisper.types import Call, ChunkTranscript, TranscribeOptions


class Transcriber(Protocol):
    """`whisper.engine.transcriber.WhisperTranscriber`, as far as it is needed here."""

    def transcribe(self, pcm: Pcm, options: TranscribeOptions, call: Call = ..., *, model: str) -> ChunkTranscript: ...


def in_english(
    transcriber: Transcriber, pcm: Pcm, options: TranscribeOptions, call: Call = Call(), *, model: str
) -> ChunkTranscript:
    """What 0.1 to 30 s of speech in `options.language` come to in English; of a chunk, or of an utterance of a stream.

    options: by which the text was recognised; without its prompt, which is in the spoken language
    model: multilingual and no turbo (`whisper.models.catalogue.ModelInfo.translates`)
    Raises what `WhisperTranscriber.transcribe` does.
    """
    return transcriber.transcribe(pcm, replace(options, task="translate", prompt=None), call, model=model)
