"""What is asked of the engine beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from core.audio.samples import SAMPLE_RATE, Pcm
from tests.worker.live.test_lead import SAID, seconds
from tests.worker.live_kit import eventually
from whisper.types import ChunkTranscript
from worker.live.stages.endpoints import Edge, Found
from worker.live.stages.hearing import Hearing
from worker.live.stages.recogniser import Recogniser, Spoken, Utterance
from worker.live.stages.tape import Tape


class Held:
    """A way to the engine that has nothing to say of what was before, and says so to the first one late."""

    def __init__(self) -> None:
        self.late, self.asked = asyncio.Event(), 0
        self.heard: list[int] = []

    def may_be_led(self, languages: Mapping[str, float], samples: int) -> bool:
        return True

    async def behind(self, pcm: Pcm) -> None:
        self.asked += 1
        if self.asked == 1:
            await self.late.wait()

    async def fully(self, pcm: Pcm) -> ChunkTranscript:
        self.heard.append(len(pcm))
        return SAID


def found(edge: Edge, start: float, end: float) -> Found:
    span = seconds(start, end)
    return Found(edge=edge, heard=span, start=span.start, end=span.end, speech=span)


def test_an_early_final_that_is_late_does_not_read_what_the_tape_has_forgotten() -> None:
    async def story() -> None:
        hearing, tape, told = Held(), Tape(), list[Spoken]()

        async def done(spoken: Spoken) -> None:
            told.append(spoken)

        async def tell(_: Any) -> None: ...

        recogniser = Recogniser(
            cast(Hearing, hearing), tape, partials=False, is_quiet=lambda: False, tell=tell, done=done
        )
        tape.add(np.zeros(10 * SAMPLE_RATE, np.int16))
        running = asyncio.create_task(recogniser.run())
        recogniser.begin(Utterance(number=0, channel=None, found=found(Edge.BEGUN, 0.0, 1.0), partly=0))
        recogniser.begin(Utterance(number=1, channel=None, found=found(Edge.BEGUN, 3.0, 4.0), partly=0))
        recogniser.tell_of(found(Edge.PAUSED, 3.0, 5.0))
        await eventually(lambda: hearing.asked)
        recogniser.tell_of(found(Edge.ENDED, 3.0, 6.0))
        await eventually(lambda: told)
        tape.add(np.zeros(SAMPLE_RATE, np.int16))
        tape.forget(10 * SAMPLE_RATE)
        hearing.late.set()
        await eventually(lambda: len(hearing.heard) == 2 or running.done())
        assert hearing.heard == [3 * SAMPLE_RATE, 2 * SAMPLE_RATE]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(story(), 20))
