"""OwnerVoices on SQL: voices that an owner has kept. There is no way to another's, for administrators neither."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select

from core.errors import NotInResult, VoiceExists, VoiceNotFound, refusal
from core.jobs.tasks import TaskState
from core.jobs.voices import MOST, Voice
from core.store.roles.rows import Role
from core.store.tables import job, task, voice

NOBODY = ""
"""The owner of what is made where nobody needs a key."""

STAGE = "diarize"
"""Whose output has the vectors of a job's voices (`worker.stages.diarize`)."""


class SqlOwnerVoices(Role):
    owner: str | None = None

    def keep(self, name: str, *, job_id: str, number: int) -> Voice:
        with self.database.write() as connection:
            there = connection.scalar(select(func.count()).select_from(voice).where(self._mine)) or 0
            if there >= MOST:
                raise refusal({"field": "name", "message": f"there are {there} voices already, and no more may be"})
            row = self.database.insert(voice).values(
                owner=self.owner or NOBODY,
                name=name,
                created_at=self.database.wall(),
                **self._heard(connection, job_id, number),
            )
            # of two at once one is first
            kept = row.on_conflict_do_nothing(index_elements=["owner", "name"]).returning(voice)
            if (made := connection.execute(kept).first()) is None:
                raise VoiceExists
            return _to_voice(made)

    def list(self) -> Sequence[Voice]:
        with self.database.read() as connection:
            return [
                _to_voice(row) for row in connection.execute(select(voice).where(self._mine).order_by(voice.c.name))
            ]

    def named(self, names: Collection[str]) -> dict[str, Voice]:
        with self.database.read() as connection:
            found = connection.execute(select(voice).where(self._mine, voice.c.name.in_(names)))
            return {row.name: _to_voice(row) for row in found}

    def remove(self, name: str) -> None:
        with self.database.write() as connection:
            if not connection.execute(delete(voice).where(self._mine, voice.c.name == name)).rowcount:
                raise VoiceNotFound

    @property
    def _mine(self) -> Any:
        return voice.c.owner == (self.owner or NOBODY)

    def _heard(self, connection: Connection, job_id: str, number: int) -> dict[str, Any]:
        """What one voice of a job of the owner's sounds like."""
        theirs = job.c.owner.is_not_distinct_from(self.owner)
        output = connection.scalar(
            select(task.c.output)
            .join(job, job.c.id == task.c.job_id)
            .where(job.c.id == job_id, job.c.deleted_at.is_(None), theirs)
            .where(task.c.stage == STAGE, task.c.state == TaskState.DONE)
        )
        voices = (output or {}).get("voices", ())
        if not output or not output.get("embedding") or number >= len(voices):
            raise NotInResult("What this speaker sounds like is not known (any more).")
        return {"embedding": output["embedding"], "vector": voices[number]}


def check_kept(connection: Connection, owner: str | None, names: Collection[str]) -> None:
    """Raises ValidationFailed for a voice that this owner has not kept: whether somebody else has makes no difference."""
    mine = select(voice.c.name).where(voice.c.owner == (owner or NOBODY), voice.c.name.in_(names))
    if missing := sorted({*names} - {*connection.scalars(mine)}):
        raise refusal({"field": "known_speakers", "message": f"you have kept no voice of the name {missing[0]}"})


def _to_voice(row: Row[Any]) -> Voice:
    return Voice(name=row.name, embedding=row.embedding, vector=tuple(row.vector), created_at=row.created_at)
