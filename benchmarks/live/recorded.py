"""What has become of a stream that was saved: its job's text and sound, held against what was said into it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Pcm
from benchmarks.words import errors
from core.errors import ServiceError
from core.objects.local import LocalObjects
from core.store.database import open_database
from core.store.sql import SqlStore
from testbed.service import Service

JOB_SECONDS = 120.0
HEADER = 44
"""Bytes of a WAV file before its samples."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """lost: samples that the recording lacks, or has otherwise; changed: words that the text has otherwise than the finals"""

    lost: int
    changed: int
    text: str = ""
    error: str = ""


def recorded(service: Service, job: str | None, *, spoken: Pcm, finals: str) -> Recorded:
    """Waits until the job has ended. spoken: all that was sent; finals: what was told of it"""
    try:
        assert job is not None, "it has become no job"
        row = service.wait(job, seconds=JOB_SECONDS)
        assert row["status"] == "completed", f"job {job} ended as {row['status']}: {row['error']}"
        text = str(service.result(job).json()["text"])
        data = Path(service.env["DATA_DIR"])
        with closing(SqlStore(open_database(f"sqlite:///{data}/parascribe.db"))) as store:
            key = store.get(job).source.key
        with LocalObjects(data / "objects").open(key) as audio:
            stored = np.frombuffer(audio.read()[HEADER:], "<i2")
    except (AssertionError, ServiceError) as error:
        return Recorded(lost=len(spoken), changed=0, error=str(error))
    both = min(len(stored), len(spoken))
    lost = abs(len(stored) - len(spoken)) + int(np.sum(stored[:both] != spoken[:both]))
    return Recorded(lost=lost, changed=errors(finals, text, "en").count, text=text)
