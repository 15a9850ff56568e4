"""A file that a JSON body only names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from api.upload.filepart import clean_filename
from core.jobs.job import Source, new_id
from core.jobs.origin import OriginKind
from core.objects.store import source_key
from core.submission.origins import NAMED, Origins


def named_file(origins: Origins, given: Mapping[str, Any], *, max_bytes: int) -> tuple[str, Source]:
    """The file, for a job whose id is made here. Raises what `Origins.named` does."""
    origin, job_id = origins.named(given, max_bytes=max_bytes), new_id()
    name = clean_filename(unquote(urlsplit(origin.name).path) if origin.kind is OriginKind.URL else origin.name)
    return job_id, Source(filename=name, bytes=0, media_type="", sha256="", key=source_key(job_id), origin=origin)


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What else the body says: options of the job."""
    return {name: value for name, value in given.items() if name not in NAMED}
