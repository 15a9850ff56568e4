"""One contract for all object stores: memory, folder, and S3 on a real MinIO server."""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

import psutil
import pytest

from core.errors import ServiceError, StorageUnavailable
from core.objects.local import LocalObjects
from core.objects.memory import MemoryObjects
from core.objects.s3 import S3Objects
from core.objects.store import ObjectStore, check_key, result_key, source_key
from scripts.servers import Minio

MIB = 1 << 20


def s3_objects(server: Minio, bucket: str | None = None, timeout: float = 30.0) -> S3Objects:
    store = S3Objects(
        endpoint=server.url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        bucket=bucket or f"test-{secrets.token_hex(6)}",
        timeout=timeout,
    )
    store.ensure_bucket()
    return store


@pytest.fixture(params=["memory", "local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjects()
    elif request.param == "local":
        yield LocalObjects(tmp_path / "objects")
    else:
        yield s3_objects(request.getfixturevalue("minio"))


class Stream(io.RawIOBase):
    """`size` bytes of unknown length to their reader, in the odd pieces a network gives; may fail at `fail_at`."""

    def __init__(self, size: int, *, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.size, self.fail_at, self.error = size, fail_at, error
        self.position = 0
        self.sha256 = hashlib.sha256()
        self.peak_rss = 0
        self._piece = secrets.token_bytes(1_000_003)

    def read(self, size: int = -1) -> bytes:
        if self.fail_at is not None and self.position >= self.fail_at and self.error:
            raise self.error
        piece = self._piece[: min(size if size >= 0 else self.size, self.size - self.position)]
        self.position += len(piece)
        self.sha256.update(piece)
        self.peak_rss = max(self.peak_rss, psutil.Process().memory_info().rss)
        return piece


def stream(size: int, **options: object) -> tuple[Stream, BinaryIO]:
    made = Stream(size, **options)  # type: ignore[arg-type]
    return made, cast(BinaryIO, made)


def read(store: ObjectStore, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 7])
def test_what_is_put_is_read_back(store: ObjectStore, size: int) -> None:
    data, file = stream(size)
    assert store.put(source_key("j1"), file, media_type="audio/flac") == size
    content = read(store, source_key("j1"))
    assert len(content) == size
    assert hashlib.sha256(content).digest() == data.sha256.digest()
    path = store.local_path(source_key("j1"))
    assert path is None or path.read_bytes() == content


@pytest.mark.parametrize("offset", [0, 1, MIB, 3 * MIB - 1])
def test_a_download_can_begin_anywhere(store: ObjectStore, offset: int) -> None:
    content = secrets.token_bytes(3 * MIB)
    store.put("jobs/a/source", io.BytesIO(content))
    with store.open("jobs/a/source", offset=offset) as stream:
        assert stream.read() == content[offset:]
    with store.open("jobs/a/source", offset=offset) as stream:
        assert stream.read(1) == content[offset : offset + 1]


def test_put_replaces_and_delete_removes(store: ObjectStore) -> None:
    store.put("a/b", io.BytesIO(b"old and longer"))
    store.put("a/b", io.BytesIO(b"new"))
    assert read(store, "a/b") == b"new"
    store.delete("a/b")
    store.delete("a/b")
    with pytest.raises(KeyError):
        store.open("a/b")
    if isinstance(store, LocalObjects):
        with pytest.raises(KeyError):
            store.local_path("a/b")
    else:
        assert store.local_path("a/b") is None
    assert list(store.keys("")) == []


def test_a_download_can_be_read_in_pieces_and_left_half_read(store: ObjectStore) -> None:
    content = secrets.token_bytes(5 * MIB)
    store.put("a", io.BytesIO(content))
    for _ in range(40):  # more than any connection pool holds
        with store.open("a") as file:
            assert file.read(10) == content[:10]
            assert file.read(2 * MIB) == content[10 : 10 + 2 * MIB]


def test_keys_by_prefix_and_age(store: ObjectStore) -> None:
    for key in (source_key("j1"), result_key("j1", 1), source_key("j10"), "models/m.bin"):
        store.put(key, io.BytesIO(b"x"))
    assert sorted(store.keys("")) == ["jobs/j1/result.1.json", "jobs/j1/source", "jobs/j10/source", "models/m.bin"]
    assert sorted(store.keys("jobs/j1/")) == ["jobs/j1/result.1.json", "jobs/j1/source"]
    assert sorted(store.keys("jobs/j1")) == ["jobs/j1/result.1.json", "jobs/j1/source", "jobs/j10/source"]
    assert list(store.keys("none/")) == []
    assert list(store.keys("", older_than=60)) == []
    time.sleep(1.1)
    store.put("models/m.bin", io.BytesIO(b"written again"))
    again = time.monotonic()
    found = list(store.keys("", older_than=1))
    assert len(found) == 3 or time.monotonic() - again > 0.5, "or it took so long that the new one is old too"


@pytest.mark.parametrize("size", [2 * MIB, 40 * MIB], ids=["before the first part", "among the parts"])
def test_a_reader_that_fails_leaves_nothing_and_its_own_error_comes_through(store: ObjectStore, size: int) -> None:
    class ClientGone(OSError):
        pass

    store.put("a", io.BytesIO(b"what was there"))
    for key in ("a", "b"):
        error = ClientGone("gone")
        with pytest.raises(ClientGone) as caught:
            store.put(key, stream(size, fail_at=size - MIB, error=error)[1])
        assert caught.value is error
    assert list(store.keys("")) == ["a"]
    assert read(store, "a") == b"what was there"
    assert store.abort_stale(older_than=-1.0) == 0, "nothing unfinished may be left"


def test_concurrent_puts_end_with_one_whole_object(store: ObjectStore) -> None:
    contents = [bytes([n]) * (3 * MIB + n) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: store.put("same", io.BytesIO(content)), contents))
        list(pool.map(lambda n: store.put(f"own/{n}", io.BytesIO(contents[n])), range(8)))
    assert read(store, "same") in contents
    assert [read(store, f"own/{n}") == contents[n] for n in range(8)] == [True] * 8


def test_puts_beside_deletes_of_the_same_folder(store: ObjectStore) -> None:
    stop = threading.Event()

    def put(key: str, data: bytes) -> None:
        while True:  # MinIO may deny access to a folder that goes at this moment; callers try again, too
            try:
                store.put(key, io.BytesIO(data))
            except StorageUnavailable:
                continue
            return

    def delete() -> None:
        while not stop.is_set():
            put("jobs/j/other", b"y")
            store.delete("jobs/j/other")

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(50):
            put("jobs/j/source", b"x")
            assert read(store, "jobs/j/source") == b"x"
            store.delete("jobs/j/source")
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".tmp/x", "a/.", "a/b/", "ä", "a b", "a\n", "x" * 513]
)
def test_unsafe_keys_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        store.put(key, io.BytesIO(b"x"))
    for method in (store.open, store.local_path, store.delete):
        with pytest.raises(ValueError, match="not an object key"):
            method(key)


def test_keys_made_by_the_service_are_keys() -> None:
    assert check_key(source_key("0198f3c2-1111-7abc-8def-0123456789ab"))
    assert check_key(result_key("0198f3c2-1111-7abc-8def-0123456789ab", 12))


@pytest.mark.parametrize(("kind", "bound"), [("local", 20 * MIB), ("s3", 100 * MIB)])
def test_memory_does_not_grow_with_the_upload(
    kind: str, bound: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = LocalObjects(tmp_path) if kind == "local" else s3_objects(request.getfixturevalue("minio"))
    store.put("warm", io.BytesIO(b"x"))
    data, file = stream(200 * MIB)
    before = psutil.Process().memory_info().rss
    assert store.put("big", file) == 200 * MIB
    assert data.peak_rss - before < bound
    sha256 = hashlib.sha256()
    with store.open("big") as download:
        while block := download.read(MIB):
            sha256.update(block)
    assert sha256.digest() == data.sha256.digest()
    assert psutil.Process().memory_info().rss - before < bound
    store.delete("big")


def test_a_healthy_store_answers_ping_without_leaving_a_key(store: ObjectStore) -> None:
    store.ping()
    assert list(store.keys("")) == []


def test_errors_of_the_store_are_the_services_own(store: ObjectStore) -> None:
    """A missing key is a KeyError and never one of the errors that make callers wait and retry."""
    try:
        store.open("a/b/c")
    except KeyError as error:
        assert not isinstance(error, ServiceError)
        assert error.args == ("a/b/c",)
    else:
        pytest.fail("opened a key that is not there")
