"""One channel's way to the engine: in which language, after which prompt, and what is done when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from core.audio.samples import Pcm
from core.errors import ChunkFailed, EngineUnavailable
from core.jobs.params import JobParams
from core.system.retry import doubling
from core.transcript.values import FAILED_COMPRESSION, FAILED_LOGPROB
from whisper.models.tokens import Tokenizer
from whisper.types import Call, ChunkTranscript, Engine, TranscribeOptions
from worker.stages.language_vote import CLEAR, LanguageVote, own_language
from worker.stages.preparation.prompt import Prompt, prompt_of

log = logging.getLogger(__name__)

PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between questions to an engine that is away; without end, since what waits is bounded elsewhere."""


class Transcriber(Protocol):
    """`whisper.engine.transcriber.WhisperTranscriber`, as far as streams need it."""

    engine: Engine

    def transcribe(self, pcm: Pcm, options: TranscribeOptions, call: Call = ..., *, model: str) -> ChunkTranscript: ...


@dataclass(frozen=True, kw_only=True)
class Means:
    """What the channels of a stream share. prompt: what the model is told came before; call: with urgency and cancel"""

    transcriber: Transcriber
    executor: Executor
    params: JobParams
    prompt: str | None
    call: Call


class Hearing:
    """language: what has been spoken so far, where a stream goes on"""

    def __init__(self, means: Means, *, label: str, language: str | None = None) -> None:
        self._means, self._call = means, replace(means.call, label=label)
        self._vote = LanguageVote()
        self._language = means.params.language or language
        self._guess = self._language or self._vote.guess

    @property
    def language(self) -> str:
        """What is spoken, as far as is known."""
        return self._guess

    async def quickly(self, pcm: Pcm) -> ChunkTranscript | None:
        """One greedy decode of what there is so far; None where it is not worth telling."""
        options = replace(self._options(), beam_size=None, word_timestamps=False, ladder=False)
        try:
            said = await self._ask(pcm, options)
        except (ChunkFailed, EngineUnavailable) as error:
            log.info("%s: no partial: %s", self._call.label, error.message)
            return None
        if self._language is None and said.languages:
            best = max(said.languages, key=lambda code: said.languages[code])
            if best != said.language and said.languages[best] >= CLEAR:
                self._guess = best
                return None
        return None if _failed(said) else said

    async def fully(self, pcm: Pcm) -> ChunkTranscript:
        """The text that stays. Waits while the engine is away. Raises ChunkFailed when it fails again and again."""
        options = self._options()
        said = await self._patiently(pcm, options)
        if self._means.params.language is not None:
            return said
        own = self._own(said, len(pcm))
        if own != said.language:
            said = await self._patiently(pcm, replace(options, language=own))
        self._guess = own
        return said

    def may_be_led(self, languages: Mapping[str, float], samples: int) -> bool:
        """Whether an utterance may be heard with what was said before it, which then decides about its language.

        languages: what was heard of it by itself; without any, the client must have said what is spoken
        Never of a translation: its words do not come in the order of the sound.
        """
        if self._language is None or self._means.params.task == "translate":
            return False
        told = self._means.params.language is not None
        return told or (bool(languages) and own_language(self._language, languages, samples) == self._language)

    async def behind(self, pcm: Pcm) -> ChunkTranscript | None:
        """Of an utterance and what was said before it, where it may be led. None if the engine fails at so much: once
        is enough, for it is heard by itself then."""
        assert self._language is not None
        self._guess = self._language
        try:
            said = await self._ask(pcm, replace(self._options(), ladder=False))
        except (ChunkFailed, EngineUnavailable):
            return None
        return None if _failed(said) else said

    def _own(self, said: ChunkTranscript, samples: int) -> str:
        if self._language is None:
            self._vote.add(said.languages or {said.language: 1.0})
            result = self._vote.result()
            spoken = result.code if result else said.language
            if self._vote.decided:
                self._language = spoken
        else:
            spoken = self._language
        return own_language(spoken, said.languages, samples)

    def _options(self) -> TranscribeOptions:
        params = self._means.params
        finds = self._language is None and not self._means.transcriber.engine.hears_languages
        return TranscribeOptions(
            language=None if finds else self._guess,
            task=params.task,
            prompt=self._means.prompt,
            temperature=params.temperature,
            beam_size=params.beam_size,
            word_timestamps=True,
            fit_context=True,
        )

    async def _patiently(self, pcm: Pcm, options: TranscribeOptions) -> ChunkTranscript:
        pauses, failed = doubling(PAUSE, LONGEST_PAUSE), False
        while True:
            try:
                return await self._ask(pcm, options)
            except EngineUnavailable as error:
                log.warning("%s waits for the engine: %s", self._call.label, error.message)
            except ChunkFailed:
                if failed:
                    raise
                failed = True
            await asyncio.sleep(next(pauses))

    async def _ask(self, pcm: Pcm, options: TranscribeOptions) -> ChunkTranscript:
        means = self._means
        ask = partial(means.transcriber.transcribe, pcm, options, self._call, model=means.params.model)
        return await asyncio.get_running_loop().run_in_executor(means.executor, ask)


def prompt_for(params: JobParams, model: Path) -> Prompt:
    """What the model is told before every utterance. model: path of its file. Raises ModelInvalid, OSError."""
    if not params.vocabulary:
        return Prompt(text=params.prompt)
    return prompt_of(params.prompt, params.vocabulary, Tokenizer.of_model(model).count)


def _failed(said: ChunkTranscript) -> bool:
    """By Whisper's own rules: loops, and words that it does not believe in itself."""
    return any(
        (s.compression_ratio or 0.0) > FAILED_COMPRESSION
        or (s.avg_logprob is not None and s.avg_logprob < FAILED_LOGPROB)
        for s in said.segments
    )
