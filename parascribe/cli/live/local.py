"""Live streams in this process, without a service. What `parascribe live --local` does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from core.config.settings import Settings
from core.errors import refusal
from core.jobs.params import JobParams
from core.live.events import End, Event, Failure, Ready
from core.live.options import OF_JOBS, Start
from core.options import options
from core.system import logs
from parascribe.client.errors import ClientError
from parascribe.run.live_parts import MOST_STREAMS, make_parts, open_streams
from parascribe.run.local import isolated_settings
from parascribe.run.parts import running_manager
from parascribe.run.runtime import private_folder
from parascribe.run.wiring.engine import start_plan
from parascribe.run.wiring.models import open_downloader, open_models
from parascribe.run.wiring.stores import open_store
from parascribe.screen.progress import download_progress
from worker.live.serving.queues import Command
from worker.live.serving.stream import Stream
from worker.live.serving.streams import Streams

WAITING = 16
"""Blocks of audio, or events, between the source or the outputs and the stream."""
FOR_A_SERVICE = frozenset(option.name for option in options(JobParams) if not option.about.heard) & OF_JOBS

log = logging.getLogger(__name__)


class StreamFailed(ClientError):
    """A stream was broken off."""


@contextlib.contextmanager
def local_streams(settings: Settings, given: Mapping[str, Any]) -> Iterator[LocalStreams]:
    """An engine, a table and a folder for the time of the block; a model that is missing is fetched first.

    given: options of all streams
    Raises ServiceError for what concerns all streams (an unknown model, no engine library).
    """
    if served := sorted(FOR_A_SERVICE & given.keys()):
        raise refusal(*({"field": name, "message": "this is for jobs of a service"} for name in served))
    # what is told of a stream goes to the same terminal
    settings = settings.model_copy(update={"log_level": "ERROR", "metrics_port": 0, "max_live_streams": MOST_STREAMS})
    logs.setup(settings.log_level, settings.log_format, role="local")
    with contextlib.ExitStack() as stack:
        isolated = stack.enter_context(isolated_settings(settings))
        runtime = stack.enter_context(private_folder())
        store = open_store(isolated)
        stack.callback(store.close)
        _fetch(isolated, given.get("model") or isolated.whisper_model)
        plan = start_plan(isolated, runtime)
        if isolated.whisper_executable is None:
            stack.enter_context(running_manager(isolated, runtime, plan))
        streams, _ = open_streams(stack, isolated, runtime, store, consumer="local", make=make_parts)
        yield LocalStreams(streams)


def _fetch(settings: Settings, model: str) -> None:
    """Raises UnknownModel, and what keeps a model from being fetched."""
    models = open_models(settings)
    downloader = open_downloader(settings, models, None)
    if models.path(model) is not None:
        return
    with download_progress(model) as progress:
        downloader.ensure_model_exists(model, progress=progress)


class LocalStreams:
    """As `parascribe.client.AsyncClient`, of which streams need no more than `live`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._streams.stop()

    def live(self, **given: Any) -> LocalStream:
        return LocalStream(self._streams, given)


class LocalStream:
    """As `parascribe.client.live.LiveStream`; nothing of it is kept."""

    def __init__(self, streams: Streams, given: dict[str, Any]) -> None:
        self._streams, self._given = streams, given
        self._line = _Line()
        self._task: asyncio.Task[None] | None = None
        self.ready = Ready(session="")

    async def __aenter__(self) -> Self:
        """Raises ServiceError, StreamFailed."""
        stream = await self._streams.begin(Start.of({"type": "start"} | self._given | {"save": False}), None)
        self._task = asyncio.create_task(self._attend(stream))
        ready = await self._line.told.get()
        if not isinstance(ready, Ready):
            await self._stop()
            raise _failed(ready)
        self.ready = ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def send(self, audio: bytes) -> None:
        """The next audio; waits while too much is not heard yet."""
        await self._line.said.put(audio)

    async def end(self) -> None:
        """Nothing more comes: the rest is told, then `End`."""
        await self._line.said.put(Command.END)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Up to `End`. Raises StreamFailed."""
        while True:
            event = await self._line.told.get()
            if event is None or isinstance(event, Failure):
                raise _failed(event)
            yield event
            if isinstance(event, End):
                return

    async def _attend(self, stream: Stream) -> None:
        try:
            await self._streams.attend(stream, self._line)
        except Exception:
            log.exception("A live stream failed")
        await self._line.told.put(None)

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class _Line:
    """A `worker.live.serving.parts.Client`."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes | Command] = asyncio.Queue(WAITING)
        self.told: asyncio.Queue[Event | None] = asyncio.Queue(WAITING)

    async def receive(self) -> bytes | Command:
        return await self.said.get()

    async def send(self, event: Event) -> None:
        await self.told.put(event)


def _failed(event: Event | None) -> StreamFailed:
    if isinstance(event, Failure):
        return StreamFailed(f"{event.message} ({event.code})")
    return StreamFailed("The stream has broken off.")
