"""The search index: on SQLite in memory, SQLite in a file and PostgreSQL; each finds the same."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from alembic import command
from sqlalchemy import event, text

from core.errors import StorageUnavailable, ValidationFailed
from core.jobs.job import Job, JobStatus
from core.objects.memory import MemoryObjects
from core.queue.indexing import index_due
from core.store import migrations
from core.store.database import open_database
from core.store.owners import OwnerJobs
from core.store.sql import SqlStore
from core.store.texts import matches
from core.transcript.formats import to_result
from core.transcript.search.query import Query
from tests.core.store_kit import clock, new_job, steps_of, store, url
from tests.core.test_search_words import talk
from tests.core.test_store_texts import finish, revision

__all__ = ["clock", "store", "url"]


def submit(store: SqlStore, owner: str | None, name: str) -> Job:
    new = new_job()
    return store.of(owner).create(replace(new, source=replace(new.source, filename=name)))


def said(store: SqlStore, owner: str | None, *lines: str, name: str = "talk.mp3") -> Job:
    """A job that has ended, with that text, which is in the index."""
    objects, job = MemoryObjects(), submit(store, owner, name)
    finish(store)
    objects.put(f"jobs/{job.id}/result.1.json", io.BytesIO(json.dumps(to_result(talk(*lines))).encode()))
    assert index_due(store, objects, seconds=60) == 1
    return store.get(job.id)


def found(jobs: OwnerJobs, typed: str, **options: Any) -> list[str]:
    by_search = [job.id for job, _ in jobs.search(Query.of(typed), **options)[0]]
    assert by_search == [job.id for job in jobs.list(query=Query.of(typed), **options)[0]]
    return by_search


def rows(store: SqlStore) -> list[int]:
    with store.database.read() as connection:
        return [connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in ("search", "search_index")]


@pytest.mark.parametrize(
    ("typed", "hit"),
    [
        ("meeting", True),
        ("MEETING café", True),
        ("cafe", True),
        ('"the café"', True),
        ('"café the"', False),
        ('"moved to"', True),  # from one segment to the next
        ("mov*", True),
        ("mov", False),
        ("interview", True),
        ("interview moved", True),
        ('"mp3 we"', False),  # name and text are two things
        ("東京", True),
        ("京都", True),
        ("東京都に", True),
        ("都", True),
        ("東都", False),
        ("ガラス", True),
        ("%", None),
        ("moved%", True),
        ("'; DROP TABLE job; --", False),
        ("moved' & !", True),
        ('"moved" NEAR(x', False),
    ],
)
def test_what_people_type(store: SqlStore, typed: str, hit: bool | None) -> None:
    lines = ["We had a meeting in the Café. It was moved", "to 東京都に, with ｶﾞﾗｽ!"]
    job = said(store, "anna", *lines, name="Interview_3.mp3")
    if hit is None:
        with pytest.raises(ValidationFailed):
            found(store.of("anna"), typed)
        return
    for jobs in (store.of("anna"), store.of("root", all_jobs=True)):
        assert found(jobs, typed) == ([job.id] if hit else [])


def test_a_job_is_found_by_its_name_at_once_and_by_its_text_when_that_is_written(store: SqlStore) -> None:
    objects, job = MemoryObjects(), submit(store, None, "Grüße.mp3")
    assert found(store, "grusse") == [job.id] and store.unindexed(limit=9) == []
    finish(store)
    key = f"jobs/{job.id}/result.1.json"
    assert [(one.id, where) for one, where in store.unindexed(limit=9)] == [(job.id, key)]
    objects.put(key, io.BytesIO(json.dumps(to_result(talk("hello", "you there"))).encode()))
    assert index_due(store, objects, seconds=60) == 1 and index_due(store, objects, seconds=60) == 0
    ((_, document),), _ = store.search(Query.of("there"))
    assert document.text == "hello\nyou there" and [list(place) for place in document.places] == [
        [0.0, 1.5, 0],
        [2.0, 3.5, 1],
    ]


def test_failed_and_cancelled_jobs_have_their_names(store: SqlStore) -> None:
    job = submit(store, None, "nothing.mp3")
    store.request_cancel(job.id)
    assert found(store, "nothing") == [job.id] and store.unindexed(limit=9) == []
    assert [one.id for one in store.list(query=Query.of("nothing"), status=JobStatus.CANCELLED)[0]] == [job.id]
    assert store.list(query=Query.of("nothing"), status=JobStatus.QUEUED)[0] == []


def test_an_owner_finds_its_own_alone(store: SqlStore) -> None:
    annas, berts = said(store, "anna", "a secret word"), said(store, "bert", "another word")
    for owner, ids in (("anna", [annas.id]), ("bert", [berts.id]), ("carl", []), (None, [])):
        assert found(store.of(owner), "word") == ids and found(store.of(owner), "wor*") == ids
    assert found(store.of("bert"), "secret") == []
    assert found(store.of("root", all_jobs=True), "word") == [berts.id, annas.id]


def test_what_is_asked_for_among_ones_own_touches_no_word_of_others(store: SqlStore) -> None:
    """The same statements, with words that only the owner's jobs have, whatever others have said."""
    statements: list[Any] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if "search_index" in statement:
            statements.append((statement, str(parameters)))

    said(store, "anna", "secret")
    event.listen(store.database.engine, "before_cursor_execute", note)
    looked = []
    for typed in ("secret", "nowhere"):
        statements.clear()
        assert found(store.of("bert"), typed) == []
        looked.append([(statement, parameters.replace(typed, "")) for statement, parameters in statements])
    event.remove(store.database.engine, "before_cursor_execute", note)
    assert looked[0] == looked[1] != []
    assert all("_" in parameters for _, parameters in looked[0]), "each word is marked with its owner"


@pytest.mark.parametrize("typed", ["talk", '"talk mp3"'])
def test_jobs_of_hits_are_looked_up_one_by_one(store: SqlStore, typed: str) -> None:
    """Not all that the owner has, of which there may be a hundred thousand."""
    if store.database.postgres:
        return  # its plans depend on its figures
    for _ in range(25):
        submit(store, "anna", "talk.mp3")
    steps = steps_of(store, lambda: store.of("anna").search(Query.of(typed), limit=20))
    assert [step for step in steps if "job" in step and "autoindex" not in step] == []
    assert len([step for step in steps if "job" in step]) == 2, "once to choose, once to show"


def test_a_deleted_job_is_gone_from_the_index_in_the_same_moment(store: SqlStore) -> None:
    job, kept = said(store, "anna", "word"), said(store, "anna", "word")
    assert rows(store) == [2, 2]
    store.request_delete(job.id)
    assert found(store.of("anna"), "word") == [kept.id] and rows(store) == [1, 1]
    store.remove(job.id)
    store.remove(kept.id)  # as who knows nothing of `request_delete`
    assert rows(store) == [0, 0]


def test_an_expired_text_is_found_no_more_but_its_name_is(store: SqlStore) -> None:
    job = said(store, None, "word", name="kept.mp3")
    store.expire(audio_hours=0, result_hours=1e-12, limit=10)
    assert found(store, "word") == [] and found(store, "kept") == [job.id]
    with store.database.read() as connection:
        assert connection.scalar(text("SELECT text FROM search")) == ""


def test_the_newest_revision_is_found(store: SqlStore) -> None:
    job, objects = said(store, None, "wrong"), MemoryObjects()
    store.revise(job.id, revision(job, 1))
    objects.put(revision(job, 1).key, io.BytesIO(json.dumps(to_result(talk("right"))).encode()))
    index_due(store, objects, seconds=60)
    assert found(store, "right") == [job.id] and found(store, "wrong") == []


def test_what_was_read_before_an_edit_is_not_written_after_it(store: SqlStore) -> None:
    job = said(store, None, "word")
    store.revise(job.id, revision(job, 1))
    ((before, _),) = store.unindexed(limit=1)
    store.revise(job.id, revision(job, 2))
    assert not store.index(before, None) and len(store.unindexed(limit=9)) == 1
    store.request_delete(job.id)
    assert not store.index(store_job(job, 2), None) and rows(store) == [0, 0]


def store_job(job: Job, number: int) -> Job:
    return job.evolve(revision=number)


def test_pages(store: SqlStore) -> None:
    ids = [submit(store, "anna", f"talk {n}.mp3").id for n in range(5)]
    submit(store, "bert", "talk.mp3")
    jobs, got, after = store.of("anna"), [], None
    for length in (2, 2, 1):
        page, after = jobs.search(Query.of("talk"), limit=2, after=after)
        got += [job.id for job, _ in page]
        assert len(page) == length
    assert got == ids[::-1] and after is None
    _, cursor = jobs.list(query=Query.of("talk"), limit=2)
    assert [job.id for job in jobs.list(query=Query.of("talk"), limit=2, after=cursor)[0]] == ids[2:0:-1]
    for wrong in ("x", "-1", "1e9", "9" * 16, "１"):
        with pytest.raises(ValidationFailed):
            jobs.search(Query.of("talk"), after=wrong)
    _, plain = jobs.list(limit=2)
    with pytest.raises(ValidationFailed):
        jobs.list(query=Query.of("talk"), after=plain)
    with pytest.raises(ValidationFailed):
        jobs.list(after=cursor)


def test_a_page_is_bounded_and_the_next_goes_on(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matches, "EXAMINED", 3)
    wanted = submit(store, None, "one two.mp3")
    for _ in range(7):
        submit(store, None, "two one.mp3")
    got, after, pages = [], None, 0
    while True:
        page, after = store.search(Query.of('"one two"'), limit=2, after=after)
        got += [job.id for job, _ in page]
        pages += 1
        if after is None:
            break
    assert got == [wanted.id] and pages == 3


def test_all_are_written_anew(store: SqlStore) -> None:
    job, objects = said(store, None, "word"), MemoryObjects()
    waiting = submit(store, None, "waiting.mp3")
    with store.database.write() as connection:  # as after a backup of another time
        connection.execute(text("DELETE FROM search_index"))
        connection.execute(text("DELETE FROM search WHERE job_id = :id"), {"id": waiting.id})
    objects.put(f"jobs/{job.id}/result.1.json", io.BytesIO(json.dumps(to_result(talk("word"))).encode()))
    assert store.index_anew() == 2
    assert index_due(store, objects, seconds=60) == 2
    assert found(store, "word") == [job.id] and found(store, "waiting") == [waiting.id]


def test_a_job_that_an_older_version_made_is_found_when_this_one_ends_it(store: SqlStore) -> None:
    """The two work side by side during an upgrade, and the older one knows of no index."""
    job, objects = submit(store, "anna", "talk.mp3"), MemoryObjects()
    with store.database.write() as connection:
        for name in ("search_index", "search"):
            connection.execute(text(f"DELETE FROM {name}"))
    finish(store)
    objects.put(f"jobs/{job.id}/result.1.json", io.BytesIO(json.dumps(to_result(talk("word"))).encode()))
    assert index_due(store, objects, seconds=60) == 1
    assert found(store.of("anna"), "word") == [job.id]


class Away(MemoryObjects):
    def open(self, key: str, *, offset: int = 0) -> Any:
        raise StorageUnavailable


def test_what_cannot_be_read_holds_up_nobody_and_an_outage_ends_the_round(store: SqlStore) -> None:
    objects = MemoryObjects()
    jobs = [submit(store, None, f"{n}.mp3") for n in range(3)]
    for _ in jobs:
        finish(store)
    with pytest.raises(StorageUnavailable):
        index_due(store, Away(), seconds=60)
    assert len(store.unindexed(limit=9)) == 3
    objects.put(f"jobs/{jobs[0].id}/result.1.json", io.BytesIO(b'{"segments": 5}'))
    objects.put(f"jobs/{jobs[1].id}/result.1.json", io.BytesIO(json.dumps(to_result(talk("word"))).encode()))
    assert index_due(store, objects, seconds=60) == 3 and store.unindexed(limit=9) == []
    assert found(store, "word") == [jobs[1].id]


def test_words_without_end(store: SqlStore) -> None:
    """More different words than a tsvector takes, and one that is longer than any."""
    lines = [" ".join(f"{n:x}words" for n in range(start, start + 500)) for start in range(10**6, 10**6 + 60_000, 500)]
    job = said(store, "anna", "first " + "x" * 5000, *lines)
    assert found(store.of("anna"), "first") == [job.id] == found(store.of("anna"), "x" * 100)


_OLD = text(
    "INSERT INTO job (id, priority, status, stage, filename, bytes, media_type, sha256, source_key, params, retry_all, "
    "row_version, created_at, attempts, strikes, fence, hint_due, hint_wait, chunks_done, audio_seconds_done, partial, gaps, "
    "warnings, result_key, expired_audio, expired_result, version) VALUES (:id, 0, :status, 'done', 'a.wav', 9, 'audio/wav', "
    "'abc', 'source', '{\"model\": \"base\"}', :no, 2, :now, 1, 0, 3, 0, 0, 1, 5.0, :no, '[]', '[]', :key, :no, :no, 7)"
)


def _now(url: str, name: str) -> str:
    day = f"2026-01-0{1 if name == 'old' else 2} 00:00:00"
    return f"{day}+00:00" if url.startswith("postgres") else f"{day}.000000"


def test_jobs_from_before_the_index(url: str) -> None:
    database = open_database(url)
    with database.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        command.upgrade(migrations.config(connection), "0003")
    with database.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        for name, status, key in (("old", "completed", "jobs/old/result.1.json"), ("young", "queued", None)):
            connection.execute(_OLD, {"id": name, "status": status, "key": key, "now": _now(url, name), "no": False})
    database.migrate()
    store = SqlStore(database)
    objects = MemoryObjects()
    objects.put("jobs/old/result.1.json", io.BytesIO(json.dumps(to_result(talk("long ago"))).encode()))
    assert index_due(store, objects, seconds=60) == 2
    assert found(store, "ago") == ["old"] and found(store, "a*") == ["young", "old"]
    store.close()
