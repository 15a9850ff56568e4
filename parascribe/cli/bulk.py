"""Many files into one batch, several at a time. What `parascribe batch submit` does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from core.system.retry import doubling
from parascribe.client.client import Client
from parascribe.client.errors import ApiError, ClientError, Overloaded
from parascribe.client.inputs import fault
from parascribe.screen.progress import Reporter
from parascribe.screen.render import printable


def upload(client: Client, batch_id: str, files: Sequence[Path], report: Reporter, *, at_once: int) -> int:
    """Send all files, so many at a time; returns how many were refused, each of which is said. A full queue is waited for.

    Raises ServiceUnreachable, and KeyboardInterrupt, when the batch is cancelled.
    """
    failed = 0
    report.expect(len(files))
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="upload")
    try:
        sent: dict[Future[str], Path] = {pool.submit(_sent, client, batch_id, file, report): file for file in files}
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


def _sent(client: Client, batch_id: str, file: Path, report: Reporter) -> str:
    """Id of its job."""

    def show(done: int, total: int) -> None:
        report.bytes(printable(file), "uploading", done, total)

    pauses = doubling(1.0, 30.0)
    while True:
        try:
            return client.submit(file, batch=batch_id, on_bytes=show)["id"]
        except Overloaded as error:
            if error.code != "queue_full":
                raise
            time.sleep(max(next(pauses), error.retry_after or 0.0))
