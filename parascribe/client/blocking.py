"""Calls that are written for an event loop, without one: on a transport that blocks (`BlockingTransport`) they never wait for it."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """Has the calls of another, each of which returns when it is done: `get = blocking(Reading.get)`."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls


def run(work: Awaitable[T]) -> T:
    """What comes of it; raises what it raises."""
    try:
        next(work.__await__())
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("a transport that blocks waits for no event loop")


def each(stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """What it yields. It is closed with this."""
    try:
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield run(anext(stream))
    finally:
        run(stream.aclose())


def blocking(call: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Blocking, P], T]:
    """The same call, with the same parameters, as a method of a `Blocking`."""

    @functools.wraps(call)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(call(self._calls, *args, **kwargs))

    return method


def iterating(
    call: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Blocking, P], Generator[T, None, None]]:
    """As `blocking`, of what yields."""

    @functools.wraps(call)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return each(call(self._calls, *args, **kwargs))

    # for `help`
    signature = inspect.signature(call)
    returns = str(signature.return_annotation).removeprefix("Async")
    vars(method).update(__signature__=signature.replace(return_annotation=returns.replace(", None]", ", None, None]")))
    return method
