"""All transcripts of a batch as one zip file: names, contents, and how much memory that takes."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pytest

from api.batches.archive import ERRORS, Names, archive
from core.errors import NotInResult, StorageUnavailable
from core.jobs.job import Job, JobFailure, JobStatus
from core.store.sql import SqlStore
from tests.core.store_kit import new_job


@pytest.fixture(scope="module")
def job() -> Job:
    done = SqlStore.in_memory().create(new_job())
    return done.evolve(status=JobStatus.COMPLETED, finished_at=done.created_at)


def called(job: Job, name: str, **changes: object) -> Job:
    return job.evolve(id=name, source=replace(job.source, filename=name), **changes)


def read(jobs: list[Job], **given: object) -> zipfile.ZipFile:
    blocks = archive(jobs, given.get("render", lambda job: f"of {job.id}"), lambda job: f"{job.source.filename}.srt")
    found = zipfile.ZipFile(io.BytesIO(b"".join(blocks)))
    assert found.testzip() is None
    return found


def test_each_is_there_and_what_has_none_is_named(job: Job) -> None:
    failure = JobFailure(code="audio_empty", message="no samples", stage="decoding")

    def render(job: Job) -> str:
        if job.id == "mute":
            raise NotInResult("no speakers")
        if job.id == "broken":
            raise ValueError("no JSON")
        return f"of {job.id} ü"

    jobs = [called(job, name) for name in ("a", "mute", "broken", "ö")]
    jobs += [
        called(job, "bad", status=JobStatus.FAILED, error=failure),
        called(job, "left", status=JobStatus.CANCELLED),
    ]
    found = read(jobs, render=render)
    assert found.namelist() == ["a.srt", "ö.srt", ERRORS]
    assert found.read("ö.srt").decode() == "of ö ü"
    errors = json.loads(found.read(ERRORS))
    assert [(one["filename"], one["code"]) for one in errors] == [
        ("mute", "not_in_result"),
        ("broken", "internal"),
        ("bad", "audio_empty"),
        ("left", "cancelled"),
    ]
    assert {*errors[2]} == {"job", "filename", "status", "code", "message"}
    assert read([called(job, "a")]).namelist() == ["a.srt"], "nothing to complain about"


def test_what_may_pass_breaks_it_off(job: Job) -> None:
    def away(job: Job) -> str:
        raise StorageUnavailable

    with pytest.raises(StorageUnavailable):
        read([job], render=away)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (["a.srt", "a.srt", "A.SRT", "a.srt"], ["a.srt", "a (2).srt", "A (3).SRT", "a (4).srt"]),
        (["a (2).srt", "a.srt", "a.srt"], ["a (2).srt", "a.srt", "a (3).srt"]),
        (["\u00e9.srt", "e\u0301.srt"], ["\u00e9.srt", "\u00e9 (2).srt"]),  # the same letter in two spellings
        (["errors.json"], ["errors (2).json"]),
        (["../../etc/x.srt", "..\\x.srt", "/x.srt"], [".._.._etc_x.srt", ".._x.srt", "_x.srt"]),
        (["a:b?.srt", "con.srt", "Lpt1.txt.srt", "...srt"], ["a_b_.srt", "_con.srt", "_Lpt1.txt.srt", "file.srt"]),
        (["a. .srt", "a\n\0.srt"], ["a.srt", "a__.srt"]),
    ],
)
def test_names_are_safe_and_each_is_there_once(wanted: list[str], made: list[str]) -> None:
    names = Names(ERRORS)
    assert [names.take(name) for name in wanted] == made


def test_long_names_and_many_of_one_name() -> None:
    names = Names()
    taken = [names.take(f"{'ü' * 126}.srt") for _ in range(2000)]
    assert len({*taken}) == 2000 and max(len(name.encode()) for name in taken) <= 255


def test_memory_does_not_grow_with_the_transcripts(job: Job) -> None:
    texts = [os.urandom(50_000).hex() for _ in range(4)]  # what cannot be made much smaller

    def many(count: int) -> Iterator[Job]:
        for n in range(count):
            yield called(job, f"{n}")

    def peak(count: int) -> int:
        size = 0
        tracemalloc.start()
        for block in archive(many(count), lambda job: texts[int(job.id) % 4], lambda job: f"{job.id}.srt"):
            size += len(block)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > count * 45_000
        return highest

    few, more = peak(10), peak(200)
    assert more - few < 1_000_000, "and nearly 10 MB more went through"
