"""Where a job's file is to be brought from, when it does not come with the request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OriginKind(StrEnum):
    URL = "url"  #: an address on the web
    OBJECT = "object"  #: a key of the bucket INGEST_BUCKET
    UPLOAD = "upload"  #: an upload that came in parts, by its id
    LIVE = "live"  #: a stream that has ended, by its session


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Kept in the job's row until its file is in the object store, and then forgotten: addresses may hold secrets."""

    #: text: of a newer version
    kind: OriginKind | str
    #: address, key or id
    name: str
    #: so many bytes are taken at most
    max_bytes: int

    @property
    def known(self) -> bool:
        """Whether this version can bring it."""
        return isinstance(self.kind, OriginKind)

    def to_text(self) -> str:
        return f"{self.kind} {self.max_bytes} {self.name}"

    @staticmethod
    def from_text(text: str) -> Origin:
        """Raises ValueError for what `to_text` has not made."""
        kind, most, name = text.split(" ", 2)
        known = OriginKind(kind) if kind in list(OriginKind) else kind
        return Origin(kind=known, name=name, max_bytes=int(most))
