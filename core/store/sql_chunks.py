"""ChunkStore on SQL: the plan and its finished parts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, func, literal, select, update

from core.jobs import ChunkRow, ChunkState, Claim
from core.store.rows import Role, chunk_of, to_chunk
from core.store.sql_claims import lock
from core.store.tables import chunk, job


class SqlChunks(Role):
    def add(self, claim: Claim, chunks: Sequence[ChunkRow]) -> None:
        """Append planned chunks. Raises ValueError when they would leave a hole in the plan."""
        if not chunks:
            return
        rows = [
            {
                "job_id": claim.job.id, "number": row.index, "plan": row.plan, "state": ChunkState.PLANNED,
                "engine_seconds": 0.0, "audio_seconds": 0.0, "crashes": 0, "cache_key": row.cache_key,
            }
            for row in chunks
        ]  # fmt: skip
        with self.database.write() as connection:
            lock(connection, claim)
            last = connection.scalar(select(func.max(chunk.c.number)).where(chunk.c.job_id == claim.job.id))
            after = 0 if last is None else last + 1
            indexes = [row.index for row in chunks]
            if indexes[0] > after or indexes != list(range(indexes[0], indexes[0] + len(chunks))):
                raise ValueError(f"chunks {indexes[0]}..{indexes[-1]} do not continue a plan of {after}")
            insert = self.database.insert(chunk).on_conflict_do_nothing(index_elements=["job_id", "number"])
            connection.execute(insert, rows)
            newer = case((job.c.row_version < self.row_version, self.row_version), else_=job.c.row_version)
            connection.execute(update(job).where(job.c.id == claim.job.id).values(row_version=newer))

    def rows(self, job_id: str) -> list[ChunkRow]:
        query = select(chunk).where(chunk.c.job_id == job_id).order_by(chunk.c.number)
        with self.database.read() as connection:
            return [to_chunk(row) for row in connection.execute(query)]

    def start(self, claim: Claim, index: int) -> None:
        with self.database.write() as connection:
            lock(connection, claim)
            connection.execute(update(chunk).where(chunk_of(claim.job.id, index)).values(started_fence=claim.fence))

    def commit(self, claim: Claim, row: ChunkRow, *, audio_seconds: float) -> bool:
        """Store a finished chunk. Raises KeyError when the plan has no such chunk, ValueError for a planned one."""
        if row.state is ChunkState.PLANNED:
            raise ValueError("only a done or failed chunk can be committed")
        with self.database.write() as connection:
            lock(connection, claim)
            planned = update(chunk).where(chunk_of(claim.job.id, row.index), chunk.c.state == ChunkState.PLANNED)
            stored = connection.execute(
                planned.values(
                    state=row.state, transcript=row.transcript, error=row.error, engine_seconds=row.engine_seconds,
                    audio_seconds=audio_seconds, cache_key=row.cache_key or chunk.c.cache_key,
                )
            )  # fmt: skip
            if not stored.rowcount:
                if connection.scalar(select(chunk.c.number).where(chunk_of(claim.job.id, row.index))) is None:
                    raise KeyError(row.index)
                return False
            further = {"strikes": 0} if row.state is ChunkState.DONE else {}
            connection.execute(
                update(job)
                .where(job.c.id == claim.job.id)
                .values(
                    chunks_done=job.c.chunks_done + 1,
                    audio_seconds_done=job.c.audio_seconds_done + audio_seconds,
                    version=job.c.version + 1,
                    **further,
                )
            )
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
                "cache_key": chunk.c.cache_key,
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
