"""The places that keep things, and where files may come from."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from core.audio import ffmpeg
from core.audio.probe import probe
from core.audio.sniff import Probe
from core.config.settings import Settings
from core.errors import ServiceError
from core.live.sessions import StreamAudio
from core.objects.local import LocalObjects
from core.objects.store import ObjectStore
from core.outbound.values import Post, Rules
from core.queue.sweeper import Sweeper, SweeperStore
from core.store.database import open_database
from core.store.sql import SqlStore
from core.submission.origins import Origins
from parascribe.run.wiring.about import version
from parascribe.run.wiring.broker import open_hints

if TYPE_CHECKING:
    from core.objects.s3 import S3Objects

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 15.0
"""What the receiver of a webhook may take to answer."""


FETCH_HOURS = 2
"""The longest that a file may take to come from an address: 4 GB at 600 KB/s."""


def open_store(settings: Settings, *, migrate: bool = True) -> SqlStore:
    """The job table, brought to this version. Raises DatabaseUnavailable, DiskFull."""
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = open_database(settings.database)
    if migrate:
        database.migrate()
    return SqlStore(database)


def open_to_all(settings: Settings) -> bool:
    """Whether whoever reaches the API from another machine may use it: there is no key. Raises DatabaseUnavailable, DiskFull."""
    if settings.loopback or settings.known_keys:
        return False
    with contextlib.closing(open_store(settings)) as store:
        return not store.has_keys()


def open_objects(settings: Settings) -> ObjectStore:
    """The object store; its bucket or folder is made on first need."""
    if settings.minio_endpoint is None:
        return LocalObjects(settings.objects_path)
    from core.objects.s3 import S3Objects  # late: the S3 client takes its time to import

    assert settings.minio_access_key
    assert settings.minio_secret_key
    return S3Objects(
        endpoint=settings.minio_endpoint,
        access_key=settings.minio_access_key.get_secret_value(),
        secret_key=settings.minio_secret_key.get_secret_value(),
        bucket=settings.minio_bucket,
        secure=settings.minio_secure,
    )


def free_bytes(settings: Settings) -> Callable[[], int] | None:
    """Space left where uploads land; None where it cannot be known (S3)."""
    if settings.minio_endpoint is not None:
        return None
    return lambda: shutil.disk_usage(settings.data_dir).free


def open_post(settings: Settings) -> Post:
    """What sends webhooks."""
    from core.outbound.client import Outbound  # late: it loads httpx, and many never send any

    rules = Rules(allow_private=settings.webhook_allow_private, connect_seconds=5.0, total_seconds=ATTEMPT_SECONDS)
    return Outbound(rules, agent=f"parascribe/{version()} (webhooks)")


def open_origins(
    settings: Settings,
    objects: ObjectStore,
    upload_parts: Callable[[str], list[str]] = lambda upload_id: [],
    streams: Callable[[str], StreamAudio | None] = lambda session_id: None,
) -> Origins:
    """Where jobs' files may come from, besides uploads at once. upload_parts, streams: see there; the API reads no file from there"""
    from core.outbound.client import Outbound

    web, bucket = None, None
    if settings.url_ingest:
        rules = Rules(
            allow_private=settings.url_ingest_allow_private,
            redirects=5,
            read_seconds=30.0,
            total_seconds=FETCH_HOURS * 3600.0,
            max_bytes=int(settings.max_upload_mb * 1024 * 1024),
        )
        web = Outbound(rules)
    if settings.ingest_bucket is not None:
        assert not isinstance(objects, LocalObjects), "the settings see to it that there is an S3 store"
        bucket = functools.partial(cast("S3Objects", objects).open_in, settings.ingest_bucket)
    return Origins(web=web, bucket=bucket, upload_parts=upload_parts, streams=streams, objects=objects)


def open_probe() -> Probe:
    """ffmpeg's word on files that nothing else is known of; without a usable ffmpeg, none."""
    find = functools.cache(ffmpeg.find)

    def ask(head: bytes) -> str | None:
        try:
            return probe(find(), head)
        except (OSError, ServiceError) as error:
            log.warning("No look by ffmpeg at an unknown file: %s", error)
            return None

    return ask


def make_sweeper(settings: Settings, store: SweeperStore, objects: ObjectStore, runtime: Path | None) -> Sweeper:
    return Sweeper(
        store,
        objects,
        open_hints(settings, runtime),
        interval=settings.sweep_seconds,
        max_attempts=settings.max_attempts,
        audio_hours=settings.audio_retention,
        result_hours=settings.retention_hours,
        work=settings.work_path,
    )
