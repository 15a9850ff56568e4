"""Batches: many files asked for together. `Client.batches`."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Unpack, cast
from urllib.parse import quote

import httpx

from core.transcript.formats import FormatName
from parascribe.client.answers import form_text, json_of
from parascribe.client.bodies import Batch, BatchPage, JobPage, Look, Params

PATH = "/api/v1/batches"


class Attempt(Protocol):
    """Sends, and sends again where that may be (`Client._attempt`)."""

    def __call__(self, send: Any, *, repeat: bool = True, done: str = "") -> httpx.Response: ...


class Batches:
    """The batches of one service.

    batch = client.batches.create({"language": "en"})
    for path in paths:
        client.submit(path, batch=batch["id"])  # from several threads, if you like
    client.batches.close(batch["id"])
    ...
    client.batches.results(batch["id"], "texts.zip", "srt")

    Every method may raise what `Client`'s do.
    """

    def __init__(self, http: httpx.Client, attempt: Attempt) -> None:
        self._http, self._attempt = http, attempt

    def create(
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
        return cast(Batch, json_of(self._send("POST", PATH, json=given, headers=headers)))

    def get(self, batch_id: str) -> Batch:
        """The batch, and what its jobs come to. Raises NotFound."""
        return cast(Batch, json_of(self._send("GET", _batch(batch_id))))

    def list(self, *, limit: int | None = None, after: str | None = None) -> BatchPage:
        """One page of batches, newest first; `after` is the `next` of the page before."""
        return cast(BatchPage, json_of(self._send("GET", PATH, params=_query(limit=limit, after=after))))

    def items(
        self, batch_id: str, *, status: str | None = None, limit: int | None = None, after: str | None = None
    ) -> JobPage:
        """One page of its jobs, oldest first. Raises NotFound."""
        query = _query(status=status, limit=limit, after=after)
        return cast(JobPage, json_of(self._send("GET", f"{_batch(batch_id)}/items", params=query)))

    def close(self, batch_id: str) -> Batch:
        """No more files. Raises NotFound."""
        return cast(Batch, json_of(self._send("POST", f"{_batch(batch_id)}/close")))

    def cancel(self, batch_id: str) -> Batch:
        """Close it, and cancel what has not ended. Raises Conflict (`already_terminal`), NotFound."""
        answer = self._send("POST", f"{_batch(batch_id)}/cancel", done="already_terminal")
        return cast(Batch, json_of(answer)) if answer.is_success else self.get(batch_id)

    def retry(self, batch_id: str) -> Batch:
        """Make new jobs of those that failed, in their place. Raises Conflict (`already_terminal`), NotFound."""
        answer = self._send("POST", f"{_batch(batch_id)}/retry", done="already_terminal")
        return cast(Batch, json_of(answer)) if answer.is_success else self.get(batch_id)

    def delete(self, batch_id: str) -> None:
        """Cancel its jobs if need be and remove them with their audio and transcripts. Raises NotFound."""
        self._send("DELETE", _batch(batch_id), done="batch_not_found")

    # `format` is the query's own name
    def results(
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
        query = _query(format=format, **look)

        def fetch() -> httpx.Response:
            with self._http.stream("GET", f"{_batch(batch_id)}/results.zip", params=query) as answer:
                if not answer.is_success:
                    answer.read()
                    return answer
                with part.open("wb") as out:
                    for block in answer.iter_bytes():
                        out.write(block)
                return answer

        try:
            self._attempt(fetch)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def _send(self, method: str, path: str, *, done: str = "", **options: Any) -> httpx.Response:
        return self._attempt(lambda: self._http.request(method, path, **options), done=done)


def _batch(batch_id: str) -> str:
    return f"{PATH}/{quote(batch_id, safe='', errors='replace')}"


def _query(**given: object) -> dict[str, str]:
    return {name: form_text(value) for name, value in given.items() if value is not None}
