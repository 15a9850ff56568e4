"""Both clients for the same tests: `AsyncClient` is driven from outside of its event loop, by the names that `Client` has."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any

from parascribe import AsyncClient, Client
from parascribe.client.calls.sending import Sending

END = object()


class Face:
    """The calls of one object, each waited for."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if isinstance(value, Sending):
            return Face(value, self._loop)
        if inspect.iscoroutinefunction(value):
            return lambda *args, **options: self._wait(value(*args, **options))
        if inspect.isasyncgenfunction(value):
            return lambda *args, **options: self._each(value(*args, **options))
        return value

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(180)

    def _each(self, stream: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(stream, END)

        try:
            while (one := self._wait(following())) is not END:
                yield one
        finally:
            self._wait(stream.aclose())


class Driven(Face):
    """An `AsyncClient` in a loop of its own, in which nothing may go wrong unnoticed or be left behind."""

    def __init__(self, *args: Any, **options: Any) -> None:
        client = AsyncClient(*args, **options)
        loop = asyncio.new_event_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = float("inf")  # how long something takes is nobody's fault here
        super().__init__(client, loop)
        self._wrong: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, wrong: self._wrong.append(wrong))
        self._thread = threading.Thread(target=loop.run_forever)
        self._thread.start()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            left = self._wait(self._closed())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        assert not left and not self._wrong, (left, self._wrong)

    async def _closed(self) -> set[Any]:
        await self._target.aclose()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
        deadline = time.monotonic() + 10
        # httpx leaves generators inside of a stream that is left to the loop, which closes each in a task, one behind another
        while (left := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < deadline:
            await asyncio.wait(left, timeout=1)
        return left


KINDS: dict[str, Any] = {"Client": Client, "AsyncClient": Driven}
