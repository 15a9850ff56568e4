"""Many files into one batch, several at a time. What `parascribe batch submit` does."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from core.system.retry import doubling
from parascribe.client.client import Client
from parascribe.client.errors import ApiError, ClientError, Overloaded
from parascribe.client.inputs import fault
from parascribe.screen.progress import Reporter
from parascribe.screen.render import printable

MEDIA = frozenset(
    "3gp aac ac3 aif aiff amr asf avi caf flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpeg mpg mts mxf oga ogg ogv "
    "opus ts vob wav webm wma wmv".split()
)
"""Extensions that are sent of a folder's files; what else there is has to be named itself."""


def media_in(given: Sequence[Path], *, recursive: bool) -> Iterator[Path]:
    """The files to send: those that are named, and those of the folders, in order and each once."""
    seen = set()
    for path in given:
        inside = _files(path, recursive=recursive) if path.is_dir() else [path]
        for file in inside:
            if (real := file.absolute()) not in seen:
                seen.add(real)
                yield file


def _files(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower().removeprefix(".") in MEDIA:
                yield Path(place, name)


def upload(client: Client, batch_id: str, files: Sequence[Path], report: Reporter, *, at_once: int) -> int:
    """Send all files, so many at a time; returns how many were refused, each of which is said. A full queue is waited for.

    Raises ServiceUnreachable, and KeyboardInterrupt, when the batch is cancelled.
    """
    failed = 0
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="upload")
    try:
        sent: dict[Future[str], Path] = {pool.submit(_sent, client, batch_id, file): file for file in files}
        for number, done in enumerate(as_completed(sent), 1):
            name = printable(sent[done])
            try:
                words = f"{number} of {len(files)}: job {done.result()}"
            except ApiError as error:
                failed += 1
                report.end(name, f"refused: {error.explain()}", failed=True)
            except OSError as error:
                failed += 1
                said = fault(error)
                report.end(name, f"refused: {said['message']} ({said['code']})", failed=True)
            else:
                report.end(name, words)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(ClientError):
            client.batches.cancel(batch_id)
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _sent(client: Client, batch_id: str, file: Path) -> str:
    """Id of its job."""
    pauses = doubling(1.0, 30.0)
    while True:
        try:
            return client.submit(file, batch=batch_id)["id"]
        except Overloaded as error:
            if error.code != "queue_full":
                raise
            time.sleep(max(next(pauses), error.retry_after or 0.0))
