"""ChunkStore on SQL: the plan and its finished parts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, case, func, literal, select, update

from core.jobs.job import ChunkRow, ChunkState, Claim
from core.store.rows import Role, to_chunk
from core.store.sql_claims import lock
from core.store.tables import chunk, job

# made once: making one takes longer than executing it
_OF_JOB = chunk.c.job_id == bindparam("of_job")
_OF_CHUNK = and_(_OF_JOB, chunk.c.number == bindparam("at"))
_THIS_JOB = update(job).where(job.c.id == bindparam("of_job"))
_LAST = select(func.max(chunk.c.number)).where(_OF_JOB)
_ROWS = select(chunk).where(_OF_JOB).order_by(chunk.c.number)
_WRITTEN = _THIS_JOB.values(
    row_version=case((job.c.row_version < bindparam("by_version"), bindparam("by_version")), else_=job.c.row_version)
)
_START = update(chunk).where(_OF_CHUNK).values(started_fence=bindparam("by_fence"))
_THERE = select(chunk.c.number).where(_OF_CHUNK)
_STORE = (
    update(chunk)
    .where(_OF_CHUNK, chunk.c.state == ChunkState.PLANNED)
    .values(
        state=bindparam("now_state"),
        transcript=bindparam("said"),
        error=bindparam("problem"),
        engine_seconds=bindparam("took"),
        audio_seconds=bindparam("covered"),
    )
)
_COUNT = _THIS_JOB.values(
    chunks_done=job.c.chunks_done + 1,
    audio_seconds_done=job.c.audio_seconds_done + bindparam("covered"),
    version=job.c.version + 1,
)
_COUNT_DONE = _COUNT.values(strikes=0)


class SqlChunks(Role):
    def add(self, claim: Claim, chunks: Sequence[ChunkRow]) -> None:
        """Append planned chunks. Raises ValueError when they would leave a hole in the plan."""
        if not chunks:
            return
        rows = [
            {
                "job_id": claim.job.id,
                "number": row.index,
                "plan": row.plan,
                "state": ChunkState.PLANNED,
                "engine_seconds": 0.0,
                "audio_seconds": 0.0,
                "crashes": 0,
            }
            for row in chunks
        ]
        with self.database.write() as connection:
            lock(connection, claim)
            last = connection.scalar(_LAST, {"of_job": claim.job.id})
            after = 0 if last is None else last + 1
            indexes = [row.index for row in chunks]
            if indexes[0] > after or indexes != list(range(indexes[0], indexes[0] + len(chunks))):
                raise ValueError(f"chunks {indexes[0]}..{indexes[-1]} do not continue a plan of {after}")
            insert = self.database.insert(chunk).on_conflict_do_nothing(index_elements=["job_id", "number"])
            connection.execute(insert, rows)
            connection.execute(_WRITTEN, {"of_job": claim.job.id, "by_version": self.row_version})

    def rows(self, job_id: str) -> list[ChunkRow]:
        with self.database.read() as connection:
            return [to_chunk(row) for row in connection.execute(_ROWS, {"of_job": job_id})]

    def start(self, claim: Claim, index: int) -> None:
        with self.database.write() as connection:
            lock(connection, claim)
            connection.execute(_START, {"of_job": claim.job.id, "at": index, "by_fence": claim.fence})

    def commit(self, claim: Claim, row: ChunkRow, *, audio_seconds: float) -> bool:
        """Store a finished chunk. Raises KeyError when the plan has no such chunk, ValueError for a planned one."""
        if row.state is ChunkState.PLANNED:
            raise ValueError("only a done or failed chunk can be committed")
        with self.database.write() as connection:
            lock(connection, claim)
            place = {"of_job": claim.job.id, "at": row.index}
            stored = connection.execute(
                _STORE,
                place
                | {
                    "now_state": row.state,
                    "said": row.transcript,
                    "problem": row.error,
                    "took": row.engine_seconds,
                    "covered": audio_seconds,
                },
            )
            if not stored.rowcount:
                if connection.scalar(_THERE, place) is None:
                    raise KeyError(row.index)
                return False
            count = _COUNT_DONE if row.state is ChunkState.DONE else _COUNT
            connection.execute(count, {"of_job": claim.job.id, "covered": audio_seconds})
            return True

    def adopt(self, claim: Claim, from_job: str) -> int:
        """Take over plan and done chunks of a job with the same plan hash; its failed ones are planned anew."""
        done = chunk.c.state == ChunkState.DONE
        with self.database.write() as connection:
            lock(connection, claim)
            hashes = select(job.c.plan_hash).where(job.c.id == claim.job.id).scalar_subquery()
            theirs = select(job.c.id).where(job.c.id == from_job, job.c.plan_hash == hashes)
            if connection.scalar(theirs) is None:
                return 0
            taken = {
                "job_id": literal(claim.job.id),
                "number": chunk.c.number,
                "plan": chunk.c.plan,
                "state": case((done, ChunkState.DONE.value), else_=ChunkState.PLANNED.value),
                "transcript": chunk.c.transcript,
                "engine_seconds": case((done, chunk.c.engine_seconds), else_=0.0),
                "audio_seconds": case((done, chunk.c.audio_seconds), else_=0.0),
                "crashes": literal(0),
            }
            rows = select(*taken.values()).where(chunk.c.job_id == from_job)
            insert = self.database.insert(chunk).from_select(list(taken), rows)
            connection.execute(insert.on_conflict_do_nothing(index_elements=["job_id", "number"]))
            own = (chunk.c.job_id == claim.job.id) & (chunk.c.state != ChunkState.PLANNED)
            total = select(func.count(), func.coalesce(func.sum(chunk.c.audio_seconds), 0.0)).where(own)
            count, seconds = connection.execute(total).one()
            connection.execute(
                update(job)
                .where(job.c.id == claim.job.id)
                .values(chunks_done=count, audio_seconds_done=seconds, version=job.c.version + 1)
            )
            return connection.scalar(select(func.count()).where(chunk.c.job_id == claim.job.id, done)) or 0
