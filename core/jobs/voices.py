"""Voices that an owner has kept: what each sounds like, under a name. Nobody but the owner has any use of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

MOST = 200
"""Of one owner."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """name: as of `core.jobs.known_speakers.name_of`; vector: shape (192,)"""

    name: str
    #: what has made the vector: only those of the same can be compared
    embedding: str
    vector: tuple[float, ...] = field(repr=False)
    created_at: datetime | None = None
