"""Uploads in parts: whose they are, who may add to one, what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from uuid_utils import uuid7

from core.errors import (
    AlreadyTerminal,
    BatchClosed,
    BatchNotFound,
    Expired,
    LeaseLost,
    OffsetConflict,
    QuotaExceeded,
    UploadLocked,
    UploadNotFound,
)
from core.jobs.batches import NewBatch
from core.jobs.job import JobFailure, JobStatus, new_id
from core.jobs.origin import Origin, OriginKind
from core.jobs.params import JobParams
from core.jobs.uploads import NewUpload, PartialUpload
from core.store.owners import OwnerUploads
from core.store.sql import SqlStore
from core.store.tables import ROW_VERSION
from core.store.tables import job as job_table
from core.store.tables import upload as upload_table
from core.submission.retry import retry
from core.system.clock import ManualClock
from tests.core.store_kit import clock, new_job, store, take

__all__ = ["clock", "store"]


def begin(uploads: OwnerUploads, length: int = 10, **more: object) -> PartialUpload:
    new = NewUpload(id=str(uuid7()), filename="talk.wav", length=length, options={"language": "de"}, metadata="m")
    return uploads.begin_upload(new, most=int(more.get("most", 100)))  # type: ignore[call-overload]


def finished(store: SqlStore, owner: str | None = "anna") -> tuple[PartialUpload, str]:
    """An upload of one part, and the id of its job."""
    uploads = store.uploads_of(owner)
    begun = begin(uploads)
    lease = uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    new = new_job()
    new = replace(new, source=begun.source(new.source.key, media_type="audio/wav"))
    return uploads.append(lease, "uploads/x/0.1", 10, media_type="audio/wav", job=new).upload, new.id


def test_parts_are_added_one_after_the_other(store: SqlStore) -> None:
    uploads = store.uploads_of("anna")
    begun = begin(uploads)
    assert (begun.offset, begun.length, begun.options, begun.metadata) == (0, 10, {"language": "de"}, "m")
    lease = uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    lease = uploads.append(lease, "a", 4, media_type=None)
    lease = uploads.append(lease, "b", 3, media_type="audio/wav")
    uploads.leave_upload(lease)
    assert uploads.parts(begun.id) == store.upload_parts(begun.id) == ["a", "b"]
    now = uploads.upload(begun.id)
    assert (now.offset, now.media_type, now.job_id) == (7, "audio/wav", None)
    assert now.expires_at > datetime.now(UTC) + timedelta(hours=23)
    for offset in (0, 4, 8, 10):
        with pytest.raises(OffsetConflict, match="7 of 10"):
            uploads.take_upload(begun.id, offset=offset, lease_seconds=9)
    assert uploads.take_upload(begun.id, offset=7, lease_seconds=9).fence == 2


def test_one_at_a_time_and_a_dead_one_is_followed(store: SqlStore, clock: ManualClock) -> None:
    uploads = store.uploads_of(None)
    begun = begin(uploads)
    lease = uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    with pytest.raises(UploadLocked):
        uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    clock.advance(8)
    uploads.renew_upload(lease, lease_seconds=9)
    clock.advance(8)
    with pytest.raises(UploadLocked):
        uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    clock.advance(2)
    newer = uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    with pytest.raises(UploadLocked):
        uploads.append(lease, "late", 5, media_type=None)
    uploads.renew_upload(lease, lease_seconds=900)
    uploads.leave_upload(lease)
    assert uploads.append(newer, "a", 5, media_type=None).upload.offset == 5
    assert uploads.parts(begun.id) == ["a"]


def test_anothers_upload_is_none(store: SqlStore) -> None:
    begun = begin(store.uploads_of("anna"))
    for owner in ("bert", None, ""):
        theirs = store.uploads_of(owner)
        for ask in (
            lambda theirs=theirs: theirs.upload(begun.id),
            lambda theirs=theirs: theirs.parts(begun.id),
            lambda theirs=theirs: theirs.take_upload(begun.id, offset=0, lease_seconds=9),
            lambda theirs=theirs: theirs.drop_upload(begun.id),
        ):
            with pytest.raises(UploadNotFound):
                ask()
    assert store.uploads_of("anna").upload(begun.id) == begun
    assert store.upload_parts(begun.id) == []


def test_an_owner_has_so_many(store: SqlStore) -> None:
    anna = store.uploads_of("anna")
    first = begin(anna, most=2)
    begin(anna, most=2)
    with pytest.raises(QuotaExceeded, match="2 uploads"):
        begin(anna, most=2)
    begin(store.uploads_of("bert"), most=2)
    begin(store.uploads_of(None), most=1)
    anna.drop_upload(first.id)
    with pytest.raises(UploadNotFound):
        anna.upload(first.id)
    finished(store)
    begin(anna, most=2)


def test_the_last_part_makes_the_job(store: SqlStore) -> None:
    done, job_id = finished(store)
    assert (done.offset, done.job_id) == (10, job_id)
    job = store.of("anna").get(job_id)
    assert job.status is JobStatus.QUEUED and job.owner == "anna"
    assert (job.source.bytes, job.source.sha256, job.source.filename) == (10, "", "talk.wav")
    assert job.source.origin == Origin(kind=OriginKind.UPLOAD, name=done.id, max_bytes=10)
    assert [hinted for _, hinted in store.unsent(9)] == [job_id]
    uploads = store.uploads_of("anna")
    with pytest.raises(OffsetConflict):
        uploads.take_upload(done.id, offset=10, lease_seconds=9)
    with pytest.raises(AlreadyTerminal, match=job_id):
        uploads.drop_upload(done.id)


def test_the_last_part_of_one_whose_batch_takes_no_more_is_not_taken(store: SqlStore) -> None:
    batches, uploads = store.batches_of("anna"), store.uploads_of("anna")
    batch = batches.create(NewBatch(id=new_id(), params=JobParams(model="base")))
    begun = begin(uploads)
    lease = uploads.take_upload(begun.id, offset=0, lease_seconds=9)
    job = replace(new_job(), batch=batch.id, source=begun.source("k", media_type="audio/wav"))
    batches.close(batch.id)
    with pytest.raises(BatchClosed):
        uploads.append(lease, "part", begun.length, media_type="audio/wav", job=job)
    batches.delete(batch.id)
    with pytest.raises(BatchNotFound):
        uploads.append(lease, "part", begun.length, media_type="audio/wav", job=job)
    assert uploads.upload(begun.id).offset == 0 and uploads.parts(begun.id) == [] and not any(store.counts().values())
    other = batches.create(NewBatch(id=new_id(), params=JobParams(model="base")))
    uploads.append(lease, "part", begun.length, media_type="audio/wav", job=replace(job, batch=other.id))
    assert batches.tally(other.id)[1].jobs == 1


def test_an_upload_that_is_put_together_is_done_with(store: SqlStore) -> None:
    done, job_id = finished(store)
    waiting = begin(store.uploads_of("anna"))
    assert store.removable_uploads(limit=9) == [], "its job has not got it yet"
    claim = take(store)
    source = replace(claim.job.source, sha256="b" * 64, key=f"jobs/{job_id}/source.1", origin=None)
    store.brought(claim, source)
    assert store.of("anna").get(job_id).source == source
    assert store.removable_uploads(limit=9) == [done.id]
    store.remove_upload(done.id)
    assert store.known_uploads([done.id, waiting.id]) == {waiting.id}
    with pytest.raises(UploadNotFound):
        store.uploads_of("anna").upload(done.id)


def test_the_file_of_a_job_that_another_has_is_not_named(store: SqlStore, clock: ManualClock) -> None:
    _, job_id = finished(store)
    late = take(store, lease=5)
    clock.advance(6)
    now = take(store, owner="two")
    with pytest.raises(LeaseLost):
        store.brought(late, replace(late.job.source, sha256="c" * 64, origin=None))
    assert now.job.source.origin is not None and store.get(job_id).source == now.job.source


def test_a_retry_still_needs_what_was_never_put_together(store: SqlStore) -> None:
    done, job_id = finished(store)
    store.fail(take(store), JobFailure(code="disk_full", message="no", stage="fetching"))
    again = retry(store.of("anna"), job_id, everything=False)
    assert again.source.origin == store.get(job_id).source.origin
    assert again.source.key == f"jobs/{again.id}/source"
    for gone in (job_id, again.id):
        assert store.removable_uploads(limit=9) == []
        store.of("anna").request_delete(gone)
        store.remove(gone)
    assert store.removable_uploads(limit=9) == [done.id]


def test_what_gets_no_byte_for_a_day_is_forgotten(store: SqlStore) -> None:
    uploads = store.uploads_of("anna")
    begun, other = begin(uploads), begin(uploads)
    with store.database.write() as connection:
        old = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(upload_table).where(upload_table.c.id == begun.id).values(expires_at=old))
    for ask in (lambda: uploads.upload(begun.id), lambda: uploads.take_upload(begun.id, offset=0, lease_seconds=9)):
        with pytest.raises(Expired):
            ask()
    assert store.removable_uploads(limit=9) == [begun.id]
    assert uploads.upload(other.id) == other


def test_where_only_a_newer_version_knows_the_way_the_job_is_shown_and_left_to_it(store: SqlStore) -> None:
    made = store.create(new_job())
    with store.database.write() as connection:
        values = {"origin": "torrent 7 a b", "row_version": ROW_VERSION + 1}
        connection.execute(update(job_table).where(job_table.c.id == made.id).values(values))
    store.request_cancel(made.id)
    ((shown,), _) = store.list()
    assert shown.source.origin == Origin(kind="torrent", name="a b", max_bytes=7)
    again = store.create(shown.again())
    assert again.source.origin == shown.source.origin
    assert store.claim(owner="one", consumer="here", lease_seconds=60) is None


def test_an_origin_is_read_back() -> None:
    for kind, name in ((OriginKind.URL, "https://host/a%20b?x=1"), (OriginKind.OBJECT, "a b/ä.mp3")):
        origin = Origin(kind=kind, name=name, max_bytes=7)
        assert Origin.from_text(origin.to_text()) == origin
