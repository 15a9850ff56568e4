"""How much this installation keeps, and how much room is left."""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, PartsDep
from api.http.problems import responses
from api.schemas import Body
from core.keys import ADMIN

router = APIRouter(prefix=PREFIX, tags=["service"], dependencies=[needs(ADMIN), NO_QUERY])


class DiskBody(Body):
    """That of DATA_DIR, as the API's machine sees it."""

    total_bytes: int
    free_bytes: int
    kept_free_bytes: int = Field(description="Uploads that would leave less are refused (MIN_FREE_DISK_MB).")


class KeptBody(Body):
    count: int
    bytes: int | None = Field(description="null where counting them would take too long.")


class RetentionBody(Body):
    """Hours after a job's end; 0: for ever."""

    audio_hours: float
    result_hours: float


class StorageBody(Body):
    """Of all owners together."""

    place: Literal["folder", "s3"] = Field(description="Where files and results are.")
    counted_at: datetime = Field(description="Files, parts and results are counted at most once a minute.")
    disk: DiskBody | None = Field(description="null where the folder is not there yet.")
    sources: KeptBody = Field(description="Files of jobs; one that a retry shares counts once.")
    uploads: KeptBody = Field(description="Uploads in parts that are no job yet.")
    streams: KeptBody = Field(description="Live streams that go on: their audio, as far as it is stored.")
    results: KeptBody
    models: KeptBody = Field(description="Those that are installed.")
    database_bytes: int | None
    retention: RetentionBody


@router.get("/storage", responses=responses("validation"))
def get_storage(parts: PartsDep) -> StorageBody:
    """What takes up room here, what is left, and how long things are kept."""
    settings, models = parts.deps.settings, [one for one in parts.deps.models.list() if one.installed]
    sizes, counted_at = parts.sizes.look()
    try:
        usage = shutil.disk_usage(settings.data_dir)
    except OSError:
        usage = None
    return StorageBody(
        place="folder" if settings.minio_endpoint is None else "s3",
        counted_at=counted_at,
        disk=usage
        and DiskBody(
            total_bytes=usage.total, free_bytes=usage.free, kept_free_bytes=int(settings.min_free_disk_mb * 1024 * 1024)
        ),
        sources=KeptBody(count=sizes.sources, bytes=sizes.source_bytes),
        uploads=KeptBody(count=sizes.uploads, bytes=sizes.upload_bytes),
        streams=KeptBody(count=sizes.streams, bytes=sizes.stream_bytes),
        results=KeptBody(count=sizes.results, bytes=None),
        models=KeptBody(count=len(models), bytes=sum(one.bytes or 0 for one in models)),
        database_bytes=sizes.database_bytes,
        retention=RetentionBody(audio_hours=settings.audio_retention, result_hours=settings.retention_hours),
    )
