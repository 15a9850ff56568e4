"""Uploads that come in parts: values. The rows are the truth, the bytes are objects below `uploads/<id>/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.jobs.job import Source
from core.jobs.origin import Origin, OriginKind


@dataclass(frozen=True, kw_only=True)
class NewUpload:
    """What is said before the first byte comes."""

    id: str
    filename: str
    #: bytes in all
    length: int
    #: of the job that it becomes, as they were sent; the name of its batch among them
    options: Mapping[str, str]
    #: Upload-Metadata as it was sent
    metadata: str = ""


@dataclass(frozen=True, kw_only=True)
class PartialUpload(NewUpload):
    """One row."""

    #: bytes that are stored for good
    offset: int
    #: known when enough of the beginning has come
    media_type: str | None
    expires_at: datetime
    #: the job that it has become
    job_id: str | None

    def source(self, key: str, *, media_type: str) -> Source:
        """As the file of a job that puts it together under that key."""
        return Source(
            filename=self.filename,
            bytes=self.length,
            media_type=media_type,
            sha256="",
            key=key,
            origin=Origin(kind=OriginKind.UPLOAD, name=self.id, max_bytes=self.length),
        )


@dataclass(frozen=True, kw_only=True)
class UploadLease:
    """The right to add to an upload: valid while it is renewed and the fence is the newest."""

    upload: PartialUpload
    fence: int
