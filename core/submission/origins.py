"""Files that a request only names: what may be named, and how they are read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, BinaryIO, Protocol

from core.errors import ObjectMissing, SourceMissing, Unsupported, refusal
from core.jobs.origin import Origin, OriginKind
from core.live.sessions import StreamAudio
from core.objects.store import ObjectStore
from core.submission.storing import Readable
from core.system.cancel import Cancel, raise_if_cancelled

NAMED = (OriginKind.URL, OriginKind.OBJECT)
"""What a request may name."""

MAX_KEY = 1024
"""Bytes of an object's key (S3's own limit)."""


class Web(Protocol):
    """What is asked of the web (`core.outbound.client.Outbound`)."""

    def check(self, url: str) -> None:
        """Raises UrlRefused."""
        ...

    def get(self, url: str, *, cancel: Cancel | None = None) -> AbstractContextManager[Readable]:
        """Raises UrlRefused, UrlUnreachable, TooLarge, Cancelled."""
        ...


class Origins:
    """Where files may come from.

    web: None where no addresses may be named; bucket: opens an object of INGEST_BUCKET by its key (KeyError), None without one;
    upload_parts: keys of the objects that an upload's bytes lie in; streams: the audio of a live stream; objects: where both are
    """

    def __init__(
        self,
        *,
        web: Web | None = None,
        bucket: Callable[[str], BinaryIO] | None = None,
        upload_parts: Callable[[str], list[str]] = lambda upload_id: [],
        streams: Callable[[str], StreamAudio | None] = lambda session_id: None,
        objects: ObjectStore,
    ) -> None:
        self._web, self._bucket, self._objects = web, bucket, objects
        self._upload_parts, self._streams = upload_parts, streams

    def named(self, given: Mapping[str, Any], *, max_bytes: int) -> Origin:
        """The origin that a JSON body names. Raises ValidationFailed, Unsupported, UrlRefused."""
        named = [kind for kind in NAMED if given.get(kind) is not None]
        if len(named) != 1:
            message = "exactly one of url and object is needed; a file itself is sent as multipart/form-data"
            raise refusal({"field": named[1] if named else "url", "message": message})
        kind, name = named[0], given[named[0]]
        if not isinstance(name, str):
            raise refusal({"field": kind, "message": "Input should be a valid string"})
        if kind is OriginKind.URL:
            if self._web is None:
                raise Unsupported("This service fetches no files from addresses (URL_INGEST).")
            if not name.isprintable() or " " in name:
                raise refusal({"field": kind, "message": "holds blanks or control characters"})
            self._web.check(name)
        else:
            if self._bucket is None:
                raise Unsupported("This service has no bucket out of which files can be named (INGEST_BUCKET).")
            if not _is_key(name):
                message = f"must be a key of at most {MAX_KEY} bytes, without empty parts and without . and .. as parts"
                raise refusal({"field": kind, "message": message})
        return Origin(kind=kind, name=name, max_bytes=max_bytes)

    @contextmanager
    def open(self, origin: Origin, *, cancel: Cancel) -> Iterator[Readable]:
        """The file, from its beginning.

        Raises Unsupported where the service has been told otherwise since, UrlRefused, UrlUnreachable, TooLarge, ObjectMissing,
        SourceMissing, StorageUnavailable, Cancelled.
        """
        if origin.kind is OriginKind.URL:
            if self._web is None:
                raise Unsupported("This service fetches no files from addresses any more (URL_INGEST).")
            with self._web.get(origin.name, cancel=cancel) as answer:
                yield answer
            return
        if origin.kind is OriginKind.UPLOAD:
            with closing(_Parts(self._objects, self._upload_parts(origin.name), cancel)) as parts:
                yield parts
            return
        if origin.kind is OriginKind.LIVE:
            audio = self._streams(origin.name)
            if audio is None:
                raise SourceMissing
            with closing(_Parts(self._objects, list(audio.keys), cancel, head=audio.head)) as pieces:
                yield pieces
            return
        if self._bucket is None:
            raise Unsupported("This service has no bucket out of which files can be named any more (INGEST_BUCKET).")
        try:
            data = self._bucket(origin.name)
        except KeyError:
            raise ObjectMissing from None
        with closing(data):
            yield _Watched(data, cancel)


def _is_key(name: str) -> bool:
    """A client that tidies up paths must not be led into another bucket."""
    return (
        name.isprintable()
        and len(name.encode()) <= MAX_KEY
        and all(part not in ("", ".", "..") for part in name.split("/"))
    )


class _Watched(io.RawIOBase):
    """A file that can be left: each read raises Cancelled once `cancel` is set."""

    def __init__(self, data: BinaryIO, cancel: Cancel) -> None:
        self._data, self._cancel = data, cancel

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        raise_if_cancelled(self._cancel)
        return self._data.read(size)


class _Parts(io.RawIOBase):
    """Objects one behind the other, each open only while it is read. head: what comes before the first"""

    def __init__(self, objects: ObjectStore, keys: list[str], cancel: Cancel, *, head: bytes = b"") -> None:
        self._objects, self._keys, self._cancel = objects, keys[::-1], cancel
        self._open: BinaryIO | None = io.BytesIO(head)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Raises SourceMissing when a part is."""
        raise_if_cancelled(self._cancel)
        taken = bytearray()
        while size < 0 or len(taken) < size:
            if self._open is None:
                if not self._keys:
                    break
                try:
                    self._open = self._objects.open(self._keys.pop())
                except KeyError:
                    raise SourceMissing from None
            piece = self._open.read(size - len(taken) if size >= 0 else -1)
            taken += piece
            if not piece:
                self._leave_part()
        return bytes(taken)

    def close(self) -> None:
        self._leave_part()
        super().close()

    def _leave_part(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
