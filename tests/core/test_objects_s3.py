"""What only the S3 store can do wrong: servers that die, freeze, fill up or refuse; forks; unfinished uploads."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from minio import MinioAdmin
from minio import time as s3_time
from minio.credentials.providers import StaticProvider

from core.errors import DiskFull, StorageUnavailable
from core.jobs.job import Source
from core.objects.s3 import S3Objects
from scripts.servers import Minio
from tests.core.test_objects import MIB, Stream, read, s3_objects, stream
from tests.skipping import skip_on_a_laptop
from worker.stages.source import fetch


@pytest.fixture(scope="module")
def own_server() -> Iterator[Minio]:
    server = Minio()
    if not server.owned:
        server.close()
        skip_on_a_laptop("a foreign server is not ours to kill")
    with server:
        yield server


@pytest.fixture
def own(own_server: Minio) -> Minio:
    """A server that the test may kill; it runs again for the next one."""
    return own_server.start()


def test_a_dead_server_is_reported_soon_and_used_again_when_it_is_back(own: Minio) -> None:
    store = s3_objects(own)
    store.put("a", io.BytesIO(b"kept"))
    own.kill()
    started = time.monotonic()
    uses = (
        store.ping,
        store.ensure_bucket,
        lambda: store.open("a"),
        lambda: store.put("a", io.BytesIO(b"x")),
        lambda: store.delete("a"),
        lambda: list(store.keys("")),
        lambda: store.abort_stale(0),
    )
    for use in uses:
        with pytest.raises(StorageUnavailable):
            use()
    assert time.monotonic() - started < 2 * len(uses)
    own.start()
    assert read(store, "a") == b"kept"


def test_a_frozen_server_is_given_up_after_the_timeout(own: Minio) -> None:
    ready = s3_objects(own, "test-frozen")
    store = S3Objects(
        endpoint=own.url, access_key=own.access_key, secret_key=own.secret_key, bucket="test-frozen", timeout=0.4
    )
    own.pause()
    try:
        started = time.monotonic()
        with pytest.raises(StorageUnavailable):
            store.ping()
        assert 0.3 < time.monotonic() - started < 10
    finally:
        own.resume()
    ready.ping()


def test_a_server_that_dies_during_an_upload_leaves_no_object(own: Minio) -> None:
    class Killer(Stream):
        def read(self, size: int = -1) -> bytes:
            if self.position > 40 * MIB and own.running:
                own.kill()
            return super().read(size)

    store = s3_objects(own)
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        store.put("a", Killer(80 * MIB))  # type: ignore[arg-type]
    assert time.monotonic() - started < 15
    own.start()
    assert list(store.keys("")) == []


def test_the_readers_error_comes_through_even_when_the_upload_cannot_be_aborted(own: Minio) -> None:
    class Gone(Exception):
        pass

    class Killer(Stream):
        def read(self, size: int = -1) -> bytes:
            if self.position > 40 * MIB:
                own.kill()
                raise Gone
            return super().read(size)

    with pytest.raises(Gone):
        s3_objects(own).put("a", Killer(80 * MIB))  # type: ignore[arg-type]


def test_a_download_cut_short_is_an_error_not_a_short_file(own: Minio) -> None:
    store = s3_objects(own)
    store.put("a", stream(64 * MIB)[1])
    with store.open("a") as file:
        assert len(file.read(MIB)) == MIB
        own.kill()
        with pytest.raises(StorageUnavailable):
            file.read()


def test_a_server_that_asks_for_a_minute_of_patience_gets_an_error_at_once() -> None:
    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Retry-After", "60")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = S3Objects(
            endpoint=f"127.0.0.1:{server.server_port}", access_key="k", secret_key="secret-key", bucket="test"
        )
        started = time.monotonic()
        with pytest.raises(StorageUnavailable, match="503"):
            store.ping()
        server.shutdown()
    assert time.monotonic() - started < 5


def test_a_404_without_a_body_is_not_a_missing_object() -> None:
    """What a proxy answers while it does not know its store."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = b"<LocationConstraint/>" if "location" in self.path else b""
            self.send_response(404 if "/test/" in self.path else 200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    source = Source(filename="a.wav", bytes=1, media_type="audio/wav", sha256="0" * 64, key="jobs/j/source")
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = S3Objects(
            endpoint=f"127.0.0.1:{server.server_port}", access_key="k", secret_key="secret-key", bucket="test"
        )
        with pytest.raises(StorageUnavailable):
            fetch(store, source, Path("/nowhere"), threading.Event())
        server.shutdown()


def test_folders_that_a_console_made_are_no_keys(minio: Minio) -> None:
    store = s3_objects(minio)
    store.put("jobs/j/source", io.BytesIO(b"x"))
    for name in ("jobs/j/more/", "jobs/j/my notes"):
        store._client.put_object(store._bucket, name, io.BytesIO(), 0)
    assert list(store.keys("")) == ["jobs/j/source"]


def test_unfinished_uploads_are_aborted_by_age(minio: Minio) -> None:
    store = s3_objects(minio)
    for key in ("jobs/a/source", "jobs/b/source"):
        store._client._create_multipart_upload(store._bucket, key, {})
    assert store.abort_stale(older_than=60) == 0
    assert store.abort_stale(older_than=-1) == 2
    assert store.abort_stale(older_than=-1) == 0


def test_a_full_store_is_disk_full(minio: Minio) -> None:
    store = s3_objects(minio)
    admin = MinioAdmin(
        endpoint=minio.endpoint, credentials=StaticProvider(minio.access_key, minio.secret_key), secure=False
    )
    admin.bucket_quota_set(store._bucket, 1 * MIB)
    with pytest.raises(DiskFull):
        store.put("a", io.BytesIO(bytes(2 * MIB)))
    assert list(store.keys("")) == []


def test_wrong_keys_are_named_without_secrets(minio: Minio) -> None:
    made = s3_objects(minio)
    wrong = S3Objects(endpoint=minio.url, access_key=minio.access_key, secret_key="wrong-secret", bucket=made._bucket)
    with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch|AccessDenied") as caught:
        wrong.ping()
    assert "wrong-secret" not in str(caught.value)


def test_the_bucket_is_made_on_first_need_whatever_that_is(minio: Minio) -> None:
    def fresh(name: str) -> S3Objects:
        return S3Objects(
            endpoint=minio.url, access_key=minio.access_key, secret_key=minio.secret_key, bucket=f"test-{name}"
        )

    fresh("need-ping").ping()
    assert list(fresh("need-keys").keys("")) == []
    assert fresh("need-put").put("a", io.BytesIO(b"x")) == 1
    with pytest.raises(KeyError):
        fresh("need-open").open("a")


def test_many_may_make_the_bucket_at_once(minio: Minio) -> None:
    def make(_: int) -> None:
        s3_objects(minio, "test-made-by-many")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))


def test_the_endpoint_may_be_an_address_with_a_scheme(minio: Minio) -> None:
    bare = S3Objects(
        endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key, bucket="test-bare"
    )
    bare.ensure_bucket()
    bare.ping()
    over_tls = S3Objects(
        endpoint=f"https://{minio.endpoint}", access_key="k", secret_key="secret-key", bucket="test-bare"
    )
    with pytest.raises(StorageUnavailable):
        over_tls.ping()  # this server speaks no TLS: the scheme was heeded
    for bad in ("ftp://host", "http://host/path", "http://"):
        with pytest.raises(ValueError, match="not an object store's address"):
            S3Objects(endpoint=bad, access_key="k", secret_key="secret-key", bucket="test")


def test_a_forked_child_has_connections_of_its_own(minio: Minio) -> None:
    def connections() -> set[int]:
        """Our ends of the open connections to the server."""
        port = int(minio.endpoint.rpartition(":")[2])
        found = psutil.Process().net_connections()
        return {c.laddr.port for c in found if c.raddr and c.raddr.port == port and c.status == "ESTABLISHED"}

    store = s3_objects(minio)
    store.put("a", io.BytesIO(b"content"))
    before = connections()  # idle in the parent's pool, and open in the child too
    assert before
    pid = os.fork()
    if pid == 0:
        good = False
        try:
            good = read(store, "a") == b"content" and len(connections() - before) == 1
        finally:
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert read(store, "a") == b"content"
    assert connections() <= before


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """So many seconds are added to the time of day that the S3 client signs with."""
    right = s3_time.utcnow

    def shift(seconds: float) -> None:
        monkeypatch.setattr(s3_time, "utcnow", lambda: right() + timedelta(seconds=seconds))

    yield shift


@pytest.mark.parametrize("hours", [1, -1, 50])
def test_a_wrong_clock_and_one_that_is_set_right_change_nothing(
    minio: Minio, wrong_clock: Callable[[float], None], caplog: pytest.LogCaptureFixture, hours: int
) -> None:
    caplog.set_level(logging.INFO, "core.objects.s3_clock")
    store = s3_objects(minio)
    for seconds in (
        3600 * hours,
        0,
        -3600 * hours,
    ):  # jumps in the middle of a process's life, the last one across both
        wrong_clock(seconds)
        for size in (15 * MIB, 20 * MIB):  # the first request sends a body as large as they come; then several parts
            sent, file = stream(size)
            assert store.put("a", file) == size
            with store.open("a") as back:
                assert hashlib.file_digest(back, "sha256").digest() == sent.sha256.digest()
        assert store.local_path("a") is None
        assert list(store.keys("", older_than=600)) == [], "age is counted by the store's clock"
        store._client._create_multipart_upload(store._bucket, "b", {})
        assert (store.abort_stale(600), store.abort_stale(-1)) == (0, 1)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in said] == ["WARNING", "INFO", "WARNING"], said
    for _, message in said[::2]:
        assert abs(int(message.split(" are ")[1].split()[0]) - abs(3600 * hours)) < 60


def test_a_wrong_clock_is_learned_in_many_threads_at_once(
    minio: Minio, wrong_clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = s3_objects(minio)
    store.put("a", io.BytesIO(b"content"))
    wrong_clock(7200)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: read(store, "a"), range(32))) == {b"content"}
    assert len(caplog.records) == 1


def test_a_wrong_clock_hides_no_other_refusal(
    minio: Minio, wrong_clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    wrong = S3Objects(endpoint=minio.url, access_key=minio.access_key, secret_key="wrong-secret", bucket="test-wrong")
    wrong_clock(3600)
    with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch|AccessDenied"):
        wrong.ping()
    assert not caplog.records, "what did not help is not remembered"


def test_a_refusal_that_does_not_say_the_time_is_final(wrong_clock: Callable[[float], None]) -> None:
    asked = []

    class Timeless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            said = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
            self.send_response_only(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    wrong_clock(3600)
    with ThreadingHTTPServer(("127.0.0.1", 0), Timeless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = S3Objects(
            endpoint=f"127.0.0.1:{server.server_port}", access_key="k", secret_key="secret-key", bucket="test"
        )
        with pytest.raises(StorageUnavailable, match="RequestTimeTooSkewed"):
            store.ping()
        server.shutdown()
    assert len(asked) == 1


def test_a_bucket_to_another_server_as_the_page_says(own: Minio, minio: Minio) -> None:
    """A backup, and the move of docs/how-to/cluster.md; it may be run again."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "cluster.md").read_text("utf-8")
    (program,) = re.findall(r"^ +```python\n( +# copy_bucket.py\n.*?)^ +```", page, re.MULTILINE | re.DOTALL)
    ours = {"jobs/1/upload": bytes(range(256)) * 70_000, "jobs/1/result.json": b"{}", "models/ggml-x.bin": b"x"}
    old, new = s3_objects(minio, "parascribe-copied"), s3_objects(own, "parascribe-copied")
    for key, content in ours.items():
        old.put(key, io.BytesIO(content))
    env = {"MINIO_BUCKET": "parascribe-copied"}
    for name, server in (("OLD", minio), ("NEW", own)):
        env |= {f"{name}_ENDPOINT": server.endpoint, f"{name}_ACCESS_KEY": server.access_key}
        env |= {f"{name}_SECRET_KEY": server.secret_key}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    said = [subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert [len(text.splitlines()) for text in said] == [len(ours), 0]
    assert {key: read(new, key) for key in new.keys("")} == ours
