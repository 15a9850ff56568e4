"""The tools: what an assistant asks becomes calls of `Client`, in threads, so that one that waits holds up no other."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio import from_thread, to_thread

from core.jobs.job import TERMINAL
from core.transcript.formats import TextFormat
from parascribe.client.bodies import Job
from parascribe.client.client import Client
from parascribe.mcp.answers import JobAnswer, JobsAnswer, ResultAnswer, SearchAnswer, jobs_answer, piece_of, segments_of
from parascribe.mcp.folders import Folders
from parascribe.mcp.questions import (
    CancelQuestion,
    ListQuestion,
    ResultQuestion,
    SearchQuestion,
    StatusQuestion,
    TranscribeQuestion,
)

T = TypeVar("T")

Report = Callable[[float, float, str], Awaitable[None]]
"""Tells the client how far it is: progress, total, words."""

LOOK_FIRST, LOOK_LAST = 0.25, 2.0
"""Seconds between two looks at a job that is waited for."""

CANCEL_SECONDS = 10.0
"""How long a call that was cancelled may take to cancel its job."""


class Tools:
    """One service, and the folders whose files may be sent to it. Each method is a tool; its docstring is for the assistant."""

    def __init__(self, client: Client, folders: Folders) -> None:
        self._client, self._folders = client, folders

    async def transcribe(self, asked: TranscribeQuestion, report: Report) -> JobAnswer:
        """Turn the speech of an audio or video file into text.

        Makes a job each time it is called, waits for it up to wait_seconds, and answers with the job; its text is read
        with `result`. A long recording takes minutes: then call `status`, not `transcribe` again.
        """
        # in a thread that is waited for: whether there is a job is known, whenever the call is cancelled
        job = await to_thread.run_sync(self._submit, asked)
        try:
            return JobAnswer.of(await self._ended(job["id"], asked.wait_seconds, report))
        except anyio.get_cancelled_exc_class():
            if asked.cancel_with_call:
                with anyio.move_on_after(CANCEL_SECONDS, shield=True):
                    await _ask(lambda: self._client.cancel(job["id"]))
            raise

    async def status(self, asked: StatusQuestion, report: Report) -> JobAnswer:
        """Say how far a job is, or how it ended. With wait_seconds: wait for its end."""
        return JobAnswer.of(await self._ended(asked.job_id, asked.wait_seconds, report))

    async def result(self, asked: ResultQuestion, report: Report) -> ResultAnswer:
        """Read the transcript of a completed job, a part at a time.

        For a long recording ask for the times that matter (start, end), or `search` first.
        """
        job = await _ask(lambda: self._client.get(asked.job_id))
        named = {"latest": job["revision"], "original": 0}
        number = named[asked.revision] if isinstance(asked.revision, str) else asked.revision
        if asked.format != "segments":
            form: TextFormat = asked.format
            whole = await _ask(lambda: self._client.result(asked.job_id, form, revision=number))
            text, following = piece_of(whole, after=asked.after, characters=asked.max_characters)
            return ResultAnswer.of(job, number, text=text, next=following)
        transcript = await _ask(lambda: self._client.transcript(asked.job_id, revision=number))
        segments, next_one = segments_of(
            transcript,
            start=asked.start or 0.0,
            end=math.inf if asked.end is None else asked.end,
            after=asked.after,
            characters=asked.max_characters,
        )
        return ResultAnswer.of(job, number, segments=segments, next=next_one)

    async def search(self, asked: SearchQuestion, report: Report) -> SearchAnswer:
        """Find where something was said, in all transcripts and names of files. There is no stemming: meet* finds meeting."""
        return SearchAnswer.of(
            await _ask(lambda: self._client.search(asked.query, limit=asked.limit, after=asked.after))
        )

    async def list_jobs(self, asked: ListQuestion, report: Report) -> JobsAnswer:
        """List jobs, newest first."""
        page = await _ask(
            lambda: self._client.list(status=asked.status, q=asked.query, limit=asked.limit, after=asked.after)
        )
        return jobs_answer(page["items"], page["next"])

    async def cancel(self, asked: CancelQuestion, report: Report) -> JobAnswer:
        """Stop a job that has not ended; what it has done so far is lost to `result`."""
        return JobAnswer.of(await to_thread.run_sync(self._client.cancel, asked.job_id))

    def _submit(self, asked: TranscribeQuestion) -> Job:
        if asked.url is not None:
            return self._client.submit_from(url=asked.url, **asked.params())
        assert asked.path is not None
        with self._folders.opened(asked.path) as file:
            name = asked.path.rpartition("/")[2]
            # a call that is cancelled while its file is sent breaks that off, and there is no job
            return self._client.submit(
                file, filename=name, on_bytes=lambda *_: from_thread.check_cancelled(), **asked.params()
            )

    async def _ended(self, job_id: str, seconds: float, report: Report) -> Job:
        """The job when it has ended, or as it stands after so many seconds."""
        give_up, pause, told = time.monotonic() + seconds, LOOK_FIRST, -1.0
        while True:
            job = await _ask(lambda: self._client.get(job_id))
            percent = job["progress"]["percent"]
            if percent > told:  # the protocol has it grow
                await report(percent, 100.0, job["progress"]["stage"])
                told, pause = percent, LOOK_FIRST
            left = give_up - time.monotonic()
            if job["status"] in TERMINAL or left <= 0:
                return job
            await anyio.sleep(min(pause, left))
            pause = min(LOOK_LAST, 1.5 * pause)


async def _ask(look: Callable[[], T]) -> T:
    """Ask the service; a call that is cancelled does not wait for the answer."""
    return await to_thread.run_sync(look, abandon_on_cancel=True)
