"""The streams of one process: taken in, taken over, left by their clients, given away when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from uuid_utils import uuid7

from core.errors import HandedBack, LeaseLost, ServiceError, refusal
from core.live.options import Start
from core.live.sessions import NewSession, Session, SessionLease
from worker.context.figures import LiveCounted
from worker.live.serving.admission import Admission
from worker.live.serving.closing import may_go_on
from worker.live.serving.parts import Client, ClientGone, Serving
from worker.live.serving.stream import Stream

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""For telling clients that the process stops, and then again for storing what has come."""

Check = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], list[dict[str, Any]]]]
"""Options of a job as they were sent to those that it has (`JobParams.to_dict`), and warnings. Raises as `Intake.check`."""


class Streams:
    """check: blocks; changed: told how many have a client, each time that is another number"""

    def __init__(
        self,
        serving: Serving,
        check: Check,
        admission: Admission,
        *,
        changed: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._serving, self._check, self._admission, self._changed = serving, check, admission, changed
        self._attended: dict[str, Stream] = {}
        self._left: dict[str, tuple[Stream, asyncio.Task[None]]] = {}
        self._beginning = 0
        self._aside: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._nobody = asyncio.Event()  # has a client
        self._nobody.set()

    @property
    def attended(self) -> list[Stream]:
        """Those that have a client."""
        return list(self._attended.values())

    async def begin(self, start: Start, owner: str | None) -> Stream:
        """Begin a stream, or go on with one. Raises LiveFull before anything is stored, LiveSessionNotFound, LiveSessionEnded,
        HandedBack, ValidationFailed, InsufficientStorage, and what `Check` and the stores do."""
        if self._stopping:
            raise HandedBack("This process stops.")
        there = len(self._attended) + self._beginning - (start.session in self._attended)
        self._admission.check(there)
        self._beginning += 1
        try:
            lease = await self._lease(start, owner)
            position, resumed = start.position, start.session is not None
            stream = Stream(self._serving, lease, position=position, resumed=resumed)
            try:
                await stream.open()
                if self._stopping:
                    raise HandedBack("This process stops.")
            except BaseException:
                await stream.give_away()
                await stream.close()
                raise
            self._take_over(stream)
            return stream
        finally:
            self._beginning -= 1

    async def _lease(self, start: Start, owner: str | None) -> SessionLease:
        serving, given = self._serving, {"consumer": self._serving.consumer, "lease_seconds": self._serving.pace.lease}
        sessions = serving.sessions
        params: Mapping[str, Any] = {}
        warnings: list[dict[str, Any]] = []
        if start.session is None or start.job:  # who goes on need not say all of it again
            params, warnings = await self._blocking(self._check, start.job)
        if start.session is not None:
            lease: SessionLease = await self._blocking(sessions.resume_session, start.session, owner=owner, **given)
            try:
                _fits(lease.session, start, params)
            except ServiceError:
                if not lease.session.ended:
                    await self._blocking(sessions.leave_session, lease)
                raise
            serving.tell(LiveCounted(what="resume"))
            return lease
        if start.position:
            raise refusal({"field": "from", "message": "means something with session only"})
        if start.stream.refine and not start.stream.save:
            raise refusal({"field": "refine", "message": "means something with save=true only"})
        if start.stream.save or start.stream.encoding == "container":
            await self._blocking(serving.check_room)
        new = NewSession(id=str(uuid7()), owner=owner, options=start.stream, params=params, warnings=warnings)
        begun: SessionLease = await self._blocking(sessions.begin_session, new, **given)
        serving.tell(LiveCounted(what="begin"))
        return begun

    def _take_over(self, stream: Stream) -> None:
        """From whichever connection of this process had it: its lease is lost already, and nobody waits for it."""
        if (before := self._attended.pop(stream.id, None)) is not None:
            before.interrupt(LeaseLost("Another connection serves this stream now."))
        if (left := self._left.pop(stream.id, None)) is not None:
            left[1].cancel()
        self._attended[stream.id] = stream
        self._nobody.clear()
        self._count()

    def _count(self) -> None:
        self._admission.streams = len(self._attended)
        self._changed(len(self._attended))

    async def attend(self, stream: Stream, client: Client) -> BaseException | None:
        """Serve a client until it is gone (ClientGone), all is told (None), or the stream has failed: what it was."""
        failure: BaseException | None = HandedBack("This process stops.")
        try:
            failure = await stream.attend(client)
            return failure
        finally:
            if self._attended.get(stream.id) is stream:
                del self._attended[stream.id]
                self._count()
            if not self._attended:
                self._nobody.set()
            if stream.ended or isinstance(failure, LeaseLost):
                await stream.close()
            elif self._stopping:
                await self._give_away(stream)
            else:
                seconds = None if failure is None or isinstance(failure, ClientGone) or may_go_on(failure) else 0.0
                self._left[stream.id] = stream, self._spawn(self._linger(stream, seconds))

    async def _linger(self, stream: Stream, seconds: float | None) -> None:
        try:
            await stream.linger(seconds)
        except LeaseLost:
            log.info("Live stream %s goes on elsewhere", stream.id)
        except ServiceError as error:
            log.warning("Live stream %s is left for the sweeper: %s", stream.id, error.message)
        except Exception:
            log.exception("Live stream %s is left for the sweeper", stream.id)
        finally:
            if self._left.get(stream.id, (None,))[0] is stream:
                del self._left[stream.id]
            await stream.close()

    async def stop(self) -> None:
        """Tell all clients to go on elsewhere, and let go of all streams, so that they can at once."""
        self._stopping = True
        for stream in self.attended:
            stream.interrupt(HandedBack("This process stops; go on with the session."))
        for stream, lingering in list(self._left.values()):
            lingering.cancel()
            self._spawn(self._give_away(stream))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._nobody.wait()
                if self._aside:
                    await asyncio.wait(self._aside)
        for task in [*self._aside]:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)

    async def _give_away(self, stream: Stream) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await stream.give_away()
        except Exception as error:
            log.warning("Live stream %s is left as it is: %s", stream.id, error or type(error).__name__)
        finally:
            await stream.close()

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
        return task

    async def _blocking(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        def run() -> Any:
            return work(*given, **named)

        return await asyncio.get_running_loop().run_in_executor(self._serving.threads, run)


def _fits(session: Session, start: Start, params: Mapping[str, Any]) -> None:
    """Raises ValidationFailed where a stream that goes on is asked for as another one than it is."""
    had, asked = session.options.to_dict(), start.stream.to_dict()
    usual = type(start.stream)().to_dict()
    wrong = [name for name in had if asked[name] not in (had[name], usual[name])]
    wrong += [name for name in start.job if params.get(name) != session.params.get(name)]
    if wrong:
        raise refusal(*({"field": name, "message": "is another than the stream was begun with"} for name in wrong))
