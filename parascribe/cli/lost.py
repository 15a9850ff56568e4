"""The job of an upload whose end we have not lived to see.

A small file goes up under an Idempotency-Key, so that the service tells. A large one goes in parts, which know none: then its job
is looked for by the file's content.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from core.jobs.params import JobParams
from core.options import read
from parascribe.client.bodies import Params
from parascribe.client.client import Client

PAGES, PAGE = 5, 200
"""So many jobs are looked at, newest first: it was among the last that were made."""


def lost_job(client: Client, file: Path, params: Params) -> str | None:
    """Id of the newest job of this content and with these options. Raises OSError, ApiError, ServiceUnreachable."""
    asked, _ = read(JobParams, params)
    size, digest, after = file.stat().st_size, None, None
    for _ in range(PAGES):
        page = client.list(limit=PAGE, after=after)
        for job in page["items"]:
            if job["source"]["bytes"] != size or any(job["params"].get(name) != asked[name] for name in asked):
                continue
            digest = digest or _sha256(file)
            if job["audio"] and job["audio"]["sha256"] == digest:
                return job["id"]
        after = page["next"]
        if after is None:
            break
    return None


def _sha256(file: Path) -> str:
    with file.open("rb") as media:
        return hashlib.file_digest(media, "sha256").hexdigest()
