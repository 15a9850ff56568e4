"""`AsyncClient.live`: text while it is spoken, whatever breaks in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from api.live.scripted import ScriptedLinks
from core.errors import LiveFull
from core.live.events import Ack, End, Event, Final, SpeechStart
from parascribe import AsyncClient
from parascribe.client.errors import ApiError, NotFound, Overloaded, ServiceUnreachable
from tests.api.serving import Service, service
from tests.api.test_live_links import SCRIPT, TEXTS, check_order, texts

TENTH = bytes(3200)


class Line:
    """A line to a service, which can be cut; while it is down, nobody comes through."""

    def __init__(self, port: int) -> None:
        self._upstream, self._writers, self.down = port, set[asyncio.StreamWriter](), False
        self.refused = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._through, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            self.refused.set()
            writer.transport.abort()
            return
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, there}

        async def pipe(one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
            try:
                while block := await one.read(65536):
                    other.write(block)
                    await other.drain()
            except OSError:
                pass
            finally:
                other.close()

        await asyncio.gather(pipe(reader, there), pipe(there_reader, writer))


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("live"), live=ScriptedLinks(SCRIPT)) as started:
        yield started


def with_client(running: Service, work: Callable[[AsyncClient, Line], Awaitable[None]]) -> None:
    async def run() -> None:
        line = Line(running.port)
        async with line.open() as address, AsyncClient(address) as client, asyncio.timeout(30):
            await work(client, line)

    asyncio.run(run())


async def speak(stream: Any, seconds: float = 6.0) -> None:
    for _ in range(round(seconds * 10)):
        await stream.send(TENTH)


def test_a_stream_is_heard_to_its_end(speaking: Service) -> None:
    async def work(client: AsyncClient, line: Line) -> None:
        async with client.live(translate_to="de", language=None) as stream:
            assert stream.session and stream.job is None
            await speak(stream)
            await stream.end()
            told = [event async for event in stream]
            assert texts(told) == TEXTS and isinstance(told[-1], End)
            assert stream.job == told[-1].job and stream.job
            with pytest.raises(ValueError, match="the end|has ended"):
                await stream.send(TENTH)
            with pytest.raises(ValueError, match="the end|has ended"):
                await stream.flush()
        check_order(told)

    with_client(speaking, work)


def test_a_connection_that_breaks_is_made_anew_without_a_gap_or_a_repeat(speaking: Service) -> None:
    async def work(client: AsyncClient, line: Line) -> None:
        async with client.live() as stream:
            told: list[Event] = []
            events = aiter(stream)

            async def until(kind: type[Event], number: int) -> None:
                async for event in events:
                    told.append(event)
                    if isinstance(event, kind) and getattr(event, "utterance", number) == number:
                        return

            await speak(stream, 2.5)
            await until(SpeechStart, 1)
            line.cut()
            await speak(stream, 2.0)
            await until(Final, 1)
            line.down = True
            line.cut()
            await speak(stream, 1.5)
            await stream.flush()
            await stream.end()
            await line.refused.wait()
            line.down = False
            told += [event async for event in events]
        assert texts(told) == TEXTS
        check_order(told)
        acks = [event.position for event in told if isinstance(event, Ack)]
        assert acks[-1] == 96_000

    with_client(speaking, work)


def test_what_is_refused_is_raised_as_of_any_call(speaking: Service, tmp_path: Path) -> None:
    async def enter(client: AsyncClient, **options: Any) -> None:
        async with client.live(**options):
            pass

    async def work(client: AsyncClient, line: Line) -> None:
        with pytest.raises(ApiError) as refused:
            await enter(client, sample_rate=12)
        assert refused.value.code == "validation" and "sample_rate" in refused.value.explain()
        with pytest.raises(NotFound) as unknown:
            await enter(client, session="nobody's")
        assert unknown.value.code == "live_session_not_found"
        line.down = True
        with pytest.raises(ServiceUnreachable):
            await enter(client)

    with_client(speaking, work)

    async def full(client: AsyncClient, line: Line) -> None:
        with pytest.raises(Overloaded) as refused:
            await enter(client)
        assert refused.value.code == "live_full"

    with service(tmp_path, live=ScriptedLinks(refuse=LiveFull())) as running:
        with_client(running, full)


@pytest.mark.parametrize("first", ["hello", '{"type": "partial"}', '{"type": "ready", "session": "one"}'])
def test_an_answer_that_nobody_understands_is_raised_for_who_sends_and_who_listens(first: str) -> None:
    async def greet(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(first)
        await socket.send("[]")
        await socket.wait_closed()

    async def work() -> None:
        async with serve(greet, "127.0.0.1", 0) as server, asyncio.timeout(20):
            port = next(iter(server.sockets)).getsockname()[1]
            async with AsyncClient(f"http://127.0.0.1:{port}") as client:
                with pytest.raises(ApiError) as heard:
                    async with client.live() as stream:
                        with pytest.raises(ApiError):
                            _ = [event async for event in stream]
                        await stream.send(TENTH)
                assert heard.value.code == "not_parascribe"

    asyncio.run(work())


def test_a_stream_that_is_left_can_be_gone_on_with_by_its_session(speaking: Service) -> None:
    async def work(client: AsyncClient, line: Line) -> None:
        async with client.live() as stream:
            await speak(stream, 1)
        async with client.live(session=stream.session) as again:
            assert again.ready.resumed
            await speak(again)
            await again.end()
            assert texts([event async for event in again]) == TEXTS

    with_client(speaking, work)
