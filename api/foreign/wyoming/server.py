"""The port on which Wyoming is spoken (WYOMING_HOST, WYOMING_PORT)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from api.deps import Parts
from api.foreign.wyoming.conversation import Conversation
from api.foreign.wyoming.wire import LINE_BYTES

log = logging.getLogger(__name__)

MOST = 64
"""Connections at once; more are closed as they come."""


@contextlib.asynccontextmanager
async def serving(parts: Parts, host: str, port: int, *, idle: float) -> AsyncIterator[int]:
    """Answer as long as the block lasts; gives the port. Raises OSError.

    port: 0 picks a free one; idle: seconds without an event after which a connection is closed
    """
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if len(tasks) <= MOST:
                await Conversation(parts, reader, writer, idle=idle).run()
        except (TimeoutError, asyncio.CancelledError):
            pass  # a client that reads nothing, or the end of the service
        except Exception:
            log.exception("A Wyoming connection failed")
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(answer, host, port, limit=LINE_BYTES)
    bound: int = server.sockets[0].getsockname()[1]
    log.info("Wyoming on %s:%d: whoever can reach it may use it", host, bound)
    try:
        yield bound
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
