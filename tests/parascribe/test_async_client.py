"""What `AsyncClient` alone can do: a hundred things at once, being cancelled, being left."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from api.events import hub
from core.objects.memory import MemoryObjects
from core.store.sql import SqlStore
from parascribe import AsyncClient
from parascribe.client.parts import FROM_BYTES
from tests.api.serving import make_app, serving, wav
from tests.api.talks import Talk
from tests.core.store_kit import take
from tests.parascribe.test_follow import asked

Do = Callable[[AsyncClient], Coroutine[Any, Any, Any]]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.02)


@pytest.fixture
def store() -> SqlStore:
    return SqlStore.in_memory()


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def app(tmp_path: Path, store: SqlStore, objects: MemoryObjects) -> FastAPI:
    return make_app(tmp_path / "service", store, objects=objects)


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with serving(app) as port:
        yield port


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    path.write_bytes(wav())
    return path


@pytest.fixture
def do(port: int) -> Callable[..., Any]:
    """Runs it with a client; what is left open, or not awaited, is an error (of the loop's, or a warning)."""

    async def with_client(work: Do) -> Any:
        wrong: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = float("inf")
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            came = await work(client)
        gc.collect()
        await asyncio.sleep(0)
        assert wrong == []
        return came

    def run(work: Do, *, debug: bool = True) -> Any:
        came = asyncio.run(with_client(work), debug=debug)
        gc.collect()
        return came

    return run


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (it is another thread that does it)
            await asyncio.sleep(0.01)


def followers(app: FastAPI) -> int:
    """How many the service tells of jobs."""
    at: hub.Hub = app.state.parts.hub
    return sum(len(source.followers) for source in (*at._watched.values(), *at._overviews.values()))


def test_a_hundred_at_once_over_one_stream(
    do: Callable[..., Any], app: FastAPI, port: int, store: SqlStore, file: Path
) -> None:
    async def work(client: AsyncClient) -> None:
        few = asyncio.Semaphore(20)

        async def one(number: int) -> str:
            async with few:
                return (await client.submit(file, filename=f"{number}.wav"))["id"]

        ids = await asyncio.gather(*(one(number) for number in range(100)))
        waiting = asyncio.create_task(client.wait_all(ids))
        await until(lambda: followers(app) == 1)

        def finish_all() -> None:
            for _ in ids:
                store.finish(take(store), result_key="r", partial=False, gaps=[], warnings=[], performance={})

        await asyncio.to_thread(finish_all)
        jobs = await waiting
        assert [job["id"] for job in jobs] == ids
        assert {job["status"] for job in jobs} == {"completed"}
        assert [job["source"]["filename"] for job in jobs] == [f"{number}.wav" for number in range(100)]

    do(work, debug=False)  # which is slow
    assert asked(port, "/api/v1/events") == 1, "one stream"
    assert asked(port, "/api/v1/jobs/{job_id}") == 0, "and nothing is polled"


def lasting(client: AsyncClient, ids: list[str]) -> list[Coroutine[Any, Any, Any]]:
    """What lasts until jobs have ended, each in one task."""

    async def all_of(stream: Any) -> None:
        async for _ in stream:
            pass

    return [client.wait(ids[0]), client.wait_all(ids), all_of(client.as_completed(ids)), all_of(client.follow(ids[0]))]


def test_who_is_cancelled_closes_its_connection(do: Callable[..., Any], app: FastAPI, store: SqlStore) -> None:
    ids = [Talk(store).id for _ in range(2)]

    async def work(client: AsyncClient) -> None:
        tasks = [asyncio.create_task(call) for call in lasting(client, ids)]
        await until(lambda: followers(app) == len(tasks))
        for gone, task in enumerate(tasks, 1):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda gone=gone: followers(app) == len(tasks) - gone)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.wait_all(ids)
        await until(lambda: followers(app) == 0)
        assert (await client.get(ids[0]))["id"] == ids[0], "and the client goes on"

    do(work)


@pytest.mark.parametrize("at_once", [True, False])
def test_who_leaves_a_loop_closes_its_connection(
    do: Callable[..., Any], app: FastAPI, store: SqlStore, at_once: bool
) -> None:
    ids = [Talk(store).id for _ in range(2)]

    async def work(client: AsyncClient) -> None:
        for opened in (lambda: client.follow(ids[0]), lambda: client.watch(ids)):
            if at_once:
                async with aclosing(opened()) as found:
                    assert await anext(found)
            else:
                async for _ in opened():
                    break
            await until(lambda: followers(app) == 0)

    do(work)


@pytest.mark.parametrize("size", [1 << 20, FROM_BYTES])
def test_a_cancelled_upload_leaves_nothing(
    do: Callable[..., Any], objects: MemoryObjects, tmp_path: Path, size: int
) -> None:
    (tmp_path / "long.wav").write_bytes(wav(size))

    async def work(client: AsyncClient) -> None:
        loop_s_thread = threading.get_ident()
        began = asyncio.Event()

        def on_bytes(sent: int, total: int) -> None:
            assert threading.get_ident() == loop_s_thread and total == size
            began.set()

        task = asyncio.create_task(client.submit(tmp_path / "long.wav", on_bytes=on_bytes))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not list(objects.keys("")))
        assert (await client.list())["items"] == []

    do(work)


def test_a_pipe_that_waits_holds_up_nobody(do: Callable[..., Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")

    async def work(client: AsyncClient) -> None:
        sending = asyncio.create_task(client.submit(tmp_path / "pipe.wav"))
        with await asyncio.to_thread((tmp_path / "pipe.wav").open, "wb") as writer:
            assert (await client.list())["items"] == []
            assert not sending.done()
            writer.write(wav())
        assert (await sending)["source"]["filename"] == "pipe.wav"

    do(work)
