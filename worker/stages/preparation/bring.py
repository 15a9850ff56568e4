"""The file of a job that came without one: fetched from where it lies into the object store, once.

It comes before the graph, for what all stages are known by hangs on the file's SHA-256. A run that dies on the way leaves the
job as it was, and the next begins again; what one has brought lies under a key of its own, so a late owner overwrites nothing.
"""

from __future__ import annotations

import logging

from core.audio.probe import probe
from core.audio.sniff import sniff
from core.errors import EmptyUpload, SourceCorrupt, TooLarge, UrlUnreachable
from core.jobs.job import Phase, Source
from core.jobs.origin import Origin, OriginKind
from core.objects.store import brought_key
from core.submission.storing import store_file
from core.system.cancel import Cancel
from core.system.retry import retry
from worker.context.work import Work

log = logging.getLogger(__name__)

TRIES = 3
"""How often a server that is away or broken is asked before the job fails."""


def bring(work: Work, cancel: Cancel) -> None:
    """See to it that the job's file is in the object store.

    Raises EmptyUpload, NotMedia, TooLarge, SourceCorrupt, what `Origins.open` raises, StorageUnavailable, DiskFull, LeaseLost.
    """
    origin = work.job.source.origin
    if origin is None:
        return
    work.show(Phase.FETCHING)
    source = retry(
        lambda: _stored(work, origin, cancel),
        pauses=work.parts.settings.backoff[: TRIES - 1],
        retryable=_passes,
        wait=work.lease_keeper.wait,
    )
    work.patiently(lambda: work.parts.store.brought(work.claim, source))
    work.job = work.job.evolve(source=source)
    log.info("Brought %d bytes of %s from the job's %s", source.bytes, source.media_type, origin.kind)


def _stored(work: Work, origin: Origin, cancel: Cancel) -> Source:
    parts, expected = work.parts, work.job.source
    # a stream is sound, whatever it is called: what lies in a container is read off its name
    name = "stream.weba" if origin.kind is OriginKind.LIVE else expected.filename

    def media_type(head: bytes) -> str:
        if not head:
            raise EmptyUpload
        return sniff(head, name, lambda head: probe(parts.ffmpeg, head, work.folder))

    def check_size(size: int) -> None:
        if size > origin.max_bytes:
            raise TooLarge(f"The file is larger than the {origin.max_bytes:,} bytes that may come.")
        parts.check_disk()

    with parts.origins.open(origin, cancel=cancel) as data:
        key = brought_key(work.job.id, work.claim.fence)
        source = store_file(parts.objects, key, expected.filename, data, media_type=media_type, check_size=check_size)
    if origin.kind in (OriginKind.UPLOAD, OriginKind.LIVE) and source.bytes != expected.bytes:
        raise SourceCorrupt(f"Of {expected.bytes} bytes that had come the object store has {source.bytes}.")
    return source


def _passes(error: Exception) -> bool:
    """Whether it may be better in a moment: the server is away, or says that it is not itself (429 and 5xx)."""
    if not isinstance(error, UrlUnreachable):
        return False
    status = error.details.get("status")
    passes = status is None or status == 429 or status >= 500
    if passes:
        log.warning("%s Trying again.", error.message)
    return passes
