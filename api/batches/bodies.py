"""The bodies of batches, made from the values of `core.jobs.batches`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas import Body, JobBody, ParamsBody, Seconds
from core.errors import BatchNotFound
from core.jobs.batches import Batch, BatchStatus, Tally
from core.store.protocols import JobStore

EXAMPLE: dict[str, Any] = {"course": "physics-1"}


class BatchLinksBody(Body):
    """Paths on this server."""

    self: str
    items: str
    results: str
    close: str
    cancel: str
    retry: str


class BatchHeadBody(Body):
    """A batch without what its jobs come to."""

    id: str
    status: BatchStatus = Field(
        description="`open`: takes files. `processing`: closed, some jobs have not ended. `completed`: all have, however."
    )
    created_at: datetime
    closed_at: datetime | None
    finished_at: datetime | None
    params: ParamsBody
    metadata: dict[str, Any] | None = Field(description="As it was given.", examples=[EXAMPLE])
    callback_url: str | None = Field(description="Told when the batch is completed.")
    links: BatchLinksBody

    @staticmethod
    def members(batch: Batch, *, base: str) -> dict[str, Any]:
        me = f"{base}/batches/{batch.id}"
        return {
            "id": batch.id,
            "status": batch.status,
            "created_at": batch.created_at,
            "closed_at": batch.closed_at,
            "finished_at": batch.finished_at,
            "params": batch.params.shown(),
            "metadata": batch.metadata,
            "callback_url": batch.callback_url,
            "links": {"self": me, "items": f"{me}/items", "results": f"{me}/results.zip"}
            | {name: f"{me}/{name}" for name in ("close", "cancel", "retry")},
        }

    @staticmethod
    def of(batch: Batch, *, base: str) -> BatchHeadBody:
        """base: path under which the routes lie"""
        return BatchHeadBody.model_validate(BatchHeadBody.members(batch, base=base))


class CountsBody(Body):
    """Jobs by status. One that was retried counts no more; the new one does."""

    total: int = Field(examples=[1000])
    queued: int = Field(examples=[610])
    processing: int = Field(examples=[4])
    cancelling: int = Field(examples=[0])
    completed: int = Field(examples=[385])
    failed: int = Field(examples=[1])
    cancelled: int = Field(examples=[0])
    partial: int = Field(description="Of the completed ones, those with gaps.", examples=[2])


class BatchProgressBody(Body):
    percent: float = Field(ge=0, le=100, description="Of the audio; 100 when the batch is completed.", examples=[38.9])
    audio_seconds: Seconds = Field(
        description="Of all files; what is not decoded yet is guessed by its size.", examples=[91000.0]
    )
    audio_seconds_done: Seconds = Field(examples=[35400.5])
    eta_seconds: float | None = Field(description="At the pace so far.", examples=[5310.0])


class BatchBody(BatchHeadBody):
    """One batch, and what its jobs come to."""

    counts: CountsBody
    progress: BatchProgressBody

    @staticmethod
    def counted(batch: Batch, tally: Tally, *, base: str) -> BatchBody:
        return BatchBody.model_validate(_counted(batch, tally, base))


class RefusedBody(Body):
    """A file that was not taken."""

    filename: str = Field(examples=["notes.pdf"])
    code: str = Field(examples=["not_media"])
    message: str


class NewBatchBody(BatchBody):
    """A batch that was just made."""

    refused: list[RefusedBody] = Field(description="Files of the form that were not taken; the others were.")

    @staticmethod
    def made(batch: Batch, tally: Tally, refused: Sequence[RefusedBody], *, base: str) -> NewBatchBody:
        return NewBatchBody.model_validate(_counted(batch, tally, base) | {"refused": list(refused)})


class BatchPageBody(Body):
    """Newest first."""

    items: list[BatchHeadBody]
    next: str | None = Field(description="Give it as `after` to get the next page; null on the last one.")


class ItemPageBody(Body):
    """Oldest first."""

    items: list[JobBody]
    next: str | None = Field(description="Give it as `after` to get the next page; null on the last one.")


def _counted(batch: Batch, tally: Tally, base: str) -> dict[str, Any]:
    counts = {"total": tally.jobs, **tally.counts(), "partial": tally.partial}
    progress = {
        "percent": tally.percent(batch.status),
        "audio_seconds": round(tally.seconds, 3),
        "audio_seconds_done": round(tally.seconds_done, 3),
        "eta_seconds": tally.eta_seconds,
    }
    return BatchHeadBody.members(batch, base=base) | {"counts": counts, "progress": progress}


def batch_data(store: JobStore, *, base: str) -> Callable[[str], dict[str, Any] | None]:
    """What webhooks are sent of a batch: its body; None when it is gone. base: as in `BatchHeadBody.of`"""
    batches = store.batches_of(None, all_jobs=True)

    def of(batch_id: str) -> dict[str, Any] | None:
        try:
            found, tally = batches.tally(batch_id)
        except BatchNotFound:
            return None
        return BatchBody.counted(found, tally, base=base).model_dump(mode="json")

    return of
