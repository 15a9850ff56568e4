"""The sweeper over real tables: hints are sent, dead jobs ended, deleted and expired things removed, shared ones kept."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from uuid_utils import uuid7

from core.errors import DiskFull, StorageUnavailable
from core.jobs.job import JobParams, JobStatus, NewJob, Source, new_id
from core.jobs.uploads import NewUpload
from core.live.options import StreamOptions
from core.live.sessions import RESUME_SECONDS, NewSession
from core.objects.local import LocalObjects
from core.objects.memory import MemoryObjects
from core.objects.store import job_folder, part_key, piece_key, revision_key, source_key
from core.queue.hints import MemoryHints
from core.queue.sweeper import Sweeper
from core.store.owners import Revision
from core.store.sql import SqlStore
from core.store.tables import upload
from core.system.clock import ManualClock
from core.transcript.formats import to_result
from core.transcript.search.query import Query
from tests.core.store_kit import consumer
from tests.core.test_search_words import talk


class Kit:
    def __init__(self, objects=None, **settings):
        self.clock = ManualClock()
        self.store = SqlStore.in_memory(clock=self.clock)
        self.objects, self.hints = objects or MemoryObjects(), MemoryHints()
        self.sweeper = Sweeper(self.store, self.objects, self.hints, interval=5, max_attempts=2, **settings)
        self.beat()

    def beat(self, *names, jobs=2):
        """Signs of life of consumers with so many job slots each."""
        for name in names or ("c",):
            self.store.beat(name, consumer(jobs))

    def submit(self, retry_of=None, key=None):
        job_id = str(uuid7())
        if key is None:
            key = source_key(job_id)
            self.objects.put(key, io.BytesIO(b"audio"))
        source = Source(filename="a.wav", bytes=5, media_type="audio/wav", sha256="0" * 64, key=key)
        return self.store.create(NewJob(id=job_id, source=source, params=JobParams(model="demo"), retry_of=retry_of))

    def complete(self, job):
        claim = self.store.claim(owner="c/1:1", consumer="c", lease_seconds=60)
        assert claim.job.id == job.id
        key = f"jobs/{job.id}/result.1.json"
        self.objects.put(key, io.BytesIO(b"{}"))
        self.store.finish(claim, result_key=key, partial=False, gaps=[], warnings=[], performance={})

    @property
    def keys(self):
        return set(self.objects.keys("jobs/"))


def test_hints_are_sent_once_and_again_after_an_outage():
    kit = Kit()
    job = kit.submit()
    kit.hints.down = True
    assert kit.sweeper.send_hints() == 0 and kit.sweeper.hints_fail
    kit.hints.down = False
    assert kit.sweeper.send_hints() == 1 and kit.hints.ids == [job.id]
    assert kit.sweeper.send_hints() == 0
    kit.clock.advance(30)  # the message was lost: nobody claimed the job
    kit.beat()
    kit.sweeper.sweep_once()
    assert kit.hints.ids == [job.id, job.id]


def test_a_job_that_was_found_without_its_hint_is_no_reason_to_think_the_broker_away():
    kit = Kit()
    job = kit.submit()
    kit.hints.down = True
    assert kit.sweeper.send_hints() == 0 and kit.sweeper.hints_fail
    kit.complete(job)
    assert kit.sweeper.send_hints() == 0 and not kit.sweeper.hints_fail


def test_hints_are_sent_for_slots_that_can_hear_them():
    kit = Kit()
    kit.beat("c", "other", jobs=2)
    for _ in range(3):
        kit.submit()
        assert kit.store.claim(owner="c/1:1", consumer="c", lease_seconds=60) is not None
    for _ in range(4):
        kit.submit()
    assert kit.sweeper.send_hints() == 1
    assert kit.store.unsent(10) == [], "who is busy looks by itself when it is done"
    kit.clock.advance(21)
    kit.submit()
    assert kit.sweeper.send_hints() == 0, "nobody has been heard of lately"
    kit.beat(jobs=4)
    kit.clock.advance(15)
    kit.sweeper.sweep_once()
    assert len(kit.hints.ids) == 2, "one slot of four is free: three are at work"


def test_two_thousand_waiting_jobs_and_four_sweepers():
    kit = Kit()
    kit.beat("c", "other", jobs=2)
    for _ in range(2_000):
        kit.submit(key="shared")
    while kit.sweeper.send_hints():
        pass
    sweepers = [Sweeper(kit.store, kit.objects, MemoryHints(), interval=5, max_attempts=2) for _ in range(4)]

    def looked(times):
        """Hints by look."""
        counts = []
        for _ in range(times):
            kit.clock.advance(5)
            kit.beat("c", "other", jobs=2)
            for sweeper in sweepers:
                before = len(sweeper._hints.ids)
                sweeper.send_hints()
                sweeper.sweep_once()
                counts.append(len(sweeper._hints.ids) - before)
        return counts

    for n in range(3):
        assert kit.store.claim(owner=f"c/{n}:1", consumer="c", lease_seconds=3600) is not None
    assert looked(12) == [1] * 48
    assert kit.store.claim(owner="c/3:1", consumer="other", lease_seconds=3600) is not None
    assert looked(12) == [0] * 48
    assert kit.store.unsent(10) == []


def test_a_job_whose_owners_keep_dying_is_ended():
    kit = Kit()
    job = kit.submit()
    for n in range(2):
        assert kit.store.claim(owner=f"c/{n}:1", consumer="c", lease_seconds=10, max_attempts=2) is not None
        kit.clock.advance(11)
    kit.sweeper.sweep_once()
    ended = kit.store.get(job.id)
    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "worker_crashed")


class FullForHints(SqlStore):
    """A database that can hide and remove jobs, and store nothing."""

    tried = 0

    def sent(self, outbox_ids):
        self.tried += 1
        raise DiskFull

    def rehint(self, *, older_than, limit):
        raise DiskFull


def test_a_full_disk_does_not_keep_the_sweep_from_making_room():
    kit = Kit()
    kit.store = FullForHints(kit.store.database)
    kit.sweeper = Sweeper(kit.store, kit.objects, kit.hints, interval=0.01, max_attempts=2)
    kept, gone = kit.submit(), kit.submit()
    kit.store.request_delete(gone.id)
    kit.sweeper.start()
    deadline = time.monotonic() + 20
    while kit.keys != {kept.source.key} or not kit.store.tried:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kit.sweeper.stop()
    assert not kit.store.removable(limit=1)


def test_deleting_keeps_an_upload_that_a_retry_still_needs():
    kit = Kit()
    first = kit.submit()
    kit.store.request_cancel(first.id)
    second = kit.submit(retry_of=first.id, key=first.source.key)
    kit.store.request_delete(first.id)
    kit.sweeper.sweep_once()
    assert first.source.key in kit.keys
    kit.store.request_delete(second.id)
    kit.sweeper.sweep_once()
    assert kit.keys == set()


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_a_job_that_cannot_be_removed_holds_up_no_other(tmp_path, how):
    kit = Kit(LocalObjects(tmp_path), audio_hours=1e-9 if how == "expired" else 0)
    stuck, other = kit.submit(), kit.submit()
    for job in (stuck, other):
        if how == "deleted":
            kit.store.request_delete(job.id)
        else:
            kit.complete(job)
    path = tmp_path / stuck.source.key
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    kit.sweeper.sweep_once()
    assert not (tmp_path / other.source.key).exists()
    assert path.exists()


class Stubborn(MemoryObjects):
    """One object cannot be removed."""

    def delete(self, key):
        if key == "uploads/a/0.1":
            raise StorageUnavailable("Operation not permitted")
        super().delete(key)


def test_an_upload_that_cannot_be_removed_holds_up_nothing():
    kit = Kit(Stubborn())
    uploads = kit.store.uploads_of(None)
    for upload_id in ("a", "b"):
        new = NewUpload(id=upload_id, filename="talk.wav", length=10, options={})
        lease = uploads.take_upload(uploads.begin_upload(new, most=2).id, offset=0, lease_seconds=9)
        key = part_key(upload_id, 0, lease.fence)
        kit.objects.put(key, io.BytesIO(b"bytes"))
        uploads.append(lease, key, 5, media_type=None)
    with kit.store.database.write() as connection:
        connection.execute(update(upload).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    job = kit.submit()
    for _ in range(2):
        kit.store.claim(owner="c/1:1", consumer="c", lease_seconds=60)
        kit.clock.advance(61)
    kit.sweeper.sweep_once()
    assert kit.store.known_uploads({"a", "b"}) == {"a"}
    assert kit.store.get(job.id).status is JobStatus.FAILED


@pytest.mark.parametrize(
    ("audio", "result", "left"), [(0, 0, {"source", "result.1.json"}), (1, 0, {"result.1.json"}), (1, 1, set())]
)
def test_retention(audio, result, left):
    kit = Kit(audio_hours=audio and 1e-9, result_hours=result and 1e-9)
    job = kit.submit()
    kit.complete(job)
    kit.sweeper.sweep_once()
    assert {key.rpartition("/")[2] for key in kit.keys} == left
    after = kit.store.get(job.id)
    assert (after.status, after.expired_audio, after.expired_result) == (JobStatus.COMPLETED, bool(audio), bool(result))


def test_orphans_go_and_what_is_known_stays():
    kit = Kit()
    job = kit.submit()
    for n in range(600):
        kit.objects.put(f"jobs/orphan-{n}/source", io.BytesIO(b"x"))
    assert kit.sweeper.collect_orphans(older_than=-1.0) == 600
    assert kit.keys == {job.source.key}


def stream(kit, **options):
    """A live stream with a piece of audio."""
    params = JobParams(model="demo").to_dict()
    new = NewSession(id=new_id(), owner=None, options=StreamOptions(**options), params=params)
    lease = kit.store.begin_session(new, consumer="c", lease_seconds=10)
    key = piece_key(new.id, 0, lease.fence)
    kit.objects.put(key, io.BytesIO(b"1234"))
    return kit.store.keep_piece(lease, start=0, size=4, key=key)


def test_a_stream_that_nobody_goes_on_with_becomes_a_job_and_keeps_its_audio():
    kit = Kit()
    left, unsaved, alive = stream(kit), stream(kit, save=False, encoding="container"), stream(kit)
    kit.clock.advance(11 + RESUME_SECONDS)
    kit.store.renew_session(alive, lease_seconds=10)
    kit.beat()
    kit.sweeper.sweep_once()
    kit.sweeper.send_hints()
    ((job,), _) = kit.store.list()
    assert job.source.origin.name == left.session.id and job.id in kit.hints.ids
    kit.objects.put("live/nobodys/0.1", io.BytesIO(b"late"))
    assert kit.sweeper.collect_orphans(older_than=-1.0) == 1
    kit.sweeper.sweep_once()
    kept = {f"live/{one.session.id}/0.1" for one in (left, alive)}
    assert set(kit.objects.keys("live/")) == kept
    assert kit.store.known_sessions([unsaved.session.id]) == set()
    kit.store.request_delete(job.id)
    for _ in range(2):
        kit.sweeper.sweep_once()
    assert set(kit.objects.keys("live/")) == {f"live/{alive.session.id}/0.1"}, "deleted before anybody had looked at it"
    assert [one.id for one in kit.store.sessions(None)] == [alive.session.id]


def test_all_that_lies_in_the_folder_of_an_unfinished_job_stays():
    kit = Kit()
    job, ended = kit.submit(), kit.submit()
    kit.store.request_cancel(ended.id)
    for one in (job, ended):
        kit.objects.put(f"{job_folder(one.id)}turns.json", io.BytesIO(b"{}"))
    assert kit.sweeper.collect_orphans(older_than=-1.0) == 1
    assert kit.keys == {job.source.key, ended.source.key, f"{job_folder(job.id)}turns.json"}
    kit.store.request_delete(job.id)
    kit.sweeper.sweep_once()
    assert kit.keys == {ended.source.key}


def test_one_sweeper_of_all_goes_through_the_objects():
    class Listed(MemoryObjects):
        times = 0

        def keys(self, prefix, **options):
            self.times += prefix == "jobs/"
            return super().keys(prefix, **options)

    kit = Kit(Listed())
    for hours in (1, 2):
        sweepers = [
            Sweeper(kit.store, kit.objects, kit.hints, interval=5, max_attempts=2, orphans_after=0.0) for _ in range(3)
        ]
        for sweeper in sweepers * 2:
            sweeper.sweep_once()
        assert kit.objects.times == hours
        kit.clock.advance(3600)


def test_the_store_of_another_database_is_left_alone(caplog):
    """A service started with the wrong DATABASE_URL, or before its database was restored, knows none of the objects."""
    kit = Kit()
    job = kit.submit()
    kit.sweeper.collect_orphans(older_than=-1.0)
    other = Kit(kit.objects)
    assert other.sweeper.collect_orphans(older_than=-1.0) == 0
    assert kit.keys == {job.source.key} and "belongs to another database" in caplog.text
    kit.objects.delete("installation")
    assert other.sweeper.collect_orphans(older_than=-1.0) == 1, "the operator said so"
    assert kit.sweeper.collect_orphans(older_than=-1.0) == 0


def test_texts_are_written_into_the_search_index():
    kit = Kit()
    job = kit.submit()
    kit.complete(job)
    kit.objects.put(f"jobs/{job.id}/result.1.json", io.BytesIO(json.dumps(to_result(talk("a word"))).encode()))
    kit.sweeper.sweep_once()
    assert [found.id for found in kit.store.list(query=Query.of("word"))[0]] == [job.id]
    assert kit.store.unindexed(limit=1) == []


def test_an_outage_leaves_texts_for_the_next_sweep():
    class Away(MemoryObjects):
        away = True

        def open(self, key, *, offset=0):
            if self.away:
                raise StorageUnavailable
            return super().open(key, offset=offset)

    kit = Kit(Away())
    kit.complete(kit.submit())
    with pytest.raises(StorageUnavailable):
        kit.sweeper.sweep_once()
    kit.objects.away = False
    kit.clock.advance(5)
    kit.sweeper.sweep_once()
    assert kit.store.unindexed(limit=1) == []


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_edits_go_with_their_job(how):
    kit = Kit(result_hours=1e-9 if how == "expired" else 0)
    job = kit.submit()
    kit.complete(job)
    key = revision_key(job.id, 1)
    kit.objects.put(key, io.BytesIO(b"{}"))
    kit.store.revise(job.id, Revision(number=1, kind="transcript", key=key, sha256="a" * 64))
    if how == "deleted":
        kit.store.request_delete(job.id)
    kit.sweeper.sweep_once()
    assert kit.keys == (set() if how == "deleted" else {job.source.key})


def test_an_edit_without_a_row_is_an_orphan():
    kit = Kit()
    job = kit.submit()
    kit.complete(job)
    kept, lost = revision_key(job.id, 1), revision_key(job.id, 1)
    for key in (kept, lost):
        kit.objects.put(key, io.BytesIO(b"{}"))
    kit.store.revise(job.id, Revision(number=1, kind="transcript", key=kept, sha256="a" * 64))
    assert kit.sweeper.collect_orphans(older_than=-1.0) == 1
    assert kept in kit.keys and lost not in kit.keys
