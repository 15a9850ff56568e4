"""From the samples of one chunk to its text: one call of the engine, and more where speech was left without text."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from core.audio.decoder import DECODER
from core.audio.samples import Pcm
from core.errors import ChunkFailed
from core.jobs.tasks import TRANSCRIBE, Task
from core.speech.chunks import Chunk, plan_hash
from core.speech.planner import PLANNER_VERSION
from core.system import tracing
from core.transcript.merge import needs_words
from whisper.types import SHORTEST, ChunkTranscript, TranscribeOptions, mean_logprob
from worker.context.figures import EngineAnswered
from worker.context.stage import Grain, Lane, OnFailure, Output, Stage
from worker.context.work import Work
from worker.stages import enhance
from worker.stages.language_vote import own_language
from worker.stages.words.leftovers import complete

log = logging.getLogger(__name__)

SECOND_TEMPERATURE = 0.4
"""Speech without text is decoded once more on the second rung of the ladder: greedy found nothing, sampling may."""


class TranscribeStage(Stage):
    name = TRANSCRIBE
    needs = ("decode", "enhance", "plan", "language")
    grain = Grain.CHUNK
    lane = Lane.ENGINE
    on_failure = OnFailure.GAP

    def ready(self, work: Work, task: Task) -> bool:
        regions = Chunk.from_dict(task.plan or {}).regions
        end = regions[-1].end if regions else 0
        return work.for_words.has(end) and (work.for_words_too is None or work.for_words_too.has(end))

    def identity(self, work: Work, needs: Sequence[str]) -> str:
        """As versions from 0.1.0 on have it in `job.plan_hash`: what they finished can be taken over."""
        settings = work.parts.settings
        params = work.job.params
        options = params.heard() | {"word_timestamps": params.needs_words}
        options |= {"chunk_seconds": work.chunk_seconds, "strategy": settings.chunk_strategy}
        options.pop("chunk_duration", None)  # it is in `chunk_seconds`, whoever said so
        if settings.fit_context:
            options["context"] = "fit"
        if params.is_cleaned:
            options["enhancer"] = enhance.version(work)
        return plan_hash(
            audio_sha256=work.job.source.sha256,
            decoder=DECODER,
            planner=PLANNER_VERSION,
            model_sha256=work.model.sha256,
            options=options,
        )

    def run(self, work: Work, task: Task) -> Output:
        chunk = Chunk.from_dict(task.plan or {})
        if chunk.samples < SHORTEST:
            return Output()
        first = work.early.pop(chunk.index, None)
        early = first.result() if first else None
        pcm = work.for_words.read_regions(chunk.regions, chunk.channel)
        said, seconds = _with_leftovers(work, chunk, pcm, early if isinstance(early, ChunkTranscript) else None)
        if work.for_words_too is not None:
            said, more = _surer(work, chunk, said, work.for_words_too.read_regions(chunk.regions))
            seconds += more
        return Output(data=said.to_dict(), engine_seconds=seconds)


def _surer(work: Work, chunk: Chunk, said: ChunkTranscript, cleaned: Pcm) -> tuple[ChunkTranscript, float]:
    """Of what was said and what the cleaned sound gives, the text with the higher mean log-probability; its CPU seconds."""
    try:
        other, seconds = _with_leftovers(work, chunk, cleaned, None)
    except ChunkFailed as error:
        log.warning("Chunk %d: not recognised from cleaned sound: %s", chunk.index + 1, error.message)
        return replace(said, cleaned=False), 0.0
    better = mean_logprob(other) > mean_logprob(said)
    return replace(other if better else said, cleaned=better), seconds


def ask_engine(work: Work, pcm: Pcm, options: TranscribeOptions, chunk: Chunk) -> ChunkTranscript:
    """One call. Raises ChunkFailed, ChunkTimeout, EngineUnavailable, Cancelled."""
    model, began = work.job.params.model, time.monotonic()
    label = f"chunk {chunk.index + 1}/{work.job.chunks_total or '?'}"
    call = work.call(label)
    with tracing.span("engine", {"model": model}) as span:
        said = work.parts.transcriber.transcribe(pcm, options, call, model=model)
        waited = max(0.0, time.monotonic() - began - said.wall_seconds)
        span.set(chunk=chunk.index + 1, wait_seconds=waited, cpu_seconds=said.engine_seconds)
    work.report.meter.engine(cpu=said.engine_seconds, wall=said.wall_seconds)
    work.parts.tell(EngineAnswered(model=model, waited=waited, worked=said.wall_seconds))
    # where words are timed for the seams' sake, their times decide about text too, as they do where nobody asked for them
    return said.by_words() if needs_words(chunk) else said


def options_of(work: Work, chunk: Chunk, language: str | None) -> TranscribeOptions:
    params = work.job.params
    return TranscribeOptions(
        language=language,
        task=params.task,
        prompt=work.prompt,
        temperature=params.temperature,
        beam_size=params.beam_size,
        word_timestamps=params.needs_words or needs_words(chunk),
        fit_context=work.parts.settings.fit_context,
    )


def _with_leftovers(work: Work, chunk: Chunk, pcm: Pcm, early: ChunkTranscript | None) -> tuple[ChunkTranscript, float]:
    """The chunk's text and the CPU seconds it cost.

    early: what the language vote has already made of it
    """
    options = options_of(work, chunk, work.language.code if work.language else None)
    said, seconds = _in_its_language(work, pcm, options, chunk, early)

    def again(samples: Pcm, nothing: bool) -> ChunkTranscript | None:
        changed = {"temperature": max(options.temperature, SECOND_TEMPERATURE)} if nothing else {"fit_context": True}
        try:
            found, cost = _in_its_language(work, samples, replace(options, **changed), chunk)
        except ChunkFailed as error:
            log.warning("Chunk %d: not decoded again where speech had no text: %s", chunk.index + 1, error.message)
            return None
        return replace(found, engine_seconds=cost)

    found, more = complete(chunk, pcm, said, again)
    if more:
        log.info(
            "Chunk %d: decoded again where speech had no text, %d characters more",
            chunk.index + 1,
            len(found.text) - len(said.text),
        )
    return found, seconds + more


def _in_its_language(
    work: Work, pcm: Pcm, options: TranscribeOptions, chunk: Chunk, early: ChunkTranscript | None = None
) -> tuple[ChunkTranscript, float]:
    """Decoded in the job's language, or in the audio's own where nobody named one and it clearly is another."""
    said, seconds = early, early.engine_seconds if early else 0.0
    if said is None or said.language != options.language:
        # a guess costs a decode where it is wrong, and never decides; a channel speaks one language mostly
        guess = work.spoken.get(chunk.channel, options.language) if chunk.channel is not None else options.language
        said = ask_engine(work, pcm, replace(options, language=guess), chunk)
        seconds += said.engine_seconds
    if options.language and work.job.params.language is None:
        own = own_language(options.language, said.languages, len(pcm))
        if own != said.language:
            said = ask_engine(work, pcm, replace(options, language=own), chunk)
            seconds += said.engine_seconds
        if chunk.channel is not None:
            work.spoken[chunk.channel] = own
    return said, seconds
