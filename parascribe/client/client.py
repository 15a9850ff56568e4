"""A client for the service's HTTP interface.

from parascribe import Client

with Client() as client:
    job = client.wait(client.submit("talk.mp3", language="en")["id"])
    print(client.result(job["id"])["text"])
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack, cast, get_args, overload
from urllib.parse import quote, urlsplit

import httpx

from core.jobs.job import TERMINAL
from core.transcript.formats import FormatName, JsonFormat, TextFormat
from parascribe.client.answers import error_of, form_text, json_of, moment_of, retry_after, unreachable
from parascribe.client.batches import Batches
from parascribe.client.bodies import Event, Job, JobPage, Look, Params, Revision, SearchPage, Transcript
from parascribe.client.errors import NotFound, Overloaded, ServiceUnreachable, WaitTimeout
from parascribe.client.events import OUTAGE_SECONDS, POLL_FIRST, POLL_LAST, NotOffered, events_of
from parascribe.client.inputs import OnBytes, Steady, called, opened
from parascribe.client.parts import FROM_BYTES, send_in_parts
from parascribe.client.tasks import Tasks
from parascribe.client.webhooks import Webhooks

DEFAULT_URL = "http://127.0.0.1:8000"
ATTEMPTS = 5
"""How often a request that may be repeated is sent when the connection breaks."""
WAIT_SECONDS = 20.0
"""How long the service is asked to wait for a change (it may be asked for 60; proxies often cut after 30)."""


class Client(Tasks):
    """One service, by its address: the argument, else `PARASCRIBE_URL`, else http://127.0.0.1:8000.

    api_key: where the service needs one; else `PARASCRIBE_API_KEY`.
    Safe to use from several threads. timeout: seconds of silence in one request (connect: at most 10).
    Every method may raise ServiceUnreachable (making one too, for what is no address) or ApiError (`parascribe.client.errors`).
    """

    def __init__(self, base_url: str | None = None, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        self.base_url = (base_url or os.environ.get("PARASCRIBE_URL") or DEFAULT_URL).rstrip("/")
        key = (api_key or os.environ.get("PARASCRIBE_API_KEY") or "").strip()
        if not key.isascii() or not key.isprintable():
            raise ServiceUnreachable("PARASCRIBE_API_KEY is no key: a key is psk_..., in plain letters and digits")
        # a proxy from the environment is for the outside world, never for this machine
        try:
            local = urlsplit(self.base_url).hostname in ("127.0.0.1", "::1", "localhost")
            self._http = httpx.Client(
                base_url=self.base_url,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
                trust_env=not local,
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

    @property
    def batches(self) -> Batches:
        """Many files asked for together."""
        return Batches(self._http, self._attempt)

    def submit(
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

        batch: id of an open one that the job is to belong to (`batches`)

        path: also a pipe, or `-` for stdin, which are copied to a temporary file first; or an open file on disk
        filename: what the service shall call it, if not by its own name

        The file is streamed from disk. A broken connection is tried again under the same Idempotency-Key (made here
        unless given), so that no job is ever doubled. A large file (64 MiB) without a key of yours goes in parts, and on from where
        it was.
        Raises OSError when the file cannot be read, FileChanged when it is written to meanwhile; Overloaded (`queue_full`, `insufficient_storage`).
        """
        if isinstance(path, str | Path):
            with opened(Path(path)) as file:
                return self.submit(
                    file,
                    filename=filename or called(Path(path)).name,
                    on_bytes=on_bytes,
                    idempotency_key=idempotency_key,
                    batch=batch,
                    **params,
                )
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        given = {**params, "batch": batch}
        form = {name: form_text(value) for name, value in given.items() if value is not None}
        name = form_text(filename or "upload")
        upload = Steady(path, on_bytes)
        if upload.size >= FROM_BYTES and idempotency_key is None:
            at = send_in_parts(self._http, path, upload, form, name=name, size=upload.size)
            if at is not None:
                return self.get(at.rpartition("/")[2])

        def send() -> httpx.Response:
            path.seek(0)
            return self._http.post(
                "/api/v1/jobs", data=form, files={"file": (name, cast(BinaryIO, upload))}, headers=headers
            )

        return cast(Job, json_of(self._attempt(send)))

    def submit_from(
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
        body = {"url": url, "object": object, **params}
        given = {name: value for name, value in body.items() if value is not None}
        return cast(Job, json_of(self._attempt(lambda: self._http.post("/api/v1/jobs", json=given, headers=headers))))

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises NotFound."""
        return cast(Job, json_of(self._send("GET", _job(job_id))))

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

    def follow(self, job_id: str, *, after: str = "") -> Iterator[Event]:
        """What happens to a job, as it happens, until it has ended: its body, and the transcript as it becomes final.

        after: id of the last event of before, to go on behind it. A connection that breaks is made anew, without a gap or
        a repeat, for as long as an outage of a minute lasts. Raises NotFound, also of a service that has no events (before 0.3).
        """
        try:
            for event in events_of(self._http, self.base_url, f"{_job(job_id)}/events", after):
                data = event.json()
                if event.event == "end" and data["status"] == "deleted":
                    self.get(job_id)
                yield Event(event=event.event, id=event.id, data=data)
                if event.event == "end":
                    return
        except NotOffered as error:
            raise NotFound(404, "not_found", str(error)) from error

    def watch(self, job_ids: Sequence[str], *, timeout: float | None = None) -> Iterator[Job]:
        """Yield the body of any of these jobs whenever it changes, until all have ended.

        The service tells of them; where it does not, or where `timeout` seconds are not to be exceeded, they are polled, with
        ETag and back-off, not sooner than its Retry-After. Bears an outage of a minute.
        Raises WaitTimeout; NotFound when one of them is removed meanwhile.
        """
        last: dict[str, Job] = {}
        try:
            if timeout is None:
                yield from self._told(job_ids, last)
                return
        except NotOffered:
            pass
        ended = {job_id for job_id, job in last.items() if job["status"] in TERMINAL}
        for job in self._polled([job_id for job_id in job_ids if job_id not in ended], timeout):
            if job != last.get(job["id"]):
                yield job

    def _told(self, job_ids: Sequence[str], last: dict[str, Job]) -> Iterator[Job]:
        """last: the bodies that were given, by id. Raises NotOffered."""
        if not job_ids:
            return
        path, since = f"{_job(job_ids[0])}/events", ""
        if len(job_ids) > 1:
            # what ends after this look is told; what has ended before is not
            path = "/api/v1/events"
            for job_id in job_ids:
                try:
                    answer = self._send("GET", _job(job_id))
                except (ServiceUnreachable, Overloaded) as error:
                    raise NotOffered("The service is away") from error  # polling bears that
                since = since or moment_of(answer)
                last[job_id] = cast(Job, json_of(answer))
                yield last[job_id]
        left = {job_id for job_id in job_ids if job_id not in last or last[job_id]["status"] not in TERMINAL}
        for event in events_of(self._http, self.base_url, path, since) if left else ():
            data = event.json()
            if event.event == "end" and data["status"] == "deleted" and data["id"] in left:
                self.get(data["id"])
            if event.event != "job" or data["id"] not in left or data == last.get(data["id"]):
                continue
            last[data["id"]] = job = cast(Job, data)
            yield job
            if job["status"] in TERMINAL:
                left.discard(job["id"])
                if not left:
                    return

    def _polled(self, job_ids: Sequence[str], timeout: float | None) -> Iterator[Job]:
        start = time.monotonic()
        lost: float | None = None
        waits = True
        due = dict.fromkeys(job_ids, start)
        pause = dict.fromkeys(job_ids, POLL_FIRST)
        etags: dict[str, str] = {}
        while due:
            job_id = min(due, key=lambda key: due[key])
            now = time.monotonic()
            if timeout is not None and max(now, due[job_id]) - start > timeout:
                raise WaitTimeout(f"{len(due)} job(s) have not ended within {timeout:g} s")
            time.sleep(max(0.0, due[job_id] - now))
            # the service can wait in our place, for one job
            wait = WAIT_SECONDS if waits and len(due) == 1 and etags.get(job_id) else 0.0
            if timeout is not None:
                wait = max(0.0, min(wait, start + timeout - time.monotonic()))
            asked = time.monotonic()
            try:
                query = {"wait": f"{wait:.3f}"} if wait else {}
                answer = self._send("GET", _job(job_id), headers=_known(etags.get(job_id)), params=query)
            except (ServiceUnreachable, Overloaded) as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > OUTAGE_SECONDS:
                    raise
                pause[job_id] = min(POLL_LAST, 2 * pause[job_id])
                due[job_id] = time.monotonic() + max(pause[job_id], getattr(error, "retry_after", None) or 0.0)
                continue
            lost = None
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                if wait and time.monotonic() - asked >= 0.9 * wait:
                    due[job_id] = time.monotonic()
                    continue
                waits = waits and not wait
                pause[job_id] = min(POLL_LAST, 1.5 * pause[job_id])
            else:
                job = cast(Job, json_of(answer))
                yield job
                if job["status"] in TERMINAL:
                    del due[job_id]
                    continue
                pause[job_id], etags[job_id] = POLL_FIRST, answer.headers.get("ETag", "")
            due[job_id] = time.monotonic() + max(pause[job_id], retry_after(answer) or 0.0)

    @overload
    def result(
        self, job_id: str, format: JsonFormat = "json", *, revision: int | str = "latest", **look: Unpack[Look]
    ) -> dict[str, Any]: ...
    @overload
    def result(
        self, job_id: str, format: TextFormat, *, revision: int | str = "latest", **look: Unpack[Look]
    ) -> str: ...
    def result(  # `format` is the query's own name
        self,
        job_id: str,
        format: FormatName = "json",  # noqa: A002
        *,
        revision: int | str = "latest",
        **look: Unpack[Look],
    ) -> dict[str, Any] | str:
        """The transcript: a dict for the JSON formats, else text.

        revision: `latest`, `original` or the number of an edit
        look: what the format takes of `core.transcript.shaping.Shaping`; the rest is refused
        Raises Conflict (`not_ready`, `not_in_result`), NotFound.
        """
        query = {name: form_text(value) for name, value in look.items() if value is not None}
        query |= {"format": format} | ({} if revision == "latest" else {"revision": form_text(revision)})
        answer = self._send("GET", f"{_job(job_id)}/result", params=query)
        return cast("dict[str, Any]", json_of(answer)) if format in get_args(JsonFormat) else answer.text

    def transcript(self, job_id: str, *, revision: int | str = "latest") -> Transcript:
        """The transcript to be edited: change its `segments` and give it to `edit`. Raises Conflict (`not_ready`), NotFound."""
        answer = self._send("GET", f"{_job(job_id)}/transcript", params={"revision": form_text(revision)})
        return cast(Transcript, json_of(answer))

    def edit(self, transcript: Transcript) -> Revision:
        """Store an edited transcript as a new revision; the original stays.

        Raises Conflict (`revision_conflict`) when somebody else has edited it since it was fetched.
        """
        job_id = transcript["id"]
        known = {"If-Match": f'"{job_id}.{transcript["revision"]}"'}
        return cast(Revision, self._change("PUT", f"{_job(job_id)}/transcript", transcript, known))

    def name_speakers(self, job_id: str, names: Mapping[str, str]) -> Revision:
        """Say what speakers are called: `{"SPEAKER_00": "Anna"}`. Raises Conflict (`not_in_result`) where there are none."""
        return cast(Revision, self._change("PATCH", f"{_job(job_id)}/speakers", dict(names), {}))

    def _change(self, method: str, path: str, value: object, headers: dict[str, str]) -> Any:
        # in ASCII: what is not valid Unicode is for the service to refuse
        body, headers = json.dumps(value).encode(), headers | {"Content-Type": "application/json"}
        return json_of(self._send(method, path, content=body, headers=headers))

    def list(
        self, *, status: str | None = None, limit: int | None = None, after: str | None = None, q: str | None = None
    ) -> JobPage:
        """One page of jobs, newest first; `after` is the `next` of the page before.

        q: only those with all of this in their name or transcript: words, "phrases", beginnings*
        """
        return cast(JobPage, self._page("/api/v1/jobs", status=status, limit=limit, after=after, q=q))

    def search(self, q: str, *, limit: int | None = None, after: str | None = None) -> SearchPage:
        """Where something was said: words, "phrases", beginnings*. One page, newest jobs first; it may be short, and others follow."""
        return cast(SearchPage, self._page("/api/v1/search", q=q, limit=limit, after=after))

    def _page(self, path: str, **given: object) -> Any:
        query = {key: form_text(value) for key, value in given.items() if value is not None}
        return json_of(self._send("GET", path, params=query))

    def cancel(self, job_id: str) -> Job:
        """Ask for the job to be cancelled. Raises Conflict (`already_terminal`), NotFound."""
        answer = self._send("POST", f"{_job(job_id)}/cancel", done="already_terminal")
        return cast(Job, json_of(answer)) if answer.is_success else self.get(job_id)

    def retry(self, job_id: str, *, all: bool = False) -> Job:  # noqa: A002 (the query's own name)
        """A new job with the same file and parameters that takes over the finished chunks (all=True: none).

        Never sent twice by itself. Raises Conflict unless the job failed, was cancelled or is partial.
        """
        query = {"all": "true"} if all else {}
        return cast(Job, json_of(self._send("POST", f"{_job(job_id)}/retry", repeat=False, params=query)))

    def delete(self, job_id: str) -> None:
        """Cancel the job if need be and remove it with its audio and transcript. Raises NotFound."""
        self._send("DELETE", _job(job_id), done="job_not_found")

    def models(self) -> dict[str, Any]:
        """What `GET /api/v1/models` says: `default`, and `items` with name, bytes, installed, ... of each model."""
        return cast("dict[str, Any]", json_of(self._send("GET", "/api/v1/models")))

    def system(self) -> dict[str, Any]:
        """What `GET /api/v1/system` says: cores, memory, the resolved plan, engine and ffmpeg versions."""
        return cast("dict[str, Any]", json_of(self._send("GET", "/api/v1/system")))

    @property
    def webhooks(self) -> Webhooks:
        """Who is told of your jobs."""
        return Webhooks(self._send)

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
                    raise ServiceUnreachable(unreachable(self.base_url, error)) from error
                broke = True
            else:
                if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
                    return answer
                error_ = error_of(answer)
                if broke and error_.code == done:
                    return answer
                if last or error_.code != "idempotency_in_flight" or attempt == 1:
                    raise error_
                pause = max(pause, error_.retry_after or 0.0)
            time.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _job(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='', errors='replace')}"


def _known(etag: str | None) -> dict[str, str]:
    return {"If-None-Match": etag} if etag else {}
