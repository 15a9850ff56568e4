"""Several files through one service at a time: upload, follow, fetch, write. What `parascribe transcribe` and `watch` do."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, Self, cast

import httpx

from core.jobs.job import TERMINAL
from core.system.retry import doubling, retry
from parascribe.cli.items import Deliver, Item, from_service, words_for
from parascribe.cli.journal import INTERRUPTED, Journal
from parascribe.client.bodies import Job, Look, Params
from parascribe.client.client import Client
from parascribe.client.errors import ApiError, ClientError, Conflict, NotFound, Overloaded, ServiceUnreachable
from parascribe.client.events import OUTAGE_SECONDS, POLL_FIRST, POLL_LAST
from parascribe.client.inputs import called, fault, opened
from parascribe.client.parts import FROM_BYTES
from parascribe.screen.outputs import Fetch
from parascribe.screen.progress import Reporter

UPLOADS = 4
FOLLOWED = 16
"""Jobs that are followed at a time, each by a stream of its own; the others are seen to when one of these has ended."""
STOP_SECONDS = 10.0
"""For uploads to break off after Ctrl-C."""
BUSY = ("queue_full", "idempotency_in_flight")
"""Passes by itself: waited for."""
FORGOTTEN = ("idempotency_conflict", "job_not_found")
"""The key of our upload is good for nothing any more."""


class _Stopped(BaseException):
    """Breaks off an upload from inside."""


class _Lane:
    """Threads that do one step, each for one file at a time."""

    def __init__(self, name: str, most: int, work: Callable[[Item], None], then: Callable[[Item], None]) -> None:
        self._name, self._most, self._work, self._then = name, most, work, then
        self._waiting: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def add(self, item: Item) -> None:
        self._waiting.put(item)
        if len(self._threads) < self._most:
            # what hangs in a request must not keep the command from ending
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 0.0) -> None:
        """Nothing more is begun; wait so long for what is under way."""
        for _ in self._threads:
            self._waiting.put(None)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while item := self._waiting.get():
            try:
                self._work(item)
            except _Stopped:
                return
            except Exception as error:
                item.failure = error
            self._then(item)


class Pipeline:
    """A context manager: files go in by `add` and come out of `ended`, in the order in which they end.

    journal: what is in it is taken up where it stood: a job that is there is not uploaded again
    anew: what was done before is done again
    wait: whether the end of the jobs is waited for; else a file has ended as soon as it has a job

    Leaving it, however, breaks off what goes up at the moment; jobs go on (see `cancel`).
    """

    def __init__(
        self,
        client: Client,
        params: Params,
        report: Reporter,
        *,
        journal: Journal | None = None,
        uploads: int = UPLOADS,
        anew: bool = False,
        wait: bool = True,
    ) -> None:
        self._client, self._params, self._report = client, params, report
        self._journal, self._anew = journal, anew
        self._ended: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._items: set[Item] = set()
        self._wait = wait
        self._upload_lane = _Lane("upload", uploads, self._submit, self._submitted)
        self._follow_lane = _Lane("follow", FOLLOWED, self._follow, self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._upload_lane.stop()
        self._follow_lane.stop()

    def add(self, item: Item) -> None:
        """Upload it as soon as there is room for one more."""
        self._items.add(item)
        self._upload_lane.add(item)

    @property
    def left(self) -> int:
        """How many have not come out."""
        return len(self._items)

    def ended(self, timeout: float | None = None) -> Item | None:
        """The next that has ended, well or not (`Item.failure`); None after `timeout` seconds."""
        try:
            item = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        self._items.discard(item)
        return item

    def cancel(self, items: Iterable[Item]) -> None:
        """Begin nothing more, and cancel those of them that have a job that has not ended."""
        self._stop.set()
        self._upload_lane.stop(STOP_SECONDS)  # what becomes a job in this moment is to be cancelled too
        for item in items:
            if item.job and item.running:
                with contextlib.suppress(ClientError):
                    item.status = self._client.cancel(item.job["id"])["status"]
                    self._report.end(item.name, f"cancelled ({item.job['id']})")
                    if self._journal and item.request:
                        self._journal.failed(item.request, INTERRUPTED)

    def deliver(self, item: Item, deliver: Deliver, look: Look | None = None) -> None:
        """The transcript of what has ended, if there is one. Bears an outage of a minute; raises ServiceUnreachable after it.

        Raises ApiError for a key that is none any more.
        """
        if item.job and item.status == "completed":
            try:
                deliver(item, _patient(from_service(self._client, item.job["id"], look)))
            except ApiError as failure:
                if failure.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                    raise
                gone = isinstance(failure, NotFound) or failure.code == "expired"
                item.refuse(failure.code, failure.message, "failed", passes=gone or passes(failure))
                if gone and self._journal and item.request:
                    self._journal.forget(item.request)

    def say(self, item: Item) -> None:
        """How it fared."""
        self._report.end(item.name, words_for(item, cast("dict[str, Any]", item.job)), failed=item.missed)

    def _done(self, item: Item) -> None:
        self._ended.put(item)

    def _submitted(self, item: Item) -> None:
        if item.failure or item.error or item.job is None or not self._wait:
            self._done(item)
        elif item.job["status"] in TERMINAL:
            self._settle(item, item.job)
            self._done(item)
        else:
            self._follow_lane.add(item)

    def _follow(self, item: Item) -> None:
        """Until the job has ended."""
        assert item.job is not None

        def show(job: Job) -> None:
            if self._stop.is_set():
                raise _Stopped
            if job["status"] not in TERMINAL:
                progress = job["progress"]
                self._report.step(item.name, progress["stage"], progress["percent"], progress["eta_seconds"])

        try:
            self._settle(item, self._client.wait(item.job["id"], on_progress=show))
        except NotFound as error:
            item.refuse(error.code, error.explain(), "failed")

    @staticmethod
    def _settle(item: Item, job: Job) -> None:
        item.job, item.status, item.partial = job, job["status"], job["partial"]
        if job["status"] != "completed":
            error = job["error"] or {"code": job["status"], "message": f"the job was {job['status']}"}
            item.error = {"code": error["code"], "message": error["message"]}

    def _submit(self, item: Item) -> None:
        """Until there is a job, or none is to be had."""
        try:
            item.job = self._job_of(item)
        except ApiError as error:
            item.refuse(error.code, error.explain(), passes=passes(error))
            item.failure = error
        except OSError as error:
            item.refuse(**fault(error), passes=True)
        else:
            item.status = item.job["status"]
            self._report.step(item.name, item.job["progress"]["stage"], item.job["progress"]["percent"])

    def _job_of(self, item: Item) -> Job:
        journal, request = self._journal, item.request
        if journal is None or request is None:
            return self._sent(item, None)
        entry = journal.entry(request)
        if entry.done and self._anew:
            entry = journal.renew(request)
        job = self._taken_up(entry.job_id, entry.code) if entry.job_id else None
        if job is None:
            if entry.job_id:
                entry = journal.renew(request)
            try:
                job = self._sent(item, entry.key)
            except ApiError as error:
                if error.code not in FORGOTTEN:
                    raise
                job = self._sent(item, journal.renew(request).key)
        if job["id"] != entry.job_id:
            journal.sent(request, job["id"])
        return job

    def _taken_up(self, job_id: str, code: str | None) -> Job | None:
        """The job of before; the next try of one that came to nothing, with its upload and its finished chunks."""
        try:
            job = self._client.get(job_id)
            if code == INTERRUPTED:  # by us, which takes a moment
                job = self._client.wait(job["id"])
            return self._client.retry(job["id"]) if job["status"] in ("failed", "cancelled") else job
        except ApiError as error:
            if isinstance(error, NotFound | Conflict) or error.code == "expired":
                return None  # it is gone, or its upload is
            raise

    def _sent(self, item: Item, key: str | None) -> Job:
        """Bears a full queue. Raises what `Client.submit` does."""
        if item.url:
            url = item.url
            return self._patiently(item, lambda: self._client.submit_from(url=url, idempotency_key=key, **self._params))
        with opened(item.file) as media:
            return self._patiently(item, lambda: self._upload(item, media, key))

    def _upload(self, item: Item, media: BinaryIO, key: str | None) -> Job:
        def show(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self._report.bytes(item.name, "uploading", done, total)

        large = os.fstat(media.fileno()).st_size >= FROM_BYTES  # goes in parts, which know no key
        return self._client.submit(
            media,
            filename=called(item.file).name,
            on_bytes=show,
            idempotency_key=None if large else key,
            **self._params,
        )

    def _patiently(self, item: Item, send: Callable[[], Job]) -> Job:
        while True:
            try:
                return send()
            except ApiError as error:
                if error.code not in BUSY:
                    raise
                pause = error.retry_after or 5.0
                why = "the service's queue is full" if error.code == "queue_full" else "it is still being received"
                self._report.step(item.name, f"{why}, trying again every {pause:.0f} s", 0.0)
                if self._stop.wait(pause):
                    raise _Stopped from error


def passes(refusal: ApiError) -> bool:
    """It may be taken some time later, as it is."""
    slow = refusal.status == httpx.codes.REQUEST_TIMEOUT
    return isinstance(refusal, Overloaded) or refusal.status >= httpx.codes.INTERNAL_SERVER_ERROR or slow


def _patient(fetch: Fetch) -> Fetch:
    """Bears an outage as `Client.watch` does."""
    return lambda kind: retry(
        lambda: fetch(kind),
        pauses=doubling(POLL_FIRST, POLL_LAST),
        retryable=lambda error: isinstance(error, ServiceUnreachable | Overloaded),
        patience=OUTAGE_SECONDS,
    )


def transcribe_all(
    pipeline: Pipeline,
    items: Sequence[Item],
    deliver: Deliver,
    look: Look | None = None,
    *,
    ended: Callable[[Item], None] = lambda item: None,
) -> None:
    """All of them, each delivered as soon as it has ended. ended: told then.

    Raises ServiceUnreachable, JournalFault; KeyboardInterrupt, or BrokenPipeError of stdout, with the unfinished jobs cancelled.
    """
    try:
        for item in items:
            pipeline.add(item)
        while pipeline.left:
            if one := pipeline.ended():
                if one.failure and not one.error:
                    raise one.failure
                pipeline.deliver(one, deliver, look)
                pipeline.say(one)
                ended(one)
    except (KeyboardInterrupt, BrokenPipeError):  # nobody will see the transcripts
        pipeline.cancel(items)
        raise


def submit_all(pipeline: Pipeline, items: Sequence[Item], submitted: Callable[[Job], None]) -> None:
    """Only until there are jobs. submitted: told of each, in the order of the files

    Raises ServiceUnreachable; KeyboardInterrupt with the jobs so far cancelled.
    """
    told, ended = 0, set()
    try:
        for item in items:
            pipeline.add(item)
        while pipeline.left:
            if one := pipeline.ended():
                if one.failure and not one.error:
                    raise one.failure
                ended.add(one)
                if one.error:
                    pipeline.say(one)
            while told < len(items) and items[told] in ended:
                if job := items[told].job:
                    submitted(job)
                told += 1
    except KeyboardInterrupt:
        pipeline.cancel(items)
        raise
    except ServiceUnreachable:
        for item in items[told:]:
            if item.job:
                submitted(item.job)
        raise
