"""From samples to finals: endpoints, recogniser and translation of one stream's channels, and what they come to in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import LiveBehind
from core.jobs.params import JobParams
from core.live.events import Final, SpeechEnd, SpeechStart, Translation, event_of
from core.live.options import StreamOptions
from core.live.sessions import StoredUtterance
from core.speech.quiet_speech import QuietSpeech
from core.speech.regions import FRAME
from core.transcript.values import Word
from whisper.translation.router import Translators
from whisper.translation.spoken import in_english
from whisper.types import Call, TranscribeOptions, Urgency
from whisper.vad.silero import SileroVad
from worker.live.parts import Sink
from worker.live.stages.endpoints import BEYOND, Edge, Endpoints, Found
from worker.live.stages.finals import final_of
from worker.live.stages.hearing import Hearing, Means, Transcriber
from worker.live.stages.lead import LEAD
from worker.live.stages.recogniser import FINALS, Recogniser, Spoken, Utterance
from worker.live.stages.tape import Tape
from worker.live.stages.translating import Translating

BLOCK = SAMPLE_RATE // 2
"""Samples that are looked at together; more come to the same, in parts."""

PENDING = 32
"""Utterances of a channel that may wait for those of the other one."""

ACK_EVERY = SAMPLE_RATE
"""Samples of silence after which it is stored how far everything is."""

PATIENCE = 60.0
"""Seconds in which nothing becomes final though much waits, before the stream is given up: LiveBehind."""


class _Line:
    """One channel. pending: utterances that have begun and are not kept, in order"""

    def __init__(self, channel: int | None, tape: Tape, endpoints: Endpoints, vad: SileroVad) -> None:
        self.channel, self.tape, self.endpoints = channel, tape, endpoints
        self.score = QuietSpeech(vad.feed)
        self.rest: Pcm = np.empty(0, np.int16)
        self.pending: deque[Utterance] = deque()
        self.recogniser: Recogniser
        #: the words said last, and where they were cut off, in samples
        self.words: Sequence[Word] = ()
        self.cut: int | None = None
        self.end = 0.0

    @property
    def settled(self) -> int:
        """Nothing to come is heard from before."""
        settled = self.endpoints.settled
        return min([settled, *(utterance.found.heard.start for utterance in self.pending)])


class LivePipeline:
    """`worker.live.parts.Pipeline`, over the real engine.

    begin: samples that are acked, the position of the first that is fed; number: of the first utterance
    before: what was final before, at least the last utterance of each channel
    prompt: what the model is told before each utterance (`worker.live.stages.hearing.prompt_for`)
    session, owner: for fairness between streams
    translators: who translates where the stream asks for it; translates: whether the model itself can, into English
    fair_share: of a worker, that this stream may have now
    executor: where the engine is waited for; two threads for each channel, and one for the translator
    patience: seconds in which nothing becomes final though much waits, before the stream is given up
    """

    def __init__(
        self,
        *,
        options: StreamOptions,
        params: JobParams,
        transcriber: Transcriber,
        vad: Callable[[], SileroVad],
        executor: Executor,
        sink: Sink,
        session: str = "",
        owner: str = "",
        prompt: str | None = None,
        begin: int = 0,
        number: int = 0,
        before: Sequence[StoredUtterance] = (),
        translators: Translators | None = None,
        translates: bool = False,
        fair_share: Callable[[], float] = lambda: 1.0,
        patience: float = PATIENCE,
    ) -> None:
        self._sink, self._params, self._fair_share = sink, params, fair_share
        self._acked, self._received = begin, begin
        self._number = self._next = number
        self._spoken: dict[int, Spoken] = {}
        self._order, self._moved = asyncio.Lock(), asyncio.Event()
        self._failed: BaseException | None = None
        self._stop, self._patience = threading.Event(), patience
        call = Call(job=session, owner=owner, urgency=Urgency.LIVE, cancel=self._stop)
        means = Means(
            transcriber=transcriber,
            executor=executor,
            params=params,
            prompt=params.prompt if prompt is None else prompt,
            call=call,
        )
        self._lines = [
            self._line(channel, options, means, vad, begin, before)
            for channel in ([None] if options.channels == 1 else range(options.channels))
        ]
        self._translating: Translating | None = None
        if translators is not None and params.translate_to is not None:
            self._translating = Translating(
                translators,
                target=params.translate_to,
                spoken=partial(_in_english, means) if translates else None,
                executor=executor,
                cancel=self._stop,
                tell=self._translated,
            )
        self._untranslated = [u for u in before if u.translation is None and u.final.get("text")]
        self._tasks: list[asyncio.Task[None]] = []

    # -- what comes in

    async def feed(self, pcm: Pcm) -> None:
        await self._start()
        for start in range(0, len(pcm), BLOCK):
            self._received += len(block := pcm[start : start + BLOCK])
            for n, line in enumerate(self._lines):
                line.tape.add(block[:, n] if block.ndim == 2 else block)
                line.rest = np.concatenate([line.rest, line.tape.last(len(block))])
                whole = len(line.rest) // FRAME * FRAME
                await self._listen(line, line.rest[:whole])
                line.rest = line.rest[whole:]
            await self._ack(least=ACK_EVERY)
            await self._until(lambda: not self._full())
        self._raise()

    async def flush(self) -> None:
        await self._start()
        for line in self._lines:
            await self._found(line, line.endpoints.finish(line.tape.end))

    async def finish(self) -> None:
        await self._start()
        for line in self._lines:
            if len(line.rest):
                await self._listen(line, np.pad(line.rest, (0, FRAME - len(line.rest))))
                line.rest = line.rest[:0]
            await self._found(line, line.endpoints.finish(line.tape.end))
        await self._until(lambda: not any(line.pending for line in self._lines))
        if self._translating is not None:
            await self._until(lambda: self._translating is None or self._translating.is_done)
        async with self._order:
            self._acked = self._received
            await self._sink.keep([], acked=self._acked)
            await self._sink.settled(self._acked)

    async def close(self) -> None:
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def waiting(self) -> dict[str, int]:
        return {
            "finals": sum(line.recogniser.waiting for line in self._lines),
            "order": len(self._spoken),
            "translation": self._translating.waiting if self._translating else 0,
        }

    @property
    def behind(self) -> float:
        begun = [line.pending[0].found.speech.start for line in self._lines if line.pending]
        return max(0, self._received - min(begun)) / SAMPLE_RATE if begun else 0.0

    # -- one channel

    def _line(
        self,
        channel: int | None,
        options: StreamOptions,
        means: Means,
        vad: Callable[[], SileroVad],
        begin: int,
        before: Sequence[StoredUtterance],
    ) -> _Line:
        own = [one for one in before if one.chunk.get("channel") == channel]
        last = max(own, key=lambda one: one.number, default=None)
        end = last.end if last is not None else begin  # of a channel whose last one lies too far back too
        through = last is not None and _heard_to(last) > end
        endpoints = Endpoints(
            silence=options.silence_ms * SAMPLE_RATE // 1000,
            begin=begin,
            start=end,
            hears_from=end - BEYOND if through else end,
        )
        line = _Line(channel, Tape(begin), endpoints, vad())
        spoken = next((one.final.get("language") for one in reversed(own) if one.final.get("text")), None)
        label = "stream" if channel is None else f"stream, channel {channel}"
        line.recogniser = Recogniser(
            Hearing(means, label=label, language=spoken),
            line.tape,
            partials=options.partials,
            is_quiet=lambda: endpoints.is_quiet,
            fair_share=self._fair_share,
            tell=self._sink.tell,
            done=self._done,
        )
        if last is not None and isinstance(final := event_of({"type": Final.type, **last.final}), Final):
            line.words, line.cut, line.end = final.words, end if through else None, final.end
        return line

    async def _listen(self, line: _Line, pcm: Pcm) -> None:
        if len(pcm):
            scores = await asyncio.get_running_loop().run_in_executor(None, line.score, pcm)
            await self._found(line, line.endpoints.feed(scores))
        line.recogniser.look()
        line.tape.forget(line.settled - LEAD)

    async def _found(self, line: _Line, found: Sequence[Found]) -> None:
        for one in found:
            if one.edge is Edge.BEGUN:
                utterance = Utterance(self._number, line.channel, one, one.heard.start)
                self._number += 1
                line.pending.append(utterance)
                line.recogniser.begin(utterance)
                start = round(one.speech.start / SAMPLE_RATE, 3)
                await self._sink.tell(SpeechStart(t=start, utterance=utterance.number, channel=line.channel))
            else:
                line.recogniser.tell_of(one)
            if one.edge is Edge.ENDED:
                end = round(one.speech.end / SAMPLE_RATE, 3)
                await self._sink.tell(SpeechEnd(t=end, utterance=line.pending[-1].number, channel=line.channel))

    def _full(self) -> bool:
        return any(line.recogniser.waiting >= FINALS or len(line.pending) >= PENDING for line in self._lines)

    # -- what comes out

    async def _done(self, spoken: Spoken) -> None:
        """Keep and tell what is final, in order over all channels."""
        async with self._order:
            self._spoken[spoken.utterance.number] = spoken
            while (now := self._spoken.pop(self._next, None)) is not None:
                self._next += 1
                await self._keep(now)
        self._moved.set()

    async def _keep(self, spoken: Spoken) -> None:
        line = next(line for line in self._lines if line.channel == spoken.utterance.channel)
        line.pending.popleft()
        heard = line.tape.read(spoken.utterance.found.heard)  # before others may forget it
        settled = self._settled()
        found = spoken.utterance.found
        stored, final = final_of(
            spoken,
            language=line.recogniser.hearing.language,
            task=self._params.task,
            before=line.words if line.cut == found.start else (),
            ends_before=line.end,
            watermark=settled,
        )
        line.words = final.words or line.words
        line.cut = found.end if found.heard.end > found.end else None
        line.end = max(line.end, final.end)
        self._acked = max(self._acked, settled)
        await self._sink.keep([stored], acked=self._acked)
        await self._sink.tell(final)
        await self._sink.settled(self._acked)
        if self._translating is not None:
            await self._translating.add(final, heard if self._translating.hears(final.language) else None)

    async def _ack(self, *, least: int) -> None:
        if self._settled() - self._acked < least or self._order.locked():
            return
        async with self._order:
            if (settled := self._settled()) > self._acked:
                self._acked = settled
                await self._sink.keep([], acked=settled)
                await self._sink.settled(settled)

    async def _translated(self, translation: Translation) -> None:
        await self._sink.keep_translation(translation)
        await self._sink.tell(translation)
        self._moved.set()

    def _settled(self) -> int:
        return min(line.settled for line in self._lines)

    # -- tasks

    async def _start(self) -> None:
        self._raise()
        if self._tasks or self._stop.is_set():
            return
        runs = [line.recogniser.run() for line in self._lines]
        if self._translating is not None:
            runs.append(self._translating.run())
        self._tasks = [asyncio.create_task(self._guarded(run)) for run in runs]
        for one in self._untranslated if self._translating else ():
            if isinstance(final := event_of({"type": Final.type, **one.final}), Final):
                await self._translating.add(final)  # type: ignore[union-attr]

    async def _guarded(self, run: Coroutine[Any, Any, None]) -> None:
        try:
            await run
        except Exception as error:
            self._failed = error
            self._moved.set()

    async def _until(self, true: Callable[[], bool]) -> None:
        """Raises what a stage has raised, and LiveBehind."""
        while not true():
            self._raise()
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), self._patience)
            except TimeoutError:
                raise LiveBehind from None
        self._raise()

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed


def _in_english(means: Means, pcm: Pcm, language: str) -> str:
    options = TranscribeOptions(language=language, beam_size=means.params.beam_size, fit_context=True)
    call = replace(means.call, label="translation")
    return in_english(means.transcriber, pcm, options, call, model=means.params.model).text


def _heard_to(stored: StoredUtterance) -> int:
    chunk: Mapping[str, Any] = stored.chunk
    regions = chunk.get("regions") or []
    return int(regions[-1][1]) if regions else stored.end
