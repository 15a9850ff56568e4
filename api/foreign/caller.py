"""A client that sends a file and stays for its transcript: what other people's interfaces have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.types import Scope

from api.access.identity import Identity
from api.deps import Base, Jobs, Parts, PartsDep, Who
from api.events.follower import Follower
from api.events.hub import Seen
from api.events.status import Asked
from api.http.problems import STATUS
from api.routes.texts.results import stored_transcript
from api.upload.filepart import Store, clean_filename
from api.upload.form import Form
from api.upload.named import named_file
from api.upload.received import Fields, Repeated, StoredFile
from api.upload.receiver import declared_length
from core.errors import Cancelled, RequestError, ServiceError, SyncTimeout
from core.jobs.job import Job, JobStatus, Source, new_id
from core.jobs.turns import INTERACTIVE
from core.objects.store import source_key
from core.store.owners import OwnerJobs
from core.transcript.values import Transcript

JOB, WARNING = "X-Parascribe-Job", "X-Parascribe-Warning"
"""In answers: the job's id, and what was asked for but not done."""

ON_DISCONNECT = "X-On-Disconnect"
"""`keep`: the job goes on when its client has gone."""


class Wanted(Protocol):
    """What a client asks for, read from its own words."""

    @property
    def options(self) -> Mapping[str, str]:
        """Of the job, as `core.submission` takes them."""
        ...


T = TypeVar("T")
W = TypeVar("W", bound=Wanted)
Read = Callable[[Fields, Repeated], W]
"""Reads a form; raises ValidationFailed, Unsupported. Also called for what comes before the file, with nothing repeated."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and what the answer is made with."""

    request: Request
    jobs: OwnerJobs
    parts: Parts
    who: Identity
    base: str

    # --- a file becomes a job
    async def accept(
        self, form: Form, read: Read[W], *, filename: str | None = None, priority: int | None = INTERACTIVE
    ) -> tuple[Job, W]:
        """Take the file of a form in. filename: what to call it, if not by the name it is sent with

        Raises what `Receiver.receive` and `Intake.accept` do, QuotaExceeded, QueueFull, InsufficientStorage.
        """
        async with self.parts.receiver.place(self.request):
            job, want = await self._accept(form, read, filename, priority)
        self.parts.deps.notify(job.id)
        return job, want

    async def _accept(self, form: Form, read: Read[W], filename: str | None, priority: int | None) -> tuple[Job, W]:
        parts, intake = self.parts, self.parts.intake
        await self._admit(declared_length(self.request) or 0)
        job_id = new_id()

        async def check_fields(fields: Fields) -> None:
            await run_in_threadpool(intake.check_some, read(fields, {}).options)

        upload = await parts.receiver.receive(
            self.request, form, store=partial(intake.put, job_id), check_fields=check_fields
        )
        try:
            want = read(upload.fields, upload.repeated)
        except RequestError:  # what came behind the file, or several times, is known only now
            await run_in_threadpool(intake.discard, source_key(job_id))
            raise
        name = clean_filename(filename) if filename else upload.filename
        return await self._make(job_id, _source(job_id, upload, name), want, priority), want

    async def accept_several(self, form: Form, read: Read[W]) -> tuple[list[Job], list[tuple[str, RequestError]], W]:
        """Take all files of a form in: their jobs, and the names of those that were refused, with why. Raises as `accept`."""
        intake = self.parts.intake
        begun: list[str] = []

        def begin() -> tuple[str, Store]:
            begun.append(new_id())
            return begun[-1], partial(intake.put, begun[-1])

        async def check_fields(fields: Fields) -> None:
            await run_in_threadpool(intake.check_some, read(fields, {}).options)

        async with self.parts.receiver.place(self.request):
            await self._admit(declared_length(self.request) or 0)
            try:
                uploads = await self.parts.receiver.receive_several(
                    self.request, form, stores=begin, check_fields=check_fields
                )
                want = read(uploads.fields, {})
                await run_in_threadpool(intake.check, want.options)
            except BaseException:
                for job_id in begun:
                    await run_in_threadpool(intake.discard, source_key(job_id))
                raise
            jobs, refused = [], uploads.refused
            for job_id, file in uploads.files:
                try:
                    await self._admit(0)
                except RequestError as error:
                    await run_in_threadpool(intake.discard, source_key(job_id))
                    refused.append((file.filename, error))
                else:
                    jobs.append(await self._make(job_id, _source(job_id, file, file.filename), want, INTERACTIVE))
                    self.parts.deps.notify(job_id)
        return jobs, refused, want

    async def accept_body(self, want: Wanted) -> Job:
        """Take in the file that the body is. Raises as `accept`."""
        parts, size = self.parts, declared_length(self.request) or 0
        parts.intake.within(self.who.limits.upload_mb).check_size(size)
        await run_in_threadpool(parts.intake.check, want.options)
        async with parts.receiver.slot(self.who.owner):
            await self._admit(size)
            job_id = new_id()
            file = await parts.receiver.receive_body(self.request, "audio", store=partial(parts.intake.put, job_id))
            job = await self._make(job_id, _source(job_id, file, file.filename), want, INTERACTIVE)
        parts.deps.notify(job.id)
        return job

    async def accept_named(self, given: Mapping[str, Any], want: Wanted) -> Job:
        """Of a file that is only named (`url`), and fetched when it is the job's turn.

        Raises what `Origins.named` and `Intake.accept` do, QuotaExceeded, QueueFull, InsufficientStorage.
        """
        intake = self.parts.intake.within(self.who.limits.upload_mb)

        def accept() -> Job:
            job_id, source = named_file(self.parts.origins, given, max_bytes=intake.max_bytes or 0)
            intake.check(want.options)
            self.parts.admit(self.jobs, self.who, 0)
            return intake.accept(self.jobs, job_id, source, want.options, priority=INTERACTIVE)

        job = await run_in_threadpool(accept)
        self.parts.deps.notify(job.id)
        return job

    async def _admit(self, size: int) -> None:
        await run_in_threadpool(self.parts.admit, self.jobs, self.who, size)

    async def _make(self, job_id: str, source: Source, want: Wanted, priority: int | None) -> Job:
        accept = partial(self.parts.intake.accept, priority=priority)
        return await run_in_threadpool(accept, self.jobs, job_id, source, want.options)

    # --- and its client waits for it
    @contextlib.asynccontextmanager
    async def follow(self, job_id: str, scope: Scope) -> AsyncIterator[Follower[Seen]]:
        """A job that is cancelled when the block is left before it has ended, unless its client wants it kept."""
        keep = self.request.headers.get(ON_DISCONNECT, "").lower() == "keep"
        async with self.parts.hub.follow(Asked(self.who, job_id, self.base), scope) as follower:
            try:
                yield follower
            finally:
                if not keep and not follower.now.ended:
                    with contextlib.suppress(ServiceError):  # it has ended meanwhile, or its lease will
                        await run_in_threadpool(self.jobs.request_cancel, job_id)

    async def wait(self, job: Job, answer: Callable[[Transcript], T]) -> T:
        """Until it has ended; what is made of its transcript then, which may take long and does so in a thread.

        Raises SyncTimeout; Cancelled, also when the client has gone; and what it has failed with.
        """
        async with self.follow(job.id, self.request.scope) as follower, follower.closing(self.request.receive):
            await self.until(follower, lambda seen: seen.ended, self.deadline())
        return await run_in_threadpool(lambda: answer(transcript_of(self.parts, self.jobs, job.id)))

    def deadline(self) -> float:
        """Until when requests wait (SYNC_WAIT_SECONDS), on the loop's clock."""
        return asyncio.get_running_loop().time() + self.parts.deps.settings.sync_wait_seconds

    async def until(self, follower: Follower[Seen], reached: Callable[[Seen], bool], deadline: float) -> Seen:
        """The job as soon as that is so. Raises SyncTimeout; Cancelled when the client has gone, or the server goes."""
        loop = asyncio.get_running_loop()
        while not reached(seen := follower.now):
            if follower.closed:
                raise Cancelled
            if loop.time() >= deadline:
                raise SyncTimeout
            await follower.wait(seen, deadline - loop.time())
        return seen

    async def transcript(self, job_id: str) -> Transcript:
        """Of a job that has ended. Raises why there is none."""
        return await run_in_threadpool(transcript_of, self.parts, self.jobs, job_id)

    def told(self, response: Response, job: Job | None, warnings: Sequence[str] = ()) -> Response:
        """The answer, with the headers that all have. job: None when it is gone; warnings: plain ASCII"""
        if job is not None:
            response.headers[JOB] = job.id
        if warnings:
            response.headers[WARNING] = "; ".join(warnings)
        return response


def _source(job_id: str, file: StoredFile, filename: str) -> Source:
    return Source(
        filename=filename, bytes=file.bytes, media_type=file.media_type, sha256=file.sha256, key=source_key(job_id)
    )


def transcript_of(parts: Parts, jobs: OwnerJobs, job_id: str) -> Transcript:
    """Raises why there is none."""
    job = jobs.get(job_id)
    if failure := failure_of(job):
        raise failure
    return stored_transcript(parts.deps, jobs, job)


def failure_of(job: Job) -> ServiceError | None:
    """Why a job that has ended has no transcript."""
    if job.status is JobStatus.CANCELLED:
        return Cancelled()
    if job.status is JobStatus.FAILED and job.error is not None:
        failure = ServiceError(job.error.message)
        failure.code = job.error.code if job.error.code in STATUS else failure.code  # type: ignore[misc]
        return failure
    return None


async def get_caller(request: Request, jobs: Jobs, parts: PartsDep, who: Who, base: Base) -> Caller:
    return Caller(request=request, jobs=jobs, parts=parts, who=who, base=base)


CallerDep = Annotated[Caller, Depends(get_caller)]
