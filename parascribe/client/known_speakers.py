"""Samples of known speakers, which come from files, as the service takes them."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.jobs.known_speakers import SAMPLE_BYTES


def with_samples(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same options, with samples that are paths read. Raises OSError, also for a file that is too large to be a sample."""
    entries = params.get("known_speakers")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return dict(params)
    return {**params, "known_speakers": [_with_sample(one) for one in entries]}


def has_samples(params: Mapping[str, Any]) -> bool:
    return any("sample" in one for one in params.get("known_speakers") or () if isinstance(one, Mapping))


def data_url(path: Path) -> str:
    """Raises OSError."""
    with path.open("rb") as file:
        data = file.read(SAMPLE_BYTES + 1)
    if len(data) > SAMPLE_BYTES:
        raise OSError(f"{path} is too large for a sample of a voice: at most {SAMPLE_BYTES >> 20} MiB")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _with_sample(entry: Any) -> Any:
    sample = entry.get("sample") if isinstance(entry, Mapping) else None
    if isinstance(sample, Path) or (isinstance(sample, str) and not sample.startswith("data:")):
        return {**entry, "sample": data_url(Path(sample))}
    return entry
