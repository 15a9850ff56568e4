"""Live streams on SQL. Every write of the process that serves one is guarded by its fence."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, literal, not_, or_, select, update

from core.errors import (
    LeaseLost,
    LiveSessionEnded,
    LiveSessionNotFound,
    OffsetConflict,
    TransientError,
    ValidationFailed,
)
from core.jobs.job import NewJob, Source, new_id
from core.jobs.known_speakers import asked_voices
from core.jobs.origin import Origin, OriginKind
from core.jobs.params import JobParams
from core.jobs.tasks import TRANSCRIBE
from core.live.options import StreamOptions
from core.live.sessions import (
    RESUME_SECONDS,
    NewSession,
    Session,
    SessionLease,
    StoredUtterance,
    StreamAudio,
    recording_name,
)
from core.objects.store import source_key
from core.store.roles.jobs import SqlJobs
from core.store.roles.owners.voices import check_kept
from core.store.roles.rows import Role
from core.store.tables import job, live_piece, live_session, live_utterance, task

log = logging.getLogger(__name__)

_ALIVE = live_session.c.ended_at.is_(None)


class SqlLive(Role):
    """LiveSessions, and Streams of `core.store.protocols`."""

    def begin_session(self, new: NewSession, *, consumer: str, lease_seconds: float) -> SessionLease:
        row = (
            self.database.insert(live_session)
            .values(
                id=new.id,
                owner=new.owner,
                options=new.options.to_dict(),
                params=dict(new.params),
                warnings=new.warnings,
                acked=0,
                stored=0,
                utterances=0,
                created_at=self.database.wall(),
                fence=1,
                consumer=consumer,
                due=self._due(lease_seconds + RESUME_SECONDS),
            )
            .on_conflict_do_nothing(index_elements=["id"])
        )
        with self.database.write() as connection:
            connection.execute(row)
            ours = connection.execute(
                select(live_session).where(live_session.c.id == new.id, live_session.c.fence == 1, _ALIVE)
            ).first()
            if ours is None:
                raise LeaseLost
            return _to_lease(ours)

    def resume_session(
        self, session_id: str, *, owner: str | None, consumer: str, lease_seconds: float
    ) -> SessionLease:
        mine = and_(
            live_session.c.id == session_id,
            live_session.c.owner.is_not_distinct_from(literal(owner, live_session.c.owner.type)),
        )
        taken = (
            update(live_session)
            .where(mine, _ALIVE)
            .values(fence=live_session.c.fence + 1, consumer=consumer, due=self._due(lease_seconds + RESUME_SECONDS))
            .returning(live_session)
        )
        # one that has just ended: whoever was to be told of it asks what it has missed, and changes nothing
        there = select(live_session, (live_session.c.due > self.database.now()).label("waited_for")).where(mine)
        with self.database.write() as connection:
            row = connection.execute(taken).first() or connection.execute(there).first()
        if row is None:
            raise LiveSessionNotFound
        if row.ended_at is not None and not row.waited_for:
            raise LiveSessionEnded
        return _to_lease(row)

    def renew_session(self, lease: SessionLease, *, lease_seconds: float) -> None:
        self._wait_for(lease, lease_seconds + RESUME_SECONDS)

    def leave_session(self, lease: SessionLease, *, seconds: float = RESUME_SECONDS) -> None:
        self._wait_for(lease, seconds)

    def keep_utterances(self, lease: SessionLease, utterances: list[StoredUtterance], *, acked: int) -> SessionLease:
        with self.database.write() as connection:
            row = _held(connection, lease)
            if utterances:
                rows = [_utterance_values(row.id, one) for one in utterances]
                insert = self.database.insert(live_utterance)
                connection.execute(insert.on_conflict_do_nothing(index_elements=["session_id", "number"]), rows)
            following = max([row.utterances, *(one.number + 1 for one in utterances)])
            return self._write(connection, lease, acked=max(row.acked, acked), utterances=following)

    def keep_translation(self, lease: SessionLease, number: int, translation: Mapping[str, Any]) -> None:
        said = and_(live_utterance.c.session_id == lease.session.id, live_utterance.c.number == number)
        with self.database.write() as connection:
            _held(connection, lease)
            connection.execute(update(live_utterance).where(said).values(translation=dict(translation)))

    def keep_piece(self, lease: SessionLease, *, start: int, size: int, key: str) -> SessionLease:
        with self.database.write() as connection:
            row = _held(connection, lease)
            if row.stored != start:
                piece = and_(live_piece.c.session_id == row.id, live_piece.c.start == start)
                there = connection.execute(select(live_piece).where(piece)).first()
                if there is not None and (there.size, there.key) == (size, key):
                    return _to_lease(row)  # asked again, the answer having been lost
                raise OffsetConflict(f"The stream has {row.stored} bytes; a piece at {start} does not follow them.")
            connection.execute(live_piece.insert().values(session_id=row.id, start=start, size=size, key=key))
            return self._write(connection, lease, stored=start + size)

    def utterances(self, session_id: str, *, first: int = 0) -> list[StoredUtterance]:
        with self.database.read() as connection:
            return _utterances(connection, session_id, first)

    def pieces(self, session_id: str) -> list[tuple[int, int, str]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(_pieces(session_id))]

    def stream_audio(self, session_id: str) -> StreamAudio | None:
        with self.database.read() as connection:
            row = connection.execute(select(live_session).where(live_session.c.id == session_id)).first()
            if row is None:
                return None
            pieces = connection.execute(_pieces(session_id)).all()
        keys = tuple(key for _, _, key in pieces)
        return StreamAudio(keys=keys, size=row.stored, channels=_to_session(row).channels)

    def end_session(self, lease: SessionLease, *, seconds: float = 0.0) -> str | None:
        with self.database.write() as connection:
            this = live_session.c.id == lease.session.id
            row = connection.execute(select(live_session).where(this).with_for_update()).first()
            if row is None:
                return None  # ended before, and cleared away since
            if row.ended_at is None and row.fence != lease.fence:
                raise LeaseLost
            found: str | None = row.job_id
            return found if row.ended_at is not None else self._end(connection, row, seconds)

    def sessions(self, owner: str | None, *, all_owners: bool = False) -> list[Session]:
        shown = select(live_session).where(_ALIVE)
        if not all_owners:
            shown = shown.where(live_session.c.owner == owner)  # None becomes IS NULL
        with self.database.read() as connection:
            rows = connection.execute(shown.order_by(live_session.c.created_at.desc(), live_session.c.id.desc()))
            return [_to_session(row) for row in rows]

    # --- those that nobody serves any more
    def end_left_sessions(self, *, at_most: int = 100) -> list[str]:
        over = and_(_ALIVE, live_session.c.due < self.database.now())
        with self.database.read() as connection:
            left = connection.scalars(
                select(live_session.c.id).where(over).order_by(live_session.c.due).limit(at_most)
            ).all()
        ended = []
        for session_id in left:
            # each by itself, and only if nobody has taken it up since
            this = select(live_session).where(over, live_session.c.id == session_id).with_for_update(skip_locked=True)
            try:
                with self.database.write() as connection:
                    row = connection.execute(this).first()
                    if row is not None:
                        self._end(connection, row)
                        ended.append(session_id)
            except TransientError:
                raise
            except Exception:
                log.exception("Live stream %s cannot be ended", session_id)
        return ended

    def finals_of(self, job_id: str) -> list[StoredUtterance]:
        this = select(live_session).where(live_session.c.job_id == job_id)
        with self.database.read() as connection:
            row = connection.execute(this).first()
            if row is None:
                return []
            options = StreamOptions.from_dict(row.options)
            # how many channels a container really has is known to the job's decoder alone
            if options.refine or (options.encoding == "container" and options.channels == 2):
                return []
            return _utterances(connection, row.id)

    def removable_sessions(self, *, limit: int) -> list[str]:
        # as `Origin.to_text` has it
        origin = literal(f"{OriginKind.LIVE} % ") + live_session.c.id
        waited_for = exists().where(job.c.origin.is_not(None), job.c.origin.like(origin))
        begun = exists().where(task.c.job_id == job.c.id, task.c.stage == TRANSCRIBE)
        to_take_over = exists().where(job.c.id == live_session.c.job_id, job.c.finished_at.is_(None), not_(begun))
        done = or_(live_session.c.job_id.is_(None), and_(not_(waited_for), not_(to_take_over)))
        over = and_(live_session.c.ended_at.is_not(None), live_session.c.due <= self.database.now())
        ended = select(live_session.c.id).where(over, done)
        with self.database.read() as connection:
            return list(connection.scalars(ended.order_by(live_session.c.ended_at).limit(limit)))

    def remove_session(self, session_id: str) -> None:
        self.database.making_room(lambda: self._remove_session(session_id))

    def known_sessions(self, session_ids: Collection[str]) -> set[str]:
        with self.database.read() as connection:
            return set(connection.scalars(select(live_session.c.id).where(live_session.c.id.in_(session_ids))))

    def _remove_session(self, session_id: str) -> None:
        with self.database.write() as connection:
            connection.execute(delete(live_session).where(live_session.c.id == session_id))

    def _end(self, connection: Connection, row: Row[Any], seconds: float = 0.0) -> str | None:
        """Of one that is held and has not ended."""
        session = _to_session(row)
        made = _job_of(session)
        # the fence grows: a process that was given up writes nothing any more
        end: dict[str, Any] = {"ended_at": self.database.wall(), "fence": row.fence + 1, "due": self._due(seconds)}
        if made is None:
            if not seconds:  # else the sweeper forgets it
                end |= {"params": {}, "warnings": []}
                connection.execute(delete(live_utterance).where(live_utterance.c.session_id == row.id))
                connection.execute(delete(live_piece).where(live_piece.c.session_id == row.id))
        else:
            end |= {"job_id": made.id}
            view = SqlJobs(self.database, row_version=self.row_version, statements=self._statements)
            view.bound(session.owner, all_jobs=False).insert_job(
                connection, _with_kept_voices(connection, session, made)
            )
        connection.execute(update(live_session).where(live_session.c.id == row.id).values(end))
        return made.id if made else None

    def _wait_for(self, lease: SessionLease, seconds: float) -> None:
        with self.database.write() as connection:
            _held(connection, lease)
            self._write(connection, lease, due=self._due(seconds))

    def _write(self, connection: Connection, lease: SessionLease, **values: Any) -> SessionLease:
        this = update(live_session).where(live_session.c.id == lease.session.id).values(values)
        return _to_lease(connection.execute(this.returning(live_session)).one())

    def _due(self, seconds: float) -> ColumnElement[float]:
        return self.database.now() + seconds


def _job_of(session: Session) -> NewJob | None:
    """What the stream becomes; None where nothing was to be saved, or nothing has come."""
    if not session.options.save or not session.stored:
        return None
    params = JobParams.from_dict(session.params)
    if session.options.channels == 2:
        params = replace(params, channels="split")
    job_id, size = new_id(), StreamAudio(keys=(), size=session.stored, channels=session.channels).file_size
    source = Source(
        filename=recording_name(session),
        bytes=size,
        media_type="" if session.channels is None else "audio/wav",
        sha256="",
        key=source_key(job_id),
        origin=Origin(kind=OriginKind.LIVE, name=session.id, max_bytes=size),
    )
    return NewJob(id=job_id, source=source, params=params, warnings=tuple(session.warnings))


def _with_kept_voices(connection: Connection, session: Session, made: NewJob) -> NewJob:
    """An installation's defaults may name voices; one that was deleted meanwhile must not keep a stream from ending."""
    try:
        check_kept(connection, session.owner, asked_voices(made.params.known_speakers))
    except ValidationFailed as error:
        left_out = {"code": "known_speakers", "message": f"Left out: {error.message}"}
        return replace(made, params=replace(made.params, known_speakers=None), warnings=(*made.warnings, left_out))
    return made


def _held(connection: Connection, lease: SessionLease) -> Row[Any]:
    """The row, held until the transaction ends. Raises LeaseLost."""
    ours = and_(live_session.c.id == lease.session.id, live_session.c.fence == lease.fence, _ALIVE)
    row = connection.execute(select(live_session).where(ours).with_for_update()).first()
    if row is None:
        raise LeaseLost
    return row


def _utterances(connection: Connection, session_id: str, first: int = 0) -> list[StoredUtterance]:
    these = and_(live_utterance.c.session_id == session_id, live_utterance.c.number >= first)
    rows = connection.execute(select(live_utterance).where(these).order_by(live_utterance.c.number))
    return [
        StoredUtterance(
            number=row.number,
            start=row.start,
            end=row.end,
            chunk=row.chunk,
            said=row.said,
            final=row.final,
            translation=row.translation,
        )
        for row in rows
    ]


def _utterance_values(session_id: str, one: StoredUtterance) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "number": one.number,
        "start": one.start,
        "end": one.end,
        "chunk": dict(one.chunk),
        "said": dict(one.said),
        "final": dict(one.final),
        "translation": dict(one.translation) if one.translation is not None else None,
    }


def _pieces(session_id: str) -> Any:
    columns = (live_piece.c.start, live_piece.c.size, live_piece.c.key)
    return select(*columns).where(live_piece.c.session_id == session_id).order_by(live_piece.c.start)


def _to_session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        owner=row.owner,
        options=StreamOptions.from_dict(row.options),
        params=row.params,
        warnings=row.warnings,
        acked=row.acked,
        stored=row.stored,
        utterances=row.utterances,
        created_at=row.created_at,
        consumer=row.consumer,
        job_id=row.job_id,
        ended=row.ended_at is not None,
    )


def _to_lease(row: Row[Any]) -> SessionLease:
    return SessionLease(session=_to_session(row), fence=row.fence)
