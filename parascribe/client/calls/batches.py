"""Batches: many files asked for together. `Client.batches`, `AsyncClient.batches`."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

import httpx

from core.transcript.formats import FormatName
from parascribe.client.answers import json_of
from parascribe.client.blocking import Blocking, blocking
from parascribe.client.bodies import Batch, BatchPage, JobPage, Look, Params
from parascribe.client.calls.sending import Sending, path_of, query_of


class AsyncBatches(Sending):
    """The batches of one service.

    batch = await client.batches.create({"language": "en"})
    for path in paths:
        await client.submit(path, batch=batch["id"])  # or several at a time
    await client.batches.close(batch["id"])
    ...
    await client.batches.results(batch["id"], "texts.zip", "srt")

    Every method may raise what the client's do.
    """

    async def create(
        self,
        params: Params | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        items: Sequence[Mapping[str, Any]] = (),
    ) -> Batch:
        """An open batch. params: of each of its jobs, unless its upload says otherwise; metadata: your own, kept with it

        callback_url: told when all of its jobs have ended (`batch.completed`)
        items: files that the service is to fetch, each with what `Client.submit_from` takes; the batch is closed then
        """
        wanted = {name: value for name, value in (params or {}).items() if value is not None}
        own = {"metadata": metadata, "callback_url": callback_url, "items": [*items] or None}
        given = {"params": wanted} | {name: value for name, value in own.items() if value is not None}
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return cast(Batch, json_of(await self._send("POST", path_of("batches"), json=given, headers=headers)))

    async def get(self, batch_id: str) -> Batch:
        """The batch, and what its jobs come to. Raises NotFound."""
        return cast(Batch, json_of(await self._send("GET", path_of("batches", batch_id))))

    async def list(self, *, limit: int | None = None, after: str | None = None) -> BatchPage:
        """One page of batches, newest first; `after` is the `next` of the page before."""
        query = query_of(limit=limit, after=after)
        return cast(BatchPage, json_of(await self._send("GET", path_of("batches"), params=query)))

    async def items(
        self, batch_id: str, *, status: str | None = None, limit: int | None = None, after: str | None = None
    ) -> JobPage:
        """One page of its jobs, oldest first. Raises NotFound."""
        query = query_of(status=status, limit=limit, after=after)
        return cast(JobPage, json_of(await self._send("GET", path_of("batches", batch_id, "items"), params=query)))

    async def close(self, batch_id: str) -> Batch:
        """No more files. Raises NotFound."""
        return cast(Batch, json_of(await self._send("POST", path_of("batches", batch_id, "close"))))

    async def cancel(self, batch_id: str) -> Batch:
        """Close it, and cancel what has not ended. Raises Conflict (`already_terminal`), NotFound."""
        return await self._steer(batch_id, "cancel")

    async def retry(self, batch_id: str) -> Batch:
        """Make new jobs of those that failed, in their place. Raises Conflict (`already_terminal`), NotFound."""
        return await self._steer(batch_id, "retry")

    async def _steer(self, batch_id: str, how: str) -> Batch:
        answer = await self._send("POST", path_of("batches", batch_id, how), done="already_terminal")
        return cast(Batch, json_of(answer)) if answer.is_success else await self.get(batch_id)

    async def delete(self, batch_id: str) -> None:
        """Cancel its jobs if need be and remove them with their audio and transcripts. Raises NotFound."""
        await self._send("DELETE", path_of("batches", batch_id), done="batch_not_found")

    # `format` is the query's own name
    async def results(
        self,
        batch_id: str,
        path: str | Path,
        format: FormatName = "json",  # noqa: A002
        **look: Unpack[Look],
    ) -> Path:
        """Write all transcripts there are into a zip file, which is there whole or not at all; `errors.json` in it names the
        files without one. Raises Conflict (`not_ready`), NotFound, OSError.
        """
        path = Path(path)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        query = query_of(format=format, **look)

        async def fetch() -> httpx.Response:
            async with self._transport.stream(
                "GET", path_of("batches", batch_id, "results.zip"), params=query
            ) as answer:
                if not answer.is_success:
                    await answer.aread()
                    return answer
                with part.open("wb") as out:
                    async for block in answer.aiter_bytes():
                        await self._transport.blocking_io(out.write, block)
                return answer

        try:
            await self._attempt(fetch)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path


class Batches(Blocking):
    """`AsyncBatches`, each call of which returns when it is done."""

    create = blocking(AsyncBatches.create)
    get = blocking(AsyncBatches.get)
    list = blocking(AsyncBatches.list)
    items = blocking(AsyncBatches.items)
    close = blocking(AsyncBatches.close)
    cancel = blocking(AsyncBatches.cancel)
    retry = blocking(AsyncBatches.retry)
    delete = blocking(AsyncBatches.delete)
    results = blocking(AsyncBatches.results)
