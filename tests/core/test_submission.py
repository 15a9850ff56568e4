"""A file becomes a job without any HTTP: the same rules, and nothing is left of what is refused."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from core.errors import (
    AlreadyTerminal,
    EmptyUpload,
    InsufficientStorage,
    NotAvailable,
    NotMedia,
    NotReady,
    QueueFull,
    RequestError,
    ServiceError,
    TaskNotSupported,
    TooLarge,
    UnknownModel,
    Unsupported,
    UrlRefused,
    ValidationFailed,
)
from core.jobs.consumers import ConsumerInfo, enhancements
from core.jobs.job import Job
from core.jobs.params import JobParams
from core.jobs.turns import BULK, INTERACTIVE, NORMAL
from core.objects.memory import MemoryObjects
from core.store.sql import SqlStore
from core.submission.checks import fingerprint
from core.submission.intake import Intake, Limits
from core.submission.retry import retry
from tests.api.serving import BUNDLED, wav
from tests.core.store_kit import take
from whisper.models.store import ModelStore


@pytest.fixture
def jobs() -> Iterator[SqlStore]:
    store = SqlStore.in_memory()
    yield store
    store.close()


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


def intake(objects: MemoryObjects, folder: Path, **rules: Any) -> Intake:
    models = ModelStore(folder, BUNDLED)
    return Intake(**{"objects": objects, "models": models, "default_model": "base", "probe": lambda _: None} | rules)


def test_a_file_becomes_a_job(jobs: SqlStore, objects: MemoryObjects, tmp_path: Path) -> None:
    taking, content = intake(objects, tmp_path), wav(200_000)
    job_id, source = taking.store("talk.wav", io.BytesIO(content))
    job = taking.accept(jobs, job_id, source, {"language": "en-US", "temperature": 0.2})
    assert (job.id, job.params.model, job.params.language, job.params.temperature) == (job_id, "base", "en", 0.2)
    assert (source.bytes, source.media_type) == (200_000, "audio/wav")
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert [warning["code"] for warning in job.warnings] == ["language_mapped"]
    with objects.open(source.key) as stored:
        assert stored.read() == content
    assert jobs.get(job_id) == job


class Trickle(io.RawIOBase):
    """A source that cannot seek and breaks off."""

    def __init__(self, content: bytes, ends: BaseException | None) -> None:
        self.inner, self.ends = io.BytesIO(content), ends

    def read(self, size: int = -1) -> bytes:
        data = self.inner.read(size)
        if not data and self.ends:
            raise self.ends
        return data


def test_what_cannot_seek_is_taken_too_and_leaves_nothing_when_it_breaks(
    objects: MemoryObjects, tmp_path: Path
) -> None:
    taking = intake(objects, tmp_path)
    broken: BinaryIO = Trickle(wav(100_000), OSError("gone"))  # type: ignore[assignment]
    with pytest.raises(OSError, match="gone"):
        taking.store("talk.wav", broken)
    assert not list(objects.keys(""))
    whole: BinaryIO = Trickle(wav(100_000), None)  # type: ignore[assignment]
    assert taking.store("talk.wav", whole)[1].bytes == 100_000


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", EmptyUpload), (b"%PDF-1.7" + bytes(5000), NotMedia), (wav(1001), TooLarge), (wav(300_000), TooLarge)],
)
def test_a_file_that_is_not_taken_leaves_nothing(
    objects: MemoryObjects, tmp_path: Path, content: bytes, error: type[ServiceError]
) -> None:
    with pytest.raises(error):
        intake(objects, tmp_path, limits=Limits(max_bytes=1000)).store("talk.wav", io.BytesIO(content))
    assert not list(objects.keys(""))


class Knows:
    """Translates from German to French."""

    names = ("ctranslate2", "whisper")

    def can(self, source: str | None, target: str, *, spoken: bool) -> bool:
        return (source in (None, "de") and target == "fr") or (spoken and target == "en" and source != "en")

    def offers(self) -> list[tuple[str, None]]:
        return [(name, None) for name in self.names]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"translate_to": "fr"}, None),
        ({"translate_to": "fr-CA", "language": "de"}, None),
        ({"translate_to": "en", "language": "de"}, None),
        ({"translate_to": "fr", "language": "en"}, "from english to french: ctranslate2 cannot"),
        ({"translate_to": "es"}, "translates to spanish"),
        ({"translate_to": "en", "language": "de", "model": "large-v3-turbo"}, "from german to english"),
        ({"translate_to": "en", "model": "base.en"}, "to english"),
    ],
)
def test_what_nobody_translates_is_refused(
    objects: MemoryObjects, tmp_path: Path, given: dict[str, Any], message: str | None
) -> None:
    taking = intake(objects, tmp_path, translations=Knows())
    if message is None:
        assert taking.check(given).translate_to in ("fr", "en")
    else:
        with pytest.raises(NotAvailable, match=message):
            taking.check(given)
    usual = intake(objects, tmp_path, translations=Knows(), defaults=given)
    assert usual.check({}).translate_to, "a default that cannot be had costs a warning"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"colour": "red"}, ValidationFailed),
        ({"beam_size": 9}, ValidationFailed),
        ({"model": "enormous"}, UnknownModel),
        ({"model": "base.en", "task": "translate"}, TaskNotSupported),
    ],
)
def test_a_refused_job_takes_its_file_along(
    jobs: SqlStore, objects: MemoryObjects, tmp_path: Path, given: dict[str, Any], error: type[ServiceError]
) -> None:
    taking = intake(objects, tmp_path)
    stored = taking.store("talk.wav", io.BytesIO(wav()))
    with pytest.raises(error):
        taking.accept(jobs, *stored, given)
    assert not list(objects.keys(""))
    assert not any(jobs.counts().values())


def test_the_key_of_a_request_gets_its_job_and_fingerprint(
    jobs: SqlStore, objects: MemoryObjects, tmp_path: Path
) -> None:
    taking = intake(objects, tmp_path)
    assert jobs.reserve("k", lease_seconds=60) is None
    job = taking.accept(jobs, *taking.store("talk.wav", io.BytesIO(wav())), {"language": "de"}, key="k")
    assert jobs.reserve("k", lease_seconds=60) == job.id
    assert jobs.fingerprint("k") == fingerprint(job.source.sha256, taking.check({"language": "German"}))


def test_a_full_house(jobs: SqlStore, objects: MemoryObjects, tmp_path: Path) -> None:
    taking = intake(objects, tmp_path, limits=Limits(max_queued=1, min_free=100), free_bytes=lambda: 1000)

    def waiting(at_most: int) -> int:
        return jobs.waiting(at_most=at_most)

    taking.check_room(waiting, 900)
    with pytest.raises(InsufficientStorage):
        taking.check_room(waiting, 901)
    taking.accept(jobs, *taking.store("talk.wav", io.BytesIO(wav())), {})
    with pytest.raises(QueueFull):
        taking.check_room(waiting)


def test_what_is_known_before_the_file_is_checked_before_it(objects: MemoryObjects, tmp_path: Path) -> None:
    taking = intake(objects, tmp_path, default_model="base.en")
    taking.check_some({"language": "de"})  # the model may still come
    with pytest.raises(ValidationFailed, match="knows English only"):
        taking.check_some({"language": "de", "model": "tiny.en"})


def test_this_installation_s_defaults_come_before_the_table_s_and_after_what_is_asked(
    jobs: SqlStore, objects: MemoryObjects, tmp_path: Path
) -> None:
    defaults = {"language": "de", "word_timestamps": True, "priority": "bulk", "workers": 2}
    taking = intake(objects, tmp_path, defaults=defaults)

    def made(given: dict[str, Any], **more: Any) -> Job:
        job_id, source = taking.store("talk.wav", io.BytesIO(wav(20_000)))
        return taking.accept(jobs, job_id, source, given, **more)

    job = made({})
    assert {name: job.params.shown()[name] for name in defaults} == defaults and job.priority == BULK
    asked = made({"language": "auto", "word_timestamps": "no", "priority": "normal", "workers": " "})
    assert (asked.params.language, asked.params.word_timestamps, asked.params.workers) == (None, False, 2)
    assert (asked.priority, made({"priority": "interactive"}).priority) == (NORMAL, INTERACTIVE)
    waited_for = made({}, priority=INTERACTIVE)
    assert (waited_for.priority, waited_for.params.priority) == (INTERACTIVE, "interactive"), "and it says so"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"num_speakers": 2}, ["num_speakers"]),
        ({"diarize": "no", "min_speakers": 2, "max_speakers": 3}, ["min_speakers", "max_speakers"]),
        ({"diarize": "yes", "num_speakers": 2, "max_speakers": 3}, ["max_speakers"]),
        ({"diarize": "yes", "min_speakers": 4, "max_speakers": 3}, ["min_speakers"]),
        ({"diarize": "yes", "num_speakers": 21}, ["num_speakers"]),
        ({"diarize": "yes", "max_speakers": 0}, ["max_speakers"]),
        ({"diarize": "yes", "min_speakers": 3, "max_speakers": 3}, []),
        ({"diarize": "yes", "num_speakers": 1}, []),
        ({"diarize": "yes", "align": "yes", "task": "translate"}, ["align"]),
        ({"diarize": "yes", "align": "no", "task": "translate"}, []),
    ],
)
def test_what_contradicts_itself_is_refused(
    objects: MemoryObjects, tmp_path: Path, given: dict[str, Any], wrong: list[str]
) -> None:
    for defaults in ({}, {"diarize": True, "max_speakers": 5}):
        taking = intake(objects, tmp_path, defaults=defaults)
        if not wrong:
            assert taking.check(given).diarize
            continue
        if defaults and "diarize" not in given:
            continue
        with pytest.raises(ValidationFailed) as refused:
            taking.check(given)
        assert [error["field"] for error in refused.value.details["errors"]] == wrong
    usual = intake(objects, tmp_path, defaults={"diarize": True, "max_speakers": 5, "align": True})
    assert usual.check({"task": "translate"}).align
    assert not usual.check({"diarize": "no"}).diarize, "what is usual here is no fault of whoever asks"
    assert usual.check({"num_speakers": 7}).num_speakers == 7
    two = intake(objects, tmp_path, defaults={"diarize": True, "num_speakers": 2})
    assert two.check({}).num_speakers == 2
    found = two.check({"min_speakers": 3})
    assert (found.num_speakers, found.min_speakers) == (None, 3), "else the usual number would win silently"


@pytest.mark.parametrize(
    ("there", "given", "code"),
    [
        ({"denoise"}, {"enhance": "denoise", "enhance_for": "both"}, None),
        (None, {"enhance": "denoise"}, None),  # no consumer has said anything yet
        (set(), {"enhance": "denoise"}, "not_available"),
        (set(), {"enhance": "none"}, None),
        (set(), {}, None),
        ({"denoise"}, {"enhance": "vocals"}, "not_available"),
        (None, {"enhance": "vocals"}, "not_available"),
        ({"denoise"}, {"enhance_for": "speakers"}, "validation"),
        ({"denoise"}, {"enhance": "none", "enhance_for": "all"}, "validation"),
        ({"denoise"}, {"enhance": "loud"}, "validation"),
        ({"denoise"}, {"enhance": "denoise", "channels": "split"}, "validation"),
    ],
)
def test_cleaning_that_nobody_can_do_is_refused(
    objects: MemoryObjects, tmp_path: Path, there: set[str] | None, given: dict[str, Any], code: str | None
) -> None:
    taking = intake(objects, tmp_path, enhancements=lambda: there)
    if code is None:
        assert taking.check(given).enhance == given.get("enhance", "none")
        return
    with pytest.raises(RequestError) as refused:
        taking.check(given)
    assert refused.value.code == code
    if code == "not_available" and given["enhance"] == "denoise":
        assert "parascribe[enhance]" in refused.value.message, "it says what to install"


def test_an_installation_that_usually_cleans_loses_no_job_over_it(objects: MemoryObjects, tmp_path: Path) -> None:
    taking = intake(objects, tmp_path, defaults={"enhance": "denoise"}, enhancements=set)
    assert taking.check({}).enhance == "denoise", "its consumer says that it did not: enhance_failed"
    assert taking.check({"enhance_for": "speakers"}).enhance_for == "speakers"
    split = taking.check({"channels": "split"})
    assert (split.channels, split.enhance) == ("split", "none"), "what is asked for goes before a default"
    taking = intake(objects, tmp_path, defaults={"channels": "split"}, enhancements=lambda: {"denoise"})
    assert taking.check({"enhance": "denoise"}).channels == "mix"


def test_what_consumers_can_do_is_what_one_of_them_can() -> None:
    able, unable, older = ConsumerInfo(enhance=["denoise"]), ConsumerInfo(enhance=[]), ConsumerInfo()
    assert enhancements([]) is None and enhancements([older]) is None
    assert enhancements([unable, older]) == frozenset() and enhancements([unable, able]) == {"denoise"}
    assert ConsumerInfo.from_dict(able.to_dict()) == able


def test_a_retry_has_the_same_file_and_options(jobs: SqlStore, objects: MemoryObjects, tmp_path: Path) -> None:
    taking = intake(objects, tmp_path)
    first = taking.accept(jobs, *taking.store("talk.wav", io.BytesIO(wav())), {"prompt": "Müller"})
    with pytest.raises(NotReady):
        retry(jobs, first.id, everything=False)
    jobs.request_cancel(first.id)
    again = retry(jobs, first.id, everything=True)
    assert (again.source, again.params, again.retry_of, again.retry_all) == (first.source, first.params, first.id, True)
    jobs.finish(take(jobs), result_key="r", partial=False, gaps=[], warnings=[], performance={})
    with pytest.raises(AlreadyTerminal):
        retry(jobs, again.id, everything=False)


def test_a_callback_url_needs_somebody_who_sends(jobs: SqlStore, objects: MemoryObjects, tmp_path: Path) -> None:
    asked = {"callback_url": "https://a.test/", "metadata": {"a": 1}}
    for check_url, error in ((None, Unsupported), (_refuse, UrlRefused)):
        taking = intake(objects, tmp_path, check_url=check_url)
        job_id, source = taking.store("talk.wav", io.BytesIO(wav()))
        with pytest.raises(error):
            taking.accept(jobs, job_id, source, asked)
    assert not list(objects.keys("")) and jobs.counts()["queued"] == 0
    taking = intake(objects, tmp_path, check_url=lambda url: None)
    params = taking.accept(jobs, *taking.store("talk.wav", io.BytesIO(wav())), asked).params
    assert (params.callback_url, params.metadata) == ("https://a.test/", {"a": 1})
    assert params.heard() == JobParams(model="base").to_dict(), "no transcript depends on them"


def _refuse(url: str) -> None:
    raise UrlRefused
