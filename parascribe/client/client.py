"""Clients for the service's HTTP interface: one whose calls return when they are done, and one for asyncio.

from parascribe import Client

with Client() as client:
    job = client.wait(client.submit("talk.mp3", language="en")["id"])
    print(client.result(job["id"])["text"])

from parascribe import AsyncClient

async with AsyncClient() as client:
    job = await client.wait((await client.submit("talk.mp3", language="en"))["id"])
    print((await client.result(job["id"]))["text"])
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, Unpack, overload

from core.transcript.formats import FormatName, JsonFormat, TextFormat
from parascribe.client.blocking import Blocking, blocking, iterating, run
from parascribe.client.bodies import Look
from parascribe.client.calls.batches import AsyncBatches, Batches
from parascribe.client.calls.changing import Changing
from parascribe.client.calls.following import Following
from parascribe.client.calls.uploading import Uploading
from parascribe.client.calls.voices import AsyncVoices, Voices
from parascribe.client.calls.webhooks import AsyncWebhooks, Webhooks
from parascribe.client.live import LiveStream
from parascribe.client.transport import AsyncioTransport, BlockingTransport


class Calls(Uploading, Following, Changing):
    """All calls, on whatever transport."""

    @property
    def batches(self) -> AsyncBatches:
        """Many files asked for together."""
        return AsyncBatches(self._transport)

    @property
    def voices(self) -> AsyncVoices:
        """Voices that you keep."""
        return AsyncVoices(self._transport)

    @property
    def webhooks(self) -> AsyncWebhooks:
        """Who is told of your jobs."""
        return AsyncWebhooks(self._transport)


class AsyncClient(Calls):
    """One service, for one event loop (asyncio): the argument, else `PARASCRIBE_URL`, else http://127.0.0.1:8000.

    api_key: where the service needs one; else `PARASCRIBE_API_KEY`.
    timeout: seconds of silence in one request (connect: at most 10).
    Any number of calls may be under way; files are read in threads. A task that is cancelled closes its connection, and so does
    a loop over `follow`, `watch` or `as_completed` that is left: at once with `contextlib.aclosing`, else soon.
    Every method may raise ServiceUnreachable (making one too, for what is no address) or ApiError (`parascribe.client.errors`).
    """

    def __init__(self, base_url: str | None = None, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        self._transport: AsyncioTransport
        super().__init__(AsyncioTransport(base_url, api_key=api_key, timeout=timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def live(self, **options: Any) -> LiveStream:
        """Speech while it is spoken: `async with client.live(language="de") as stream` (`parascribe.client.live`).

        options: of `start` (docs/reference/live.md), such as sample_rate, encoding, language, translate_to, save
        """
        return LiveStream(self._transport, options)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.http.aclose()


class Client(Blocking):
    """One service, by its address: the argument, else `PARASCRIBE_URL`, else http://127.0.0.1:8000.

    api_key: where the service needs one; else `PARASCRIBE_API_KEY`.
    Safe to use from several threads. timeout: seconds of silence in one request (connect: at most 10).
    Every method may raise ServiceUnreachable (making one too, for what is no address) or ApiError (`parascribe.client.errors`).
    """

    def __init__(self, base_url: str | None = None, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        self._transport = BlockingTransport(base_url, api_key=api_key, timeout=timeout)
        super().__init__(Calls(self._transport))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.http.close()

    @property
    def base_url(self) -> str:
        """The service's address."""
        return self._transport.base_url

    @property
    def batches(self) -> Batches:
        """Many files asked for together."""
        return Batches(AsyncBatches(self._transport))

    @property
    def voices(self) -> Voices:
        """Voices that you keep."""
        return Voices(AsyncVoices(self._transport))

    @property
    def webhooks(self) -> Webhooks:
        """Who is told of your jobs."""
        return Webhooks(AsyncWebhooks(self._transport))

    submit = blocking(Calls.submit)
    submit_from = blocking(Calls.submit_from)

    get = blocking(Calls.get)
    list = blocking(Calls.list)
    search = blocking(Calls.search)
    models = blocking(Calls.models)
    system = blocking(Calls.system)

    wait = blocking(Calls.wait)
    wait_all = blocking(Calls.wait_all)
    as_completed = iterating(Calls.as_completed)
    watch = iterating(Calls.watch)
    follow = iterating(Calls.follow)

    cancel = blocking(Calls.cancel)
    retry = blocking(Calls.retry)
    delete = blocking(Calls.delete)

    transcript = blocking(Calls.transcript)
    edit = blocking(Calls.edit)
    name_speakers = blocking(Calls.name_speakers)

    get_processing_stats = blocking(Calls.get_processing_stats)
    get_active_tasks = blocking(Calls.get_active_tasks)
    get_task_status = blocking(Calls.get_task_status)

    # the type follows from the format: what `blocking` cannot say
    @overload
    def result(
        self, job_id: str, format: JsonFormat = "json", *, revision: int | str = "latest", **look: Unpack[Look]
    ) -> dict[str, Any]: ...
    @overload
    def result(
        self, job_id: str, format: TextFormat, *, revision: int | str = "latest", **look: Unpack[Look]
    ) -> str: ...
    def result(
        self,
        job_id: str,
        format: FormatName = "json",  # noqa: A002
        *,
        revision: int | str = "latest",
        **look: Unpack[Look],
    ) -> dict[str, Any] | str:
        came: dict[str, Any] | str = run(self._calls.result(job_id, format, revision=revision, **look))
        return came

    result.__doc__ = Calls.result.__doc__
