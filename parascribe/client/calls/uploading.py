"""New jobs: of a file that is sent, or one that the service fetches."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import BinaryIO, Unpack, cast

import httpx

from parascribe.client.answers import form_text, json_of
from parascribe.client.bodies import Job, Params
from parascribe.client.calls.reading import Reading
from parascribe.client.calls.sending import path_of, query_of
from parascribe.client.inputs import OnBytes, Steady, called, opened
from parascribe.client.known_speakers import has_samples, with_samples
from parascribe.client.parts import FROM_BYTES, send_in_parts


class Uploading(Reading):
    """Calls that make jobs."""

    async def submit(
        self,
        path: str | Path | BinaryIO,
        *,
        filename: str | None = None,
        on_bytes: OnBytes | None = None,
        idempotency_key: str | None = None,
        batch: str | None = None,
        **params: Unpack[Params],
    ) -> Job:
        """Upload a file and queue it; returns the new job.

        path: also a pipe, or `-` for stdin, which are copied to a temporary file first; or an open file on disk
        filename: what the service shall call it, if not by its own name
        on_bytes: called with (bytes read, bytes in all) while it is sent
        batch: id of an open one that the job is to belong to (`batches`)

        The file is streamed from disk. A broken connection is tried again under the same Idempotency-Key (made here
        unless given), so that no job is ever doubled. A large file (64 MiB) without a key of yours goes in parts, and on from where
        it was.
        Raises OSError when the file (or the sample of a known speaker) cannot be read, FileChanged when it is written to meanwhile; Overloaded (`queue_full`, `insufficient_storage`).
        """
        if isinstance(path, str | Path):
            async with self._transport.entering(opened(Path(path))) as file:
                return await self.submit(
                    file,
                    filename=filename or called(Path(path)).name,
                    on_bytes=on_bytes,
                    idempotency_key=idempotency_key,
                    batch=batch,
                    **params,
                )
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        given = await self._transport.blocking_io(with_samples, params)
        form = query_of(**given, batch=batch)
        name = form_text(filename or "upload")
        upload = Steady(path, self._transport.callback(on_bytes) if on_bytes else None)
        # a header, in which the options of parts go, has no room for samples
        if upload.size >= FROM_BYTES and idempotency_key is None and not has_samples(given):
            at = await send_in_parts(self._transport, path, upload, form, name=name, size=upload.size)
            if at is not None:
                return await self.get(at.rpartition("/")[2])

        async def send() -> httpx.Response:
            path.seek(0)  # noqa: ASYNC240 (an open file)
            files = {"file": (name, cast(BinaryIO, upload))}
            return await self._transport.request("POST", path_of("jobs"), data=form, files=files, headers=headers)

        return cast(Job, json_of(await self._attempt(send)))

    async def submit_from(
        self,
        *,
        url: str | None = None,
        object: str | None = None,  # noqa: A002 (the body's own name)
        idempotency_key: str | None = None,
        **params: Unpack[Params],
    ) -> Job:
        """Queue a file that the service is to fetch by itself, from an address or out of its INGEST_BUCKET; returns the new job.

        Exactly one of url and object. Like `submit`, tried again without doubling the job.
        Raises ApiError (`unsupported`, `url_refused`, `validation`), Overloaded.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = {"url": url, "object": object, **await self._transport.blocking_io(with_samples, params)}
        given = {name: value for name, value in body.items() if value is not None}
        return cast(Job, json_of(await self._send("POST", path_of("jobs"), json=given, headers=headers)))
