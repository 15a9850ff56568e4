"""One stream's life: begun or gone on with, heard, recorded, ended, whatever becomes of its client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from core.audio.samples import SAMPLE_RATE, Pcm
from core.errors import DatabaseUnavailable, LeaseLost, ServiceError, refusal
from core.live.events import Ack, End, Event, Final, Partial, Ready, Stats, Translation, event_of
from core.live.sessions import SessionLease, StoredUtterance
from worker.context.figures import LiveCounted, StageDone
from worker.live.parts import Intake, Pipeline
from worker.live.serving.connection import Connection
from worker.live.serving.hold import Hold, again
from worker.live.serving.parts import Client, ClientGone, Serving
from worker.live.serving.positions import from_client, is_container, known_to, stored_frame, to_client
from worker.live.serving.queues import Command
from worker.live.serving.recording import Recording, finals_told, stored_audio
from worker.live.stages.translating import WAITING

log = logging.getLogger(__name__)

ENDING_SECONDS = 2.0
"""So long a client that is to be told something else is told of the end instead, if that is just being written."""

LAST_FINALS = WAITING + 1
"""Of a stream that goes on: all whose translation may have waited, or been under way. They are given to its pipeline; the
last of each channel is among them, if it matters still."""


class Stream:
    """What is told goes to the client of `attend` and, where there is none, nowhere: who goes on is told it again.

    position: what the client said in `from`
    Raises ValidationFailed for one that does not fit to what there is.
    """

    def __init__(self, serving: Serving, lease: SessionLease, *, position: int, resumed: bool) -> None:
        self.serving, self.options, self.resumed = serving, lease.session.options, resumed
        self._begun_with = session = lease.session
        self._from = position
        self.hold = Hold(serving.sessions, lease, serving.threads, lease_seconds=serving.pace.lease)
        self._container = is_container(session.options)
        #: in samples at 16 kHz: how far audio has come; all finals before are told
        self._at = 0 if self._container else from_client(session.options, position)
        self._settled = session.acked
        self._told_finals = session.utterances
        self._acked, self._ack_finals, self._acked_at = position, self._told_finals, 0.0
        self._connection = Connection(serving.pace, serving.tell, decoded=self._container)
        self._own: list[asyncio.Task[None]] = []  # as long as the stream
        self._hearing: asyncio.Task[None] | None = None
        self._broken = self._is_heard_out = self._is_alone = self._is_ending = self._is_ended = False
        self._intake: Intake | None = None
        self._pipeline: Pipeline | None = None
        self._recording: Recording | None = None
        self._kept: list[tuple[int, int, str]] = []

    @property
    def id(self) -> str:
        return self._begun_with.id

    @property
    def ended(self) -> bool:
        """Whether its session is over: there is nothing to go on with."""
        return self._is_ended or self._begun_with.ended

    @property
    def behind(self) -> float:
        return 0.0 if self._broken or self._pipeline is None else self._pipeline.behind

    @property
    def received(self) -> float:
        """Seconds of audio."""
        return self._at / SAMPLE_RATE

    def waiting(self) -> dict[str, int]:
        """How much waits in each stage."""
        pipeline = {} if self._pipeline is None else self._pipeline.waiting()
        return {"intake": self._connection.inbox.waiting, **pipeline, "output": self._connection.waiting}

    # --- its beginning
    async def open(self) -> None:
        """To be called first. Raises ValidationFailed, and what the object store and the parts do."""
        session, serving = self._begun_with, self.serving
        if self.resumed and self._container:
            self._kept = await self._off_the_loop(serving.sessions.pieces, session.id)
        if session.ended:
            return
        known = known_to(session)
        if self._from > known:
            raise refusal(
                {"field": "from", "message": f"Input should be at most {known}: what lies between is missing"}
            )
        if session.options.save or self._container:
            self._recording = Recording(
                self.hold,
                serving.objects,
                serving.threads,
                stored=session.stored,
                finals=lambda: self._told_finals,
                on_stored=self._ack,
                check_room=serving.check_room,
            )
        before = [] if not self.resumed else await self._finals(max(0, session.utterances - LAST_FINALS))
        self._intake = serving.intake(session.options)
        self._pipeline = await self._off_the_loop(serving.pipeline, session, before, self)
        self._own.append(asyncio.create_task(self._renew()))
        if self._recording is not None:
            self._own.append(asyncio.create_task(self._recording.run()))

    # --- its client
    async def attend(self, client: Client) -> BaseException | None:
        """Serve a client until it is gone (ClientGone), all is told (None), or the stream has failed: what it was."""
        connection = self._connection
        connection.begin(client)
        await connection.say(
            Ready(
                session=self.id,
                position=self._from,
                resumed=self.resumed,
                model=str(self._begun_with.params.get("model", "")),
                warnings=list(self._begun_with.warnings),
            )
        )
        failure: BaseException | None = None
        if self.resumed:  # before anything new
            try:
                await self._tell_again()
            except Exception as error:
                failure = error
        self._hearing = asyncio.create_task(self._hear_all(), name=f"live {self.id}")
        reporting = asyncio.create_task(self._report())
        if failure is None:
            failure = await connection.serve(self._hearing, reporting, *self._own, ended=lambda: self._is_ended)
        gone = isinstance(failure, ClientGone)
        self._is_alone = failure is not None  # nobody would be told of the end
        if self._is_ending and not gone:  # whatever came in between: it may have become a job
            await asyncio.wait({self._hearing}, timeout=ENDING_SECONDS)
            failure = None if self._is_ended else failure
        if failure is not None and not gone:
            self._broken = self._broken or (self._hearing.done() and self._hearing.exception() is not None)
            self.serving.tell(LiveCounted(what="failure", code=getattr(failure, "code", "internal")))
        elif failure is None and not self._is_ended:
            failure = LeaseLost("Another connection serves this stream now.")  # `close` has ended all parts
        await connection.end(failure)
        await _stopped(reporting)
        return failure

    def interrupt(self, reason: ServiceError) -> None:
        """Have `attend` return that, as soon as may be."""
        self._connection.interrupt(reason)

    async def _tell_again(self) -> None:
        """Finals that the client has not had for sure; and translations, which may have been done while it was away."""
        session, looked = self._begun_with, 64
        had = max((finals_told(key) for start, size, key in self._kept if start + size <= self._from), default=0)

        def is_new(one: StoredUtterance) -> bool:
            return one.number >= had if self._container else to_client(self.options, one.end) > self._from

        while True:  # of a day's finals, the last few are wanted
            first = max(0, session.utterances - looked)
            stored = await self._finals(first)
            if first == 0 or not all(is_new(one) for one in stored):
                break
            looked *= 8
        for one in stored:
            final = one.final if is_new(one) else None
            waited = final is not None or one.number >= session.utterances - LAST_FINALS
            for message in (final, one.translation if waited else None):
                if message is not None and (event := event_of(message)) is not None:
                    await self._connection.say(event)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.serving.pace.lease / 3)
            with contextlib.suppress(DatabaseUnavailable):  # the fence guards what is written meanwhile
                await self.hold.renew()

    async def _report(self) -> None:
        told = time.monotonic()
        while True:
            await asyncio.sleep(min(self.serving.pace.stats, self.serving.pace.acks))
            if time.monotonic() - told >= self.serving.pace.stats:  # ahead of the ack, which would be in its way
                told = time.monotonic()
                stats = Stats(received=round(self.received, 3), behind=round(self.behind, 3), queues=self.waiting())
                await self._connection.offer(stats)
            await self._ack()

    # --- from the client to the pipeline
    async def _hear_all(self) -> None:
        """Until the stream has ended, or the client is gone and what it sent is heard."""
        if self._begun_with.ended:
            await self._tell_the_end(self._begun_with.job_id)
            return
        for _, size, key in self._kept if self._container else ():
            async for data in stored_audio(self.serving.objects, self.serving.threads, key, size):
                await self._take(await self._reader.feed(data))
        inbox, told, waited, worked = self._connection.inbox, self._at, 0.0, 0.0
        while (item := await inbox.get()) is not None:
            began = time.monotonic()
            if isinstance(item, bytes):
                await self._hear(item)
            elif item is Command.FLUSH:
                await self._hearer.flush()
            else:
                await self._hear_out()
                if not self._is_alone:  # else it may come back for its last finals
                    await self._end(self.serving.pace.resume)  # the client may be lost before it is told
                return
            waited, worked = max(waited, inbox.waited), worked + time.monotonic() - began
            if self._at - told >= SAMPLE_RATE:
                self.serving.tell(StageDone(stage="intake", waited=waited, worked=worked))
                told, waited, worked = self._at, 0.0, 0.0

    async def _hear(self, data: bytes) -> None:
        if self._container:
            assert self._recording is not None
            skipped = min(len(data), self._recording.taken - self._from)
            self._from += len(data)
            data = data[skipped:]
            await self._recording.add(data)
        if data or self._container:
            await self._take(await self._reader.feed(data))

    async def _take(self, pcm: Pcm) -> None:
        """The next samples: into the recording, and to the pipeline what is not final yet."""
        start, self._at = self._at, self._at + len(pcm)
        if self._recording is not None and not self._container:
            there = self._recording.taken // stored_frame(self.options) - start
            await self._recording.add(pcm[max(0, there) :].tobytes())
        self.serving.heard(len(pcm) / SAMPLE_RATE)
        fresh = pcm[max(0, self._begun_with.acked - start) :]
        if len(fresh):
            await self._hearer.feed(fresh)

    async def _hear_out(self) -> None:
        """All that was sent is final and kept. Once."""
        if not self._is_heard_out:
            await self._take(await self._reader.finish())
            if self._recording is not None:
                await self._recording.flush()
            await self._hearer.finish()
            self._is_heard_out = True

    async def _end(self, seconds: float = 0.0) -> None:
        self._is_ending = True
        if self._recording is not None:
            await self._recording.flush()
        await self._ack(at_once=True)
        left = [] if self.options.save else await self._off_the_loop(self.serving.sessions.pieces, self.id)
        job = await self.hold.end(seconds)
        await self._tell_the_end(job)
        log.info("Live stream %s has ended after %.1f s%s", self.id, self.received, f": job {job}" if job else "")
        for _, _, key in left:
            with contextlib.suppress(ServiceError):  # the sweeper removes what is left
                await self._off_the_loop(self.serving.objects.delete, key)

    async def _tell_the_end(self, job: str | None) -> None:
        await self._connection.finish(End(duration=round(max(self._at, self._settled) / SAMPLE_RATE, 3), job=job))
        self._is_ended = True

    # --- a client that is gone
    async def linger(self, seconds: float | None = None) -> None:
        """What came is heard; whoever does not come back within so many seconds (None: `Pace.resume`) has ended the stream.

        Raises LeaseLost when somebody came back elsewhere, and DatabaseUnavailable: then the sweeper ends it.
        """
        pace = self.serving.pace
        seconds = pace.resume if seconds is None else seconds
        await self.hold.leave(seconds + pace.lease)
        until = time.monotonic() + seconds
        if self._hearing is not None and not await self._fails(self._hearing) and self._is_ended:
            return
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        if not self._broken:
            await self._fails(self._hear_out())
        await self._end_with_what_is_stored()

    async def _fails(self, hearing: Awaitable[None]) -> bool:
        """Whether it has failed by something other than that the stream is another's now."""
        try:
            await hearing
        except LeaseLost:
            raise
        except Exception as error:
            log.warning("Live stream %s goes on without its pipeline: %s", self.id, error)
            self._broken = True
        return self._broken

    async def _end_with_what_is_stored(self) -> None:
        if self._recording is not None:
            try:
                await self._recording.flush()
            except LeaseLost:
                raise
            except ServiceError as error:
                log.error("%d bytes of live stream %s are lost: %s", self._recording.waiting, self.id, error)
                self._recording.forget()
        await self._end()

    async def give_away(self) -> None:
        """The process stops: another one may go on at once, or ends the stream when nobody does. What has come is stored."""
        with contextlib.suppress(ServiceError):
            if self._recording is not None:
                await self._recording.flush()
            pace = self.serving.pace  # the next process may just be starting
            await self.hold.leave(pace.resume + pace.lease)

    async def close(self) -> None:
        """Let go of everything, whatever is under way."""
        self._broken = True
        await self._connection.close()
        await _stopped(*self._own, *([self._hearing] if self._hearing is not None else []))
        for part in (self._pipeline, self._intake):
            if part is not None:
                await part.close()

    # --- what the pipeline finds (`worker.live.parts.Sink`)
    async def tell(self, event: Event) -> None:
        await self._connection.say(event)
        if isinstance(event, Final):
            self._told_finals += 1
        if isinstance(event, Final | Partial):
            self.serving.tell(LiveCounted(what=event.type))

    async def keep(self, utterances: Sequence[StoredUtterance], *, acked: int) -> None:
        await self.hold.keep(list(utterances), acked=acked)

    async def settled(self, acked: int) -> None:
        self._settled = max(acked, self._settled)
        if self._recording is not None and not self._container and self._told_finals > self._ack_finals:
            await self._recording.wish()
        await self._ack()

    async def keep_translation(self, translation: Translation) -> None:
        await self.hold.keep_translation(translation.utterance, translation.to_dict())

    async def _ack(self, *, at_once: bool = False) -> None:
        """If there is something new, and either finals are among it or some time has passed."""
        position, samples = self._ackable()
        new_finals = self._told_finals > self._ack_finals and self._settled <= samples
        early = not at_once and time.monotonic() - self._acked_at < self.serving.pace.acks
        if position <= self._acked or (early and not new_finals):
            return
        self._acked, self._ack_finals, self._acked_at = position, self._told_finals, time.monotonic()
        await self.tell(Ack(samples=samples, position=position))
        self.serving.tell(LiveCounted(what="ack"))

    def _ackable(self) -> tuple[int, int]:
        """As the client counts, and in samples at 16 kHz."""
        if self._recording is None:
            return to_client(self.options, self._settled), self._settled
        if self._container:
            return self._recording.stored, self._settled
        samples = min(self._settled, self._recording.stored // stored_frame(self.options))
        return to_client(self.options, samples), samples

    # --- small things
    @property
    def _reader(self) -> Intake:
        assert self._intake is not None, "it is open"
        return self._intake

    @property
    def _hearer(self) -> Pipeline:
        assert self._pipeline is not None, "it is open"
        return self._pipeline

    async def _finals(self, first: int) -> list[StoredUtterance]:
        read = partial(self.serving.sessions.utterances, self.id, first=first)
        return list(await self._off_the_loop(read))

    async def _off_the_loop(self, work: Callable[..., Any], *given: Any) -> Any:
        async def run() -> Any:
            return await asyncio.get_running_loop().run_in_executor(self.serving.threads, partial(work, *given))

        return await again(run, what=f"Live stream {self.id}")


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
