"""Objects in an S3 bucket, by the MinIO client: the store of a cluster."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from core.errors import DiskFull, StorageUnavailable
from core.objects.s3_clock import StoreTimePool
from core.objects.store import check_key, is_key

PART_SIZE = 16 << 20
"""Bytes per part of a multipart upload. With S3's 10,000 parts that allows 160 GB; about three parts are in memory."""

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 30.0
"""Seconds. The client's own defaults (5 minutes, 5 retries) would hang a request for most of an hour."""

_FULL = frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"})
_MISSING = frozenset({"NoSuchKey", "ResourceNotFound"})
_HIDDEN = frozenset({"NoSuchBucket", "AccessDenied", "InvalidObjectState"})
_PING_KEY = ".ping"  # no real key begins with a dot


class S3Objects:
    """An `ObjectStore` in one bucket, which is made on first need.

    Safe across threads, and across a fork: each process has its own connections. This machine's clock may be wrong:
    requests are signed, and ages are counted, by the store's.

    endpoint: `host:port`, or an address with http:// or https://, which then decides about TLS
    timeout: seconds that the server may stay silent; a request is tried at most twice when it does
    """

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        secure: bool = False,
        timeout: float = READ_TIMEOUT,
        connections: int = 32,
    ) -> None:
        if "://" in endpoint:
            parts = urlsplit(endpoint)
            if parts.scheme not in ("http", "https") or parts.path.strip("/") or not parts.netloc:
                raise ValueError(f"not an object store's address: {endpoint!r}")
            endpoint, secure = parts.netloc, parts.scheme == "https"
        self._bucket = bucket
        self._options: dict[str, Any] = {
            "endpoint": endpoint,
            "access_key": access_key,
            "secret_key": secret_key,
            "secure": secure,
        }
        self._timeout = timeout
        self._connections = connections
        self._made: tuple[int, Minio, StoreTimePool] | None = None
        self._has_bucket = False

    def ensure_bucket(self) -> None:
        """Make the bucket unless it exists; many processes may do so at once. The other methods do so at first use."""
        with _storage_errors():
            self._make_bucket(self._connected())

    def put(self, key: str, data: BinaryIO, *, media_type: str = "application/octet-stream") -> int:
        check_key(key)
        source = _Source(data)
        try:
            with _storage_errors():
                # One part at a time: each further parallel upload would keep another part in memory.
                self._client.put_object(
                    self._bucket,
                    key,
                    cast(BinaryIO, source),
                    -1,
                    content_type=media_type,
                    part_size=PART_SIZE,
                    num_parallel_uploads=1,
                )
        except Exception as error:
            if source.error is not None and source.error is not error:
                raise source.error from None  # what went wrong first; aborting the upload may have failed as well
            raise
        return source.bytes

    def open(self, key: str, *, offset: int = 0) -> BinaryIO:
        check_key(key)
        with _storage_errors(missing=key):
            response = self._client.get_object(self._bucket, key, offset=offset)
        return io.BufferedReader(_Download(response), 1 << 20)

    def open_in(self, bucket: str, key: str) -> BinaryIO:
        """An object of another bucket of the same store, under any key that S3 knows. Raises KeyError when it cannot be had."""
        with _storage_errors(missing=key, hidden=True):
            response = self._connected().get_object(bucket, key)
        return io.BufferedReader(_Download(response), 1 << 20)

    def local_path(self, key: str) -> Path | None:
        # not asked: a 404 without a body, as a proxy gives it, would pass for a missing key where there is no more to go by
        check_key(key)
        return None

    def delete(self, key: str) -> None:
        with _storage_errors():
            self._client.remove_object(self._bucket, check_key(key))

    def keys(self, prefix: str, *, older_than: float = 0.0) -> Iterator[str]:
        with _storage_errors():
            for item in self._client.list_objects(self._bucket, prefix, recursive=True):
                name = item.object_name or ""  # consoles make `folder/` objects, which are no keys
                if (
                    is_key(name)
                    and item.last_modified
                    and (not older_than or item.last_modified <= self._ago(older_than))
                ):
                    yield name

    def abort_stale(self, older_than: float) -> int:
        """See the protocol. MinIO lists only uploads begun since its own start; it drops the others itself after a day."""
        dropped = 0
        markers: dict[str, str | None] = {}
        with _storage_errors():
            while True:
                # The client has these two calls of S3 under private names alone; the contract tests hold them.
                page = self._client._list_multipart_uploads(self._bucket, **markers)  # type: ignore[arg-type]
                for upload in page.uploads:
                    if upload.initiated_time and upload.initiated_time <= self._ago(older_than):
                        self._client._abort_multipart_upload(self._bucket, upload.object_name, upload.upload_id or "")
                        dropped += 1
                if not page.is_truncated:
                    return dropped
                markers = {"key_marker": page.next_key_marker, "upload_id_marker": page.next_upload_id_marker}

    def ping(self) -> None:
        with _storage_errors():
            self._client.put_object(self._bucket, _PING_KEY, io.BytesIO(), 0)
            self._client.remove_object(self._bucket, _PING_KEY)

    @property
    def _client(self) -> Minio:
        client = self._connected()
        if not self._has_bucket:
            self._make_bucket(client)
        return client

    def _ago(self, seconds: float) -> datetime:
        """By the store's clock. To be asked after an answer of the store, since only that shows how far off ours is."""
        self._connected()
        assert self._made is not None
        return self._made[2].now() - timedelta(seconds=seconds)

    def _make_bucket(self, client: Minio) -> None:
        if not client.bucket_exists(self._bucket):
            try:
                client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
        self._has_bucket = True

    def _connected(self) -> Minio:
        pid = os.getpid()
        if self._made is None or self._made[0] != pid:
            # A forked child must not talk over its parent's sockets.
            pool = StoreTimePool(
                Credentials(self._options["access_key"], self._options["secret_key"]),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=self._timeout),
                retries=urllib3.Retry(
                    total=3,
                    connect=2,
                    read=1,
                    status=2,
                    redirect=0,
                    backoff_factor=0.2,
                    status_forcelist=(500, 502, 503, 504),
                    raise_on_status=False,
                    # MinIO says "Retry-After: 60" while it starts, and urllib3 would sleep that long in here.
                    respect_retry_after_header=False,
                ),
                maxsize=self._connections,
                ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
            )
            self._made = (pid, Minio(**self._options, http_client=pool), pool)
        return self._made[1]


class _Source:
    """Counts what is read from an upload, and remembers the reader's own error among the network's."""

    def __init__(self, data: BinaryIO) -> None:
        self._data = data
        self.bytes = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            block = self._data.read(size)
        except BaseException as error:
            self.error = error
            raise
        self.bytes += len(block)
        return block


class _Download(io.RawIOBase):
    """An answer's body as a file. A body that ends too early raises StorageUnavailable, it is never a short file."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _storage_errors():
            block = self._response.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._response.release_conn()
        super().close()


@contextlib.contextmanager
def _storage_errors(missing: str | None = None, *, hidden: bool = False) -> Iterator[None]:
    """missing: the key that is asked for; hidden: what may not be read counts as missing too"""
    try:
        yield
    except S3Error as error:
        if missing is not None and error.code in (_MISSING | _HIDDEN if hidden else _MISSING):
            raise KeyError(missing) from None
        if error.code in _FULL:
            raise DiskFull from error
        raise StorageUnavailable(f"The object store refuses: {error.code}") from error
    except ServerError as error:
        if error.status_code == 507:
            raise DiskFull from error
        raise StorageUnavailable(f"The object store answers with status {error.status_code}") from error
    except MinioException as error:
        raise StorageUnavailable(f"The object store answers what S3 does not: {str(error)[:120]}") from error
    except HTTPError as error:
        cause = getattr(error, "reason", None) or error
        raise StorageUnavailable(f"The object store cannot be reached: {type(cause).__name__}") from error
