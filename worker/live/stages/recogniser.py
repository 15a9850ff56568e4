"""What is asked of the engine for one channel: finals one after the other, and beside them at most one partial, the newest,
and one final that was asked for in a pause which may yet be none.

A final waits for neither, unless it is the one that was asked for: that takes as long as the final itself, and nobody
wants it any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core.audio.samples import SAMPLE_RATE, Region
from core.errors import ChunkFailed
from core.live.events import Partial
from whisper.types import SHORTEST, ChunkTranscript
from worker.live.stages.agreement import Agreement
from worker.live.stages.endpoints import Edge, Found
from worker.live.stages.hearing import Hearing
from worker.live.stages.lead import Lead, behind_lead
from worker.live.stages.tape import Tape

T = TypeVar("T")

STEP = SAMPLE_RATE // 2
"""New audio after which another partial is worth its price..."""

SLOWER = 1.2
"""...or so many times the seconds that the last one took: who gets slow asks less often."""

FINALS = 4
"""Utterances that have ended and wait; with more, no audio is taken."""


@dataclass(eq=False)
class Utterance:
    """One that has begun. found: what the endpoints have said of it last; partly: up to where a partial has heard it"""

    number: int
    channel: int | None
    found: Found
    partly: int
    agreement: Agreement = field(default_factory=Agreement)
    revision: int = 0
    #: what a partial has heard, by itself
    languages: Mapping[str, float] = field(default_factory=dict)
    #: the span that the final has, if the silence goes on
    maybe: Region | None = None
    #: what was made of such a span, or is being made: None when the engine failed at it
    early: tuple[Region, asyncio.Task[ChunkTranscript | None]] | None = None


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What became of an utterance. error: the code of why it has no text"""

    utterance: Utterance
    said: ChunkTranscript | None
    error: str | None = None


class Recogniser:
    """One channel's. `run` is its task.

    is_quiet: whether nobody speaks right now: then the utterance may end in a moment, and the engine had better be free
    fair_share: see `Lead`
    tell: takes partials; done: takes what is final, in order
    """

    def __init__(
        self,
        hearing: Hearing,
        tape: Tape,
        *,
        partials: bool,
        is_quiet: Callable[[], bool],
        tell: Callable[[Partial], Awaitable[None]],
        done: Callable[[Spoken], Awaitable[None]],
        fair_share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.hearing = hearing
        self._tape, self._partials = tape, partials
        self._is_quiet, self._tell, self._done = is_quiet, tell, done
        self._open: Utterance | None = None
        self._finals: deque[Utterance] = deque()
        self._lead = Lead(tape.end, fair_share=fair_share)
        self._wake = asyncio.Event()
        self._took = 0.0  # seconds, of the last partial
        self._partial: asyncio.Task[None] | None = None
        self._early: asyncio.Task[ChunkTranscript | None] | None = None

    @property
    def waiting(self) -> int:
        """Finals that are not there yet."""
        return len(self._finals)

    def begin(self, utterance: Utterance) -> None:
        self._open = utterance
        self._lead.begin(utterance.found.heard.start)
        self._wake.set()

    def tell_of(self, found: Found) -> None:
        """The open utterance may have ended, goes on, or has ended."""
        utterance = self._open
        if utterance is None:
            return
        utterance.found = found
        utterance.maybe = found.heard if found.edge is Edge.PAUSED else None
        if found.edge is Edge.ENDED:
            self._open = None
            self._finals.append(utterance)
        self._wake.set()

    def look(self) -> None:
        """There is more audio."""
        self._wake.set()

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            asked = [task for task in (self._partial, self._early) if task is not None]
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            if self._partial is not None and self._partial.done():
                self._partial.result()  # what went wrong with it is not kept quiet
                self._partial = None
            if self._early is not None and self._early.done():
                self._early.result()
                self._early = None
            if self._finals:
                await self._final(self._finals[0])
                self._finals.popleft()
            elif (utterance := self._open) is not None and (region := self._wanted(utterance)) is not None:
                if region == utterance.maybe:
                    self._early = self._begin(self._ahead(utterance, region))
                    utterance.early = region, self._early
                else:
                    self._partial = self._begin(self._part(utterance, region))
            else:
                self._wake.clear()
                await self._wake.wait()

    def _begin(self, asking: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(asking)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    def _wanted(self, utterance: Utterance) -> Region | None:
        """What the open utterance should be heard of now."""
        if utterance.maybe is not None:
            asked = utterance.early is not None and utterance.early[0] == utterance.maybe
            busy = asked or self._early is not None or not self._lead.may_guess(utterance.maybe)
            return None if busy else utterance.maybe
        region = Region(start=utterance.found.heard.start, end=self._tape.end)
        step = max(STEP, round(SLOWER * self._took * SAMPLE_RATE))
        wanted = self._partials and self._partial is None and not self._is_quiet()
        return region if wanted and region.end - utterance.partly >= step else None

    async def _part(self, utterance: Utterance, region: Region) -> None:
        loop = asyncio.get_running_loop()
        began, utterance.partly = loop.time(), region.end
        said = await self.hearing.quickly(self._tape.read(region))
        self._took = loop.time() - began
        if said is not None:
            utterance.languages = said.languages
        if said is not None and utterance is self._open and utterance.partly == region.end:  # nothing newer was heard
            await self._show(utterance, said, region)

    async def _ahead(self, utterance: Utterance, region: Region) -> ChunkTranscript | None:
        """The final of an utterance that may have ended; None: it is to be asked for again, which says what is wrong."""
        utterance.partly = region.end
        try:
            said = await self._whole(utterance, region)
        except ChunkFailed:
            return None
        if self._partials and utterance is self._open and utterance.partly == region.end:
            await self._show(utterance, said, region)
        return said

    async def _whole(self, utterance: Utterance, region: Region) -> ChunkTranscript:
        """The text that stays. Raises ChunkFailed."""
        loop = asyncio.get_running_loop()
        began, found = loop.time(), None
        pcm = self._tape.read(region)  # an early final may come to it when the tape has gone on
        window = self._lead.of(region, first=self._tape.first)
        if not self.hearing.may_be_led(utterance.languages, region.samples):
            window = None
        if window is not None and (said := await self.hearing.behind(self._tape.read(window))) is not None:
            found = behind_lead(
                said,
                lead=(region.start - window.start) / SAMPLE_RATE,
                silence=max(0, region.start - utterance.found.start) / SAMPLE_RATE,
                seconds=region.samples / SAMPLE_RATE,
            )
        if found is None:
            found = await self.hearing.fully(pcm)
        self._lead.took(region, loop.time() - began)
        return found

    async def _show(self, utterance: Utterance, said: ChunkTranscript, region: Region) -> None:
        agreement = utterance.agreement
        before = agreement.committed, agreement.tail
        agreement.add(said.text)
        if (agreement.committed, agreement.tail) == before:
            return
        utterance.revision += 1
        await self._tell(
            Partial(
                utterance=utterance.number,
                revision=utterance.revision,
                committed=agreement.committed,
                tail=agreement.tail,
                start=round(utterance.found.speech.start / SAMPLE_RATE, 3),
                end=round(region.end / SAMPLE_RATE, 3),
                channel=utterance.channel,
            )
        )

    async def _final(self, utterance: Utterance) -> None:
        region = utterance.found.heard
        if region.samples < SHORTEST:
            await self._done(Spoken(utterance=utterance, said=None))
        else:
            said = await utterance.early[1] if utterance.early is not None and utterance.early[0] == region else None
            try:
                said = said or await self._whole(utterance, region)
            except ChunkFailed as error:
                await self._done(Spoken(utterance=utterance, said=None, error=error.code))
            else:
                await self._done(Spoken(utterance=utterance, said=said))
