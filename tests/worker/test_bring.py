"""Files that jobs fetch for themselves: from good servers and bad ones, out of a bucket, out of parts; once."""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from uuid_utils import uuid7

from core.errors import DiskFull, StorageUnavailable
from core.jobs.job import Job, JobStatus, NewJob, Phase, Source
from core.jobs.origin import Origin, OriginKind
from core.jobs.params import JobParams
from core.objects.memory import MemoryObjects
from core.objects.s3 import S3Objects
from core.objects.store import source_key
from core.outbound.client import Outbound, Rules
from core.outbound.resolver import ScriptedResolver
from core.submission.origins import Origins
from core.submission.retry import retry
from scripts.servers import Minio
from tests.core.strange_server import BODY, StrangeServer, strange_server
from tests.worker.kit import Kit, talk

HERE = ["127.0.0.1"]


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return talk(tmp_path_factory.mktemp("talk"), minutes=1.5)


@pytest.fixture(scope="module")
def server(audio: bytes) -> Iterator[StrangeServer]:
    with strange_server() as one:
        one.body = audio
        yield one


class Fetching(Kit):
    """A consumer that fetches from files.test, which is this machine."""

    def __init__(
        self, folder: Path, names: Mapping[str, Sequence[Sequence[str]]] | None = None, **rules: object
    ) -> None:
        super().__init__(folder)
        usual = {"allow_private": True, "redirects": 3, "max_bytes": 4 << 20, "read_seconds": 0.5, "total_seconds": 5.0}
        resolver = ScriptedResolver({"files.test": [HERE], **(names or {})})
        self.web = Outbound(Rules(**usual | rules), resolver=resolver)  # type: ignore[arg-type]
        self.use(Origins(web=self.web, objects=self.objects, upload_parts=self.store.upload_parts))

    def use(self, origins: Origins) -> None:
        self.parts = replace(self.parts, origins=origins)

    def name(self, kind: OriginKind, name: str, *, max_bytes: int = 4 << 20, size: int = 0) -> Job:
        job_id = str(uuid7())
        origin = Origin(kind=kind, name=name, max_bytes=max_bytes)
        source = Source(
            filename="talk.wav", bytes=size, media_type="", sha256="", key=source_key(job_id), origin=origin
        )
        return self.store.create(NewJob(id=job_id, source=source, params=JobParams(model="demo")))

    def failure(self, job: Job) -> str:
        error = self.job(job).error
        assert error is not None and error.stage == Phase.FETCHING
        assert list(self.objects.keys("jobs/")) == [], "what failed has left nothing"
        return error.code


def seen(server: StrangeServer, path: str) -> int:
    return sum(asked == path for asked, _, _ in server.requests)


def test_a_file_is_fetched_once_and_known_by_its_bytes(tmp_path: Path, server: StrangeServer, audio: bytes) -> None:
    kit = Fetching(tmp_path)
    job = kit.name(OriginKind.URL, server.url("/file?once"))
    assert kit.run() == "completed"
    done = kit.job(job)
    assert done.source.origin is None, "the address is forgotten"
    assert (done.source.bytes, done.source.media_type) == (len(audio), "audio/wav")
    assert done.source.sha256 == hashlib.sha256(audio).hexdigest() and done.source.filename == "talk.wav"
    with kit.objects.open(done.source.key) as stored:
        assert stored.read() == audio
    uploaded = kit.submit(audio)
    assert kit.run() == "completed"
    assert kit.result(job)["segments"] == kit.result(uploaded)["segments"]
    assert kit.job(uploaded).plan_hash == done.plan_hash
    assert seen(server, "/file?once") == 1


def test_an_interrupted_job_and_its_retry_do_not_fetch_again(tmp_path: Path, server: StrangeServer) -> None:
    kit = Fetching(tmp_path)
    kit.script(delay=0.3)  # so that it is still at work when it is stopped
    job = kit.name(OriginKind.URL, server.url("/file?resumed"))
    assert kit.run_until(job, 1) == "handed back"
    assert kit.run() == "completed" and seen(server, "/file?resumed") == 1
    other = kit.name(OriginKind.URL, server.url("/file?retried"))
    kit.parts = replace(kit.parts, settings=replace(kit.parts.settings, max_audio_seconds=1))
    assert kit.run() == "failed audio_too_long"
    kit.parts = replace(kit.parts, settings=replace(kit.parts.settings, max_audio_seconds=3600))
    again = retry(kit.store, other.id, everything=False)
    assert again.source.origin is None and kit.run() == "completed"
    assert seen(server, "/file?retried") == 1


class Breaking(MemoryObjects):
    """Fails after so many bytes, as often as told."""

    left = 0

    def put(self, key, data, *, media_type="application/octet-stream"):
        if key.startswith("jobs/") and "source" in key and self.left:
            self.left -= 1
            data.read(100_000)
            raise StorageUnavailable
        return super().put(key, data, media_type=media_type)


def test_a_fetch_that_our_side_breaks_off_begins_again(tmp_path: Path, server: StrangeServer, audio: bytes) -> None:
    kit = Fetching(tmp_path)
    kit.objects = Breaking()
    kit.objects.left = 2
    kit.parts = replace(kit.parts, objects=kit.objects)
    job = kit.name(OriginKind.URL, server.url("/file?broken"))
    assert kit.run() == "completed" and seen(server, "/file?broken") == 3
    assert kit.job(job).source.bytes == len(audio) and kit.job(job).attempts == 1


def test_a_new_owner_begins_again_under_a_key_of_its_own(tmp_path: Path, server: StrangeServer) -> None:
    kit = Fetching(tmp_path)
    job = kit.name(OriginKind.URL, server.url("/file?again"))
    claim = kit.store.claim(owner="dead", consumer="gone", lease_seconds=30)
    assert claim is not None
    kit.objects.put(f"jobs/{job.id}/source.1", io.BytesIO(b"RIFF of one that died before it could say so"))
    kit.store.free_owner("dead")
    assert kit.run() == "completed"
    assert kit.job(job).source.key == f"jobs/{job.id}/source.2"


@pytest.mark.parametrize(
    ("path", "code", "asked"),
    [
        ("/endless", "not_media", 1),
        ("/declared", "too_large", 1),
        ("/status/404", "url_unreachable", 1),
        ("/status/403", "url_unreachable", 1),
        ("/status/503", "url_unreachable", 3),
        ("/nonsense", "url_unreachable", 3),
        ("/packed", "url_unreachable", 3),
        ("/silent", "url_unreachable", 3),
        ("/loop", "url_refused", 4),
        ("/to/" + quote("http://127.0.0.1:1/", safe=""), "url_unreachable", 3),
        ("/to/" + quote("http://metadata.test/", safe=""), "url_refused", 1),
        ("/to/" + quote("file:///etc/passwd", safe=""), "url_refused", 1),
    ],
)
def test_bad_servers_end_the_job_with_a_code(
    tmp_path: Path, server: StrangeServer, path: str, code: str, asked: int
) -> None:
    kit = Fetching(tmp_path, {"metadata.test": [["169.254.169.254"]], "127.0.0.1": [HERE]})
    before = len(server.requests)
    job = kit.name(OriginKind.URL, server.url(path))
    assert kit.run() == f"failed {code}" and kit.failure(job) == code
    assert len(server.requests) - before == asked
    assert kit.job(job).source.origin is not None, "a retry has somewhere to go"


def test_bodies_that_lie_dawdle_or_do_not_end(tmp_path: Path, server: StrangeServer, audio: bytes) -> None:
    kit = Fetching(tmp_path, total_seconds=0.6)
    head = audio[: 80 * 1024]
    try:
        for path, body, code in (
            ("/short", head, "url_unreachable"),
            ("/slow", head, "url_unreachable"),
            ("/endless", head, "too_large"),
        ):
            server.lead = body  # what makes it look like a recording
            job = kit.name(OriginKind.URL, server.url(path), max_bytes=1 << 20)
            assert kit.run() == f"failed {code}", path
            assert kit.failure(job) == code
    finally:
        server.lead = b""


def test_names_that_lead_home(tmp_path: Path, server: StrangeServer) -> None:
    kit = Fetching(
        tmp_path,
        {"inside.test": [["10.0.0.5"]], "moves.test": [["8.8.8.8", "127.0.0.1"]], "localhost": [HERE]},
        allow_private=False,
    )
    before = len(server.requests)
    for host in ("inside.test", "moves.test", "localhost", "files.test"):
        job = kit.name(OriginKind.URL, server.url("/file", host))
        assert kit.run() == "failed url_refused" and kit.failure(job) == "url_refused"
    assert len(server.requests) == before, "nothing was asked"


def test_a_name_that_moves_between_two_hops(tmp_path: Path, server: StrangeServer) -> None:
    kit = Fetching(tmp_path, {"moves.test": [HERE, ["169.254.169.254"]]})
    job = kit.name(OriginKind.URL, server.url("/to/%2Ffile", "moves.test"))
    assert kit.run() == "failed url_refused" and kit.failure(job) == "url_refused"


def test_what_is_fetched_is_looked_at_and_measured(tmp_path: Path, server: StrangeServer, audio: bytes) -> None:
    kit = Fetching(tmp_path)
    job = kit.name(OriginKind.URL, server.url("/file"), max_bytes=len(audio) - 1)
    assert kit.run() == "failed too_large" and kit.failure(job) == "too_large"
    try:
        for body, code in ((b"", "empty_upload"), (b"%PDF-1.7 " + BODY, "not_media")):
            server.body = body
            job = kit.name(OriginKind.URL, server.url("/file"))
            assert kit.run() == f"failed {code}" and kit.failure(job) == code
    finally:
        server.body = audio


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, server: StrangeServer) -> None:
    kit = Fetching(tmp_path)

    def full() -> None:
        raise DiskFull

    kit.parts = replace(kit.parts, check_disk=full)
    job = kit.name(OriginKind.URL, server.url("/file"))
    assert kit.run() == "failed disk_full" and kit.failure(job) == "disk_full"


@pytest.mark.parametrize("how", ["shutdown", "cancel"])
def test_a_fetch_ends_when_it_is_told_to(tmp_path: Path, how: str) -> None:
    with strange_server() as server:
        kit = Fetching(tmp_path, read_seconds=60.0, total_seconds=60.0)
        job = kit.name(OriginKind.URL, server.url("/silent"))

        def when_asked() -> None:
            server.reached.wait(10)
            if how == "shutdown":
                kit.stop.set()
            else:
                kit.cancel(job)

        thread = threading.Thread(target=when_asked, daemon=True)
        thread.start()
        assert kit.run() == ("handed back" if how == "shutdown" else "cancelled")
        thread.join(10)
        assert kit.job(job).status is (JobStatus.QUEUED if how == "shutdown" else JobStatus.CANCELLED)


def test_where_it_is_no_longer_wanted(tmp_path: Path) -> None:
    kit = Fetching(tmp_path)
    kit.use(Origins(objects=kit.objects))
    for kind in (OriginKind.URL, OriginKind.OBJECT):
        job = kit.name(kind, "http://files.test/a")
        assert kit.run() == "failed unsupported" and kit.failure(job) == "unsupported"


def test_an_object_of_the_bucket(tmp_path: Path, audio: bytes) -> None:
    kit, bucket = Fetching(tmp_path), MemoryObjects()
    bucket.put("talks/one.wav", io.BytesIO(audio))
    kit.use(Origins(bucket=bucket.open, objects=kit.objects))
    job = kit.name(OriginKind.OBJECT, "talks/one.wav")
    assert kit.run() == "completed"
    assert kit.job(job).source.sha256 == hashlib.sha256(audio).hexdigest()
    assert list(bucket.keys("")) == ["talks/one.wav"], "it is copied, not taken"
    missing = kit.name(OriginKind.OBJECT, "talks/two.wav")
    assert kit.run() == "failed object_missing"
    error = kit.job(missing).error
    assert error is not None and error.code == "object_missing"


def test_the_bucket_is_one_of_the_same_store(minio: Minio) -> None:
    mine, theirs = (f"test-{secrets.token_hex(6)}" for _ in range(2))
    ours, other = (
        S3Objects(endpoint=minio.url, access_key=minio.access_key, secret_key=minio.secret_key, bucket=bucket)
        for bucket in (mine, theirs)
    )
    ours.put("jobs/1/source", io.BytesIO(b"secret"))
    other.ensure_bucket()
    name = "2026/März/talk 1 & 2+.wav"
    client = other._client
    client.put_object(theirs, name, io.BytesIO(b"RIFF"), 4)
    with ours.open_in(theirs, name) as data:
        assert data.read() == b"RIFF"
    for missing in ("none", "2026"):
        with pytest.raises(KeyError):
            ours.open_in(theirs, missing)
    with pytest.raises(KeyError):
        ours.open_in(f"test-{secrets.token_hex(6)}", name)


def test_an_upload_in_parts(tmp_path: Path, audio: bytes) -> None:
    from core.jobs.uploads import NewUpload

    kit = Fetching(tmp_path)
    uploads = kit.store.uploads_of(None)
    new = NewUpload(id=str(uuid7()), filename="talk.wav", length=len(audio), options={})
    begun = uploads.begin_upload(new, most=9)
    lease, at = uploads.take_upload(begun.id, offset=0, lease_seconds=9), 0
    for size in (10, 100_000, len(audio) - 100_010):
        kit.objects.put(f"uploads/{begun.id}/{at}.1", io.BytesIO(audio[at : at + size]))
        lease, at = uploads.append(lease, f"uploads/{begun.id}/{at}.1", size, media_type="audio/wav"), at + size
    job = kit.name(OriginKind.UPLOAD, begun.id, max_bytes=len(audio), size=len(audio))
    assert kit.run() == "completed"
    assert kit.job(job).source.sha256 == hashlib.sha256(audio).hexdigest()
    kit.objects.delete(f"uploads/{begun.id}/10.1")
    broken = kit.name(OriginKind.UPLOAD, begun.id, max_bytes=len(audio), size=len(audio))
    assert kit.run() == "failed source_missing" and kit.job(broken).source.origin is not None
    short = kit.name(OriginKind.UPLOAD, str(uuid7()), max_bytes=5, size=5)
    assert kit.run() == "failed empty_upload" and kit.job(short).status is JobStatus.FAILED
