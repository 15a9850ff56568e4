"""Several files through one service: submit, watch, fetch, write. What `parascribe transcribe` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from core.jobs.job import TERMINAL
from core.system.retry import doubling, retry
from parascribe.client.bodies import Job, Look, Params
from parascribe.client.client import Client
from parascribe.client.errors import ApiError, ClientError, Overloaded, ServiceUnreachable
from parascribe.client.events import OUTAGE_SECONDS, POLL_FIRST, POLL_LAST
from parascribe.client.inputs import called, fault, opened
from parascribe.screen.outputs import Fetch, Outputs
from parascribe.screen.progress import Reporter
from parascribe.screen.render import outcome, printable


@dataclass(kw_only=True)
class Item:
    """One file and how it fared. status: that of the job, or `refused` when it never became one."""

    file: Path
    status: str = "waiting"
    job: Job | None = None
    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    partial: bool = False
    written: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the file is called on the screen: as it was given, if that can be printed."""
        return printable(self.file)

    @property
    def missed(self) -> bool:
        """There is no transcript, or one with gaps: the exit code tells of it."""
        return self.error is not None or self.partial

    def to_dict(self) -> dict[str, Any]:
        """The shape of `transcribe --json`."""
        return {
            "file": str(self.file),
            "status": self.status,
            "partial": self.partial,
            "error": self.error,
            "outputs": [str(path) for path in self.written],
            "job": self.job,
            "result": self.result,
        }


Deliver = Callable[[Item, Fetch], None]
"""Puts one finished file's transcript where it belongs and notes it in the item."""


def deliver_to(outputs: Outputs) -> Deliver:
    """Write as planned; a file that cannot be written fails its item, not the batch."""

    def deliver(item: Item, fetch: Fetch) -> None:
        try:
            item.written = outputs.deliver(item.file, fetch)
        except BrokenPipeError:
            raise
        except OSError as error:
            item.status = "failed"
            item.error = {"code": "output", "message": f"cannot write the transcript: {error}"}

    return deliver


def from_service(client: Client, job_id: str, look: Look | None = None) -> Fetch:
    """Fetches a finished job's transcript in any format."""
    return lambda kind: client.result(job_id, cast(Any, kind), **(look or Look()))


def keep(item: Item, fetch: Fetch) -> None:
    """Keep the JSON transcript in the item (`--json` without files)."""
    item.result = fetch("json")


def submit(
    client: Client,
    files: Sequence[Path],
    params: Params,
    report: Reporter,
    submitted: Callable[[Job], None] | None = None,
) -> list[Item]:
    """Upload all files in order; a refused one is noted and the rest go on.

    submitted: told of each job as soon as there is one. A full queue is waited for.
    Raises ServiceUnreachable; KeyboardInterrupt with the jobs so far cancelled.
    """
    items = [Item(file=file) for file in files]
    with _cancelling(client, items, report, KeyboardInterrupt):
        for item in items:
            _submit(client, item, params, report)
            if submitted and item.job:
                submitted(item.job)
    return items


def finish(client: Client, items: Sequence[Item], deliver: Deliver, report: Reporter, look: Look | None = None) -> None:
    """Wait for all jobs; deliver each transcript as soon as it is there. One that the service refuses fails its item.

    Raises ServiceUnreachable after an outage of a minute; KeyboardInterrupt with the unfinished jobs cancelled.
    """
    by_id = {item.job["id"]: item for item in items if item.job}
    # when the pipe for the transcripts breaks nobody will see them
    with _cancelling(client, items, report, KeyboardInterrupt, BrokenPipeError):
        for job in client.watch(list(by_id)):
            item = by_id[job["id"]]
            item.job, item.status, item.partial = job, job["status"], job["partial"]
            progress = job["progress"]
            if job["status"] not in TERMINAL:
                report.step(item.name, progress["stage"], progress["percent"], progress["eta_seconds"])
                continue
            if job["status"] == "completed":
                try:
                    deliver(item, _patient(from_service(client, job["id"], look)))
                except ApiError as failure:
                    item.status, item.error = "failed", {"code": failure.code, "message": failure.message}
            else:
                error = job["error"] or {"code": job["status"], "message": f"the job was {job['status']}"}
                item.error = {"code": error["code"], "message": error["message"]}
            report.end(item.name, words_for(item, cast("dict[str, Any]", job)), failed=item.missed)


def _patient(fetch: Fetch) -> Fetch:
    """Bears an outage as `Client.watch` does."""
    return lambda kind: retry(
        lambda: fetch(kind),
        pauses=doubling(POLL_FIRST, POLL_LAST),
        retryable=lambda error: isinstance(error, ServiceUnreachable | Overloaded),
        patience=OUTAGE_SECONDS,
    )


def words_for(item: Item, job: dict[str, Any]) -> str:
    """How a file fared, in one line."""
    if item.error:
        return f"{item.status}: {item.error['message']} ({item.error['code']})"
    return outcome(job) + "".join(f"; wrote {path}" for path in item.written)


def _submit(client: Client, item: Item, params: Params, report: Reporter) -> None:
    name = item.name
    try:
        with opened(item.file) as media:
            item.job = _patiently_sent(client, item, media, params, report)
    except ApiError as error:
        item.status, item.error = "refused", {"code": error.code, "message": error.explain()}
        report.end(name, f"refused: {error.explain()}", failed=True)
    except OSError as error:
        item.status, item.error = "refused", fault(error)
        report.end(name, f"refused: {item.error['message']} ({item.error['code']})", failed=True)
    else:
        item.status = item.job["status"]
        report.step(name, item.job["progress"]["stage"], 0.0)


def _patiently_sent(client: Client, item: Item, media: BinaryIO, params: Params, report: Reporter) -> Job:
    """Bears a full queue. Raises what `Client.submit` does."""
    name = item.name
    while True:
        try:
            return client.submit(
                media,
                filename=called(item.file).name,
                on_bytes=lambda done, all_: report.bytes(name, "uploading", done, all_),
                **params,
            )
        except Overloaded as error:
            if error.code != "queue_full":
                raise
            pause = error.retry_after or 5.0
            report.step(name, f"the service's queue is full, trying again every {pause:.0f} s", 0.0)
            time.sleep(pause)


@contextlib.contextmanager
def _cancelling(
    client: Client, items: Sequence[Item], report: Reporter, *reasons: type[BaseException]
) -> Iterator[None]:
    """For these reasons cancel what was submitted and has not ended; a second Ctrl-C gives that up too."""
    try:
        yield
    except reasons:
        running = [item for item in items if item.job and item.status not in TERMINAL]
        for item in running:
            assert item.job is not None
            with contextlib.suppress(ClientError):
                item.status = client.cancel(item.job["id"])["status"]
                report.end(item.name, f"cancelled ({item.job['id']})")
        raise
