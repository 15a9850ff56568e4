"""Several streams at once, from their sources to their outputs; Ctrl-C ends them, a second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from core.errors import ServiceError
from core.live.events import Event, Ready
from core.live.options import StreamOptions
from parascribe.cli.commands.common import Exit, note
from parascribe.cli.live.decoding import SourceFault
from parascribe.cli.live.outputs import Output, tell
from parascribe.cli.live.sources import Source
from parascribe.client.errors import ApiError, ClientError, ServiceUnreachable


class Stream(Protocol):
    """What is needed of `parascribe.client.live.LiveStream`."""

    @property
    def ready(self) -> Ready: ...

    async def send(self, audio: bytes) -> None: ...

    async def end(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[Event]: ...


class Streams(Protocol):
    """Who turns them into text: a service (`AsyncClient`) or this process (`LocalStreams`)."""

    def live(self, **options: Any) -> AbstractAsyncContextManager[Stream]: ...


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """stream: how the audio of each sounds; options: what else `start` has"""

    sources: Sequence[Source]
    stream: StreamOptions
    options: Mapping[str, Any]
    outputs: Sequence[Output]

    def go(self, opening: Callable[[], AbstractAsyncContextManager[Streams]]) -> Exit:
        """Until all have ended. opening: called within the event loop"""
        return asyncio.run(self._all(opening))

    async def _all(self, opening: Callable[[], AbstractAsyncContextManager[Streams]]) -> Exit:
        stopping = asyncio.Event()
        with _interrupts(stopping) as second:
            async with opening() as client:
                names = _names([source.name for source in self.sources])
                streams = [
                    asyncio.create_task(self._one(client, source, name, stopping))
                    for source, name in zip(self.sources, names, strict=True)
                ]
                leaving = asyncio.create_task(second.wait())
                try:
                    for ended in asyncio.as_completed([*streams, leaving]):
                        await ended
                        if leaving.done() or all(stream.done() for stream in streams):
                            break
                finally:
                    for task in (*streams, leaving):
                        task.cancel()
                    codes = await asyncio.gather(*streams, return_exceptions=True)
                known = [code for code in codes if isinstance(code, Exit)]
                return max(known) if len(known) == len(streams) else Exit.INTERRUPTED

    async def _one(self, client: Streams, source: Source, name: str, stopping: asyncio.Event) -> Exit:
        try:
            options: dict[str, Any] = {"name": source.title} | dict(self.options)
            async with client.live(**options) as stream:
                tell(self.outputs, name, stream.ready)
                speaking = asyncio.create_task(self._speak(stream, source, stopping))
                try:
                    async for event in stream:
                        tell(self.outputs, name, event)
                    await speaking
                finally:
                    speaking.cancel()
                    await asyncio.gather(speaking, return_exceptions=True)
        except (ClientError, ServiceError) as error:
            said = _in_words(error)
            note(f"parascribe: {name}: {said}" if name else f"parascribe: {said}")
            return Exit.UNREACHABLE if isinstance(error, ServiceUnreachable) else Exit.FAILED
        return Exit.OK

    async def _speak(self, stream: Stream, source: Source, stopping: asyncio.Event) -> None:
        """All of the source, or until it is enough. Raises SourceFault when what came has been ended properly."""
        feeding = asyncio.create_task(self._feed(stream, source))
        enough = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({feeding, enough}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (feeding, enough):
                task.cancel()
            await asyncio.gather(feeding, enough, return_exceptions=True)
        await stream.end()
        if not feeding.cancelled() and isinstance(fault := feeding.exception(), SourceFault | OSError):
            raise SourceFault(str(fault)) from fault

    async def _feed(self, stream: Stream, source: Source) -> None:
        blocks = source.blocks(self.stream)
        async with contextlib.aclosing(blocks):
            async for block in blocks:
                await stream.send(block)


def _in_words(error: ClientError | ServiceError) -> str:
    match error:
        case ServiceUnreachable():
            return f"{error}\n  Without a service: --local"
        case ApiError(code="live_unavailable"):
            return f"{error.explain()}\n  Does a consumer run there, with LIVE_ENABLED? Without a service: --local"
        case ApiError():
            return error.explain()
        case ServiceError():
            return f"{error.message} ({error.code})"
    return str(error)


def _names(given: Sequence[str]) -> list[str]:
    """Each its own; none where there is one alone."""
    if len(given) == 1:
        return [""]
    return [
        name if given.count(name) == 1 else f"{name} ({given[: n + 1].count(name)})" for n, name in enumerate(given)
    ]


@contextlib.contextmanager
def _interrupts(first: asyncio.Event) -> Iterator[asyncio.Event]:
    """SIGINT and SIGTERM set the first, then the one that is given."""
    loop, second = asyncio.get_running_loop(), asyncio.Event()

    def caught() -> None:
        if first.is_set():
            second.set()
        else:
            first.set()
            note("Ending; what was said last is still being heard. Ctrl-C once more leaves at once.")

    numbers = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # Windows, or not the main thread
        for number in numbers:
            loop.add_signal_handler(number, caught)
    try:
        yield second
    finally:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)
