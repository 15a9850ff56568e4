"""A client for the service's HTTP interface.

from parascribe import Client

with Client() as client:
    job = client.wait(client.submit("talk.mp3", language="en")["id"])
    print(client.result(job["id"])["text"])
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack, cast, get_args, overload
from urllib.parse import quote, urlsplit

import httpx

from core.jobs.job import TERMINAL
from core.transcript.formats import FormatName, JsonFormat, TextFormat
from parascribe.client.bodies import Job, JobPage, Look, Params
from parascribe.client.errors import ApiError, Overloaded, ServiceUnreachable, WaitTimeout, kind_of
from parascribe.client.inputs import OnBytes, Steady, called, opened

DEFAULT_URL = "http://127.0.0.1:8000"
ATTEMPTS = 5
"""How often a request that may be repeated is sent when the connection breaks."""
OUTAGE_SECONDS = 60.0
"""How long `wait` bears a service that does not answer: a restart takes less."""
POLL_FIRST, POLL_LAST = 0.25, 5.0
"""Seconds between two looks at a job: after a change, and when nothing has changed for long."""


class Client:
    """One service, by its address: the argument, else `PARASCRIBE_URL`, else http://127.0.0.1:8000.

    Safe to use from several threads. timeout: seconds of silence in one request (connect: at most 10).
    Every method may raise ServiceUnreachable (making one too, for what is no address) or ApiError (`parascribe.client.errors`).
    """

    def __init__(self, base_url: str | None = None, *, timeout: float = 60.0) -> None:
        self.base_url = (base_url or os.environ.get("PARASCRIBE_URL") or DEFAULT_URL).rstrip("/")
        # a proxy from the environment is for the outside world, never for this machine
        try:
            local = urlsplit(self.base_url).hostname in ("127.0.0.1", "::1", "localhost")
            self._http = httpx.Client(
                base_url=self.base_url, timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)), trust_env=not local
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise ServiceUnreachable(f"{self.base_url!r} is no address of a service: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        path: str | Path | BinaryIO,
        *,
        filename: str | None = None,
        on_bytes: OnBytes | None = None,
        idempotency_key: str | None = None,
        **params: Unpack[Params],
    ) -> Job:
        """Upload a file and queue it; returns the new job.

        path: also a pipe, or `-` for stdin, which are copied to a temporary file first; or an open file on disk
        filename: what the service shall call it, if not by its own name

        The file is streamed from disk. A broken connection is tried again under the same Idempotency-Key (made here
        unless given), so that no job is ever doubled.
        Raises OSError when the file cannot be read, FileChanged when it is written to meanwhile; Overloaded (`queue_full`, `insufficient_storage`).
        """
        if isinstance(path, str | Path):
            with opened(Path(path)) as file:
                return self.submit(
                    file,
                    filename=filename or called(Path(path)).name,
                    on_bytes=on_bytes,
                    idempotency_key=idempotency_key,
                    **params,
                )
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        form = {name: _form(value) for name, value in params.items() if value is not None}
        name = _form(filename or "upload")
        upload = Steady(path, on_bytes)

        def send() -> httpx.Response:
            path.seek(0)
            return self._http.post(
                "/api/v1/jobs", data=form, files={"file": (name, cast(BinaryIO, upload))}, headers=headers
            )

        return cast(Job, _json(self._attempt(send)))

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises NotFound."""
        return cast(Job, _json(self._send("GET", _job(job_id))))

    def wait(
        self, job_id: str, *, on_progress: Callable[[Job], None] | None = None, timeout: float | None = None
    ) -> Job:
        """Wait until the job has ended and return it: completed, failed or cancelled.

        on_progress is called with each body that differs from the one before.
        Raises WaitTimeout after `timeout` seconds; the job goes on.
        """
        job: Job | None = None
        for job in self.watch([job_id], timeout=timeout):
            if on_progress:
                on_progress(job)
        assert job is not None
        return job

    def watch(self, job_ids: Sequence[str], *, timeout: float | None = None) -> Iterator[Job]:
        """Yield the body of any of these jobs whenever it changes, until all have ended.

        Polls with ETag and back-off, not sooner than the service's Retry-After, and bears an outage of a minute.
        Raises WaitTimeout; NotFound when one of them is removed meanwhile.
        """
        start = time.monotonic()
        lost: float | None = None
        due = dict.fromkeys(job_ids, start)
        pause = dict.fromkeys(job_ids, POLL_FIRST)
        etags: dict[str, str] = {}
        while due:
            job_id = min(due, key=lambda key: due[key])
            now = time.monotonic()
            if timeout is not None and max(now, due[job_id]) - start > timeout:
                raise WaitTimeout(f"{len(due)} job(s) have not ended within {timeout:g} s")
            time.sleep(max(0.0, due[job_id] - now))
            try:
                answer = self._send("GET", _job(job_id), headers=_known(etags.get(job_id)))
            except (ServiceUnreachable, Overloaded) as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > OUTAGE_SECONDS:
                    raise
                pause[job_id] = min(POLL_LAST, 2 * pause[job_id])
                due[job_id] = time.monotonic() + max(pause[job_id], getattr(error, "retry_after", None) or 0.0)
                continue
            lost = None
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                pause[job_id] = min(POLL_LAST, 1.5 * pause[job_id])
            else:
                job = cast(Job, _json(answer))
                yield job
                if job["status"] in TERMINAL:
                    del due[job_id]
                    continue
                pause[job_id], etags[job_id] = POLL_FIRST, answer.headers.get("ETag", "")
            due[job_id] = time.monotonic() + max(pause[job_id], _retry_after(answer) or 0.0)

    @overload
    def result(self, job_id: str, format: JsonFormat = "json", **look: Unpack[Look]) -> dict[str, Any]: ...
    @overload
    def result(self, job_id: str, format: TextFormat, **look: Unpack[Look]) -> str: ...
    def result(  # `format` is the query's own name
        self,
        job_id: str,
        format: FormatName = "json",  # noqa: A002
        **look: Unpack[Look],
    ) -> dict[str, Any] | str:
        """The transcript: a dict for the JSON formats, else text.

        look: what the format takes of `core.transcript.shaping.Shaping`; the rest is refused
        Raises Conflict (`not_ready`, `not_in_result`), NotFound.
        """
        query = {name: _form(value) for name, value in look.items() if value is not None}
        answer = self._send("GET", f"{_job(job_id)}/result", params={"format": format, **query})
        return cast("dict[str, Any]", _json(answer)) if format in get_args(JsonFormat) else answer.text

    def list(self, *, status: str | None = None, limit: int | None = None, after: str | None = None) -> JobPage:
        """One page of jobs, newest first; `after` is the `next` of the page before."""
        given = {"status": status, "limit": limit, "after": after}
        query = {key: _form(value) for key, value in given.items() if value is not None}
        return cast(JobPage, _json(self._send("GET", "/api/v1/jobs", params=query)))

    def cancel(self, job_id: str) -> Job:
        """Ask for the job to be cancelled. Raises Conflict (`already_terminal`), NotFound."""
        answer = self._send("POST", f"{_job(job_id)}/cancel", done="already_terminal")
        return cast(Job, _json(answer)) if answer.is_success else self.get(job_id)

    def retry(self, job_id: str, *, all: bool = False) -> Job:  # noqa: A002 (the query's own name)
        """A new job with the same file and parameters that takes over the finished chunks (all=True: none).

        Never sent twice by itself. Raises Conflict unless the job failed, was cancelled or is partial.
        """
        query = {"all": "true"} if all else {}
        return cast(Job, _json(self._send("POST", f"{_job(job_id)}/retry", repeat=False, params=query)))

    def delete(self, job_id: str) -> None:
        """Cancel the job if need be and remove it with its audio and transcript. Raises NotFound."""
        self._send("DELETE", _job(job_id), done="job_not_found")

    def models(self) -> dict[str, Any]:
        """What `GET /api/v1/models` says: `default`, and `items` with name, bytes, installed, ... of each model."""
        return cast("dict[str, Any]", _json(self._send("GET", "/api/v1/models")))

    def system(self) -> dict[str, Any]:
        """What `GET /api/v1/system` says: cores, memory, the resolved plan, engine and ffmpeg versions."""
        return cast("dict[str, Any]", _json(self._send("GET", "/api/v1/system")))

    def _send(self, method: str, path: str, *, repeat: bool = True, done: str = "", **options: Any) -> httpx.Response:
        return self._attempt(lambda: self._http.request(method, path, **options), repeat=repeat, done=done)

    def _attempt(self, send: Callable[[], httpx.Response], *, repeat: bool = True, done: str = "") -> httpx.Response:
        """Send, and send again when the connection broke or our own key is still being received.

        done: the error code that says, to what is sent again, that it was done the first time
        """
        broke = False
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not repeat
            pause = 0.25 * 2**attempt
            try:
                answer = send()
            except httpx.TransportError as error:
                refused = isinstance(error, httpx.ConnectError) and attempt == 1
                unusable = isinstance(error, httpx.UnsupportedProtocol)
                if last or refused or unusable:
                    raise ServiceUnreachable(self._unreachable(error)) from error
                broke = True
            else:
                if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
                    return answer
                error_ = _error(answer)
                if broke and error_.code == done:
                    return answer
                if last or error_.code != "idempotency_in_flight" or attempt == 1:
                    raise error_
                pause = max(pause, error_.retry_after or 0.0)
            time.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _unreachable(self, error: httpx.TransportError) -> str:
        if isinstance(error, httpx.UnsupportedProtocol):
            return f"{self.base_url!r} is no address of a service: it begins with http:// or https://"
        if isinstance(error, httpx.ConnectError):
            return f"Cannot reach {self.base_url} ({error}). Is the service running? Start it with: parascribe serve"
        return f"The connection to {self.base_url} broke: {error or type(error).__name__}"


def _job(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='', errors='replace')}"


def _form(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode(errors="replace").decode()  # a name from disk, or an argument, need not be valid Unicode


def _known(etag: str | None) -> dict[str, str]:
    return {"If-None-Match": etag} if etag else {}


def _retry_after(answer: httpx.Response) -> float | None:
    value = answer.headers.get("Retry-After", "")
    return min(60.0, float(value)) if value.isdigit() else None


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        message = f"{answer.url} answered, but not like a Parascribe service"
        raise ApiError(answer.status_code, "not_parascribe", message) from None


def _error(answer: httpx.Response) -> ApiError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code") or f"http_{answer.status_code}"
    detail = problem.get("detail") or problem.get("title")
    message = detail if isinstance(detail, str) else f"{answer.status_code} {answer.reason_phrase}"
    retry_after = _retry_after(answer)
    return kind_of(answer.status_code)(answer.status_code, code, message, problem, retry_after=retry_after)
