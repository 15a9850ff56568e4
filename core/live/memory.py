"""Streams in memory: the twin of those in the tables, for tests of everything above them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from uuid_utils import uuid7

from core.errors import LeaseLost, LiveSessionEnded, LiveSessionNotFound, OffsetConflict
from core.live.sessions import RESUME_SECONDS, NewSession, Session, SessionLease, StoredUtterance, StreamAudio
from core.system.clock import BootClock, LeaseClock


class MemorySessions:
    """`LiveSessions` that forget everything with their process; of a job that one becomes there is the id alone.

    clock: of leases
    """

    def __init__(self, clock: LeaseClock | None = None) -> None:
        self._clock = clock or BootClock()
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._fences: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._utterances: dict[str, dict[int, StoredUtterance]] = {}
        self._pieces: dict[str, list[tuple[int, int, str]]] = {}

    def begin_session(self, new: NewSession, *, consumer: str, lease_seconds: float) -> SessionLease:
        with self._lock:
            if new.id not in self._sessions:
                self._sessions[new.id] = Session(
                    id=new.id,
                    owner=new.owner,
                    options=new.options,
                    params=dict(new.params),
                    warnings=list(new.warnings),
                    acked=0,
                    stored=0,
                    utterances=0,
                    created_at=datetime.now(UTC),
                    consumer=consumer,
                    job_id=None,
                    ended=False,
                )
                self._fences[new.id] = 1
                self._due[new.id] = self._clock.now() + lease_seconds + RESUME_SECONDS
                self._utterances[new.id], self._pieces[new.id] = {}, []
            session = self._sessions[new.id]
            if session.ended or self._fences[new.id] != 1:
                raise LeaseLost
            return SessionLease(session=session, fence=1)

    def resume_session(
        self, session_id: str, *, owner: str | None, consumer: str, lease_seconds: float
    ) -> SessionLease:
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or session.owner != owner:
                raise LiveSessionNotFound
            if session.ended:
                if self._due[session_id] <= self._clock.now():
                    raise LiveSessionEnded
                return self._changed(session)
            self._fences[session_id] += 1
            self._due[session_id] = self._clock.now() + lease_seconds + RESUME_SECONDS
            return self._changed(session, consumer=consumer)

    def renew_session(self, lease: SessionLease, *, lease_seconds: float) -> None:
        with self._lock:
            self._due[self._held(lease).id] = self._clock.now() + lease_seconds + RESUME_SECONDS

    def leave_session(self, lease: SessionLease, *, seconds: float = RESUME_SECONDS) -> None:
        with self._lock:
            self._due[self._held(lease).id] = self._clock.now() + seconds

    def keep_utterances(self, lease: SessionLease, utterances: list[StoredUtterance], *, acked: int) -> SessionLease:
        with self._lock:
            session = self._held(lease)
            for one in utterances:
                self._utterances[session.id].setdefault(one.number, one)
            following = max([session.utterances, *(one.number + 1 for one in utterances)])
            return self._changed(session, acked=max(session.acked, acked), utterances=following)

    def keep_translation(self, lease: SessionLease, number: int, translation: Mapping[str, Any]) -> None:
        with self._lock:
            said = self._utterances[self._held(lease).id]
            if number in said:
                said[number] = replace(said[number], translation=dict(translation))

    def keep_piece(self, lease: SessionLease, *, start: int, size: int, key: str) -> SessionLease:
        with self._lock:
            session = self._held(lease)
            pieces = self._pieces[session.id]
            if session.stored != start:
                if (start, size, key) in pieces:
                    return self._changed(session)
                raise OffsetConflict(f"The stream has {session.stored} bytes; a piece at {start} does not follow them.")
            pieces.append((start, size, key))
            return self._changed(session, stored=start + size)

    def utterances(self, session_id: str, *, first: int = 0) -> list[StoredUtterance]:
        with self._lock:
            said = self._utterances.get(session_id, {})
            return [said[number] for number in sorted(said) if number >= first]

    def pieces(self, session_id: str) -> list[tuple[int, int, str]]:
        with self._lock:
            return list(self._pieces.get(session_id, ()))

    def stream_audio(self, session_id: str) -> StreamAudio | None:
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                return None
            keys = tuple(key for _, _, key in self._pieces[session_id])
            return StreamAudio(keys=keys, size=session.stored, channels=session.channels)

    def end_session(self, lease: SessionLease, *, seconds: float = 0.0) -> str | None:
        with self._lock:
            session = self._sessions.get(lease.session.id)
            if session is None or session.ended:
                return session.job_id if session else None
            return self._end(self._held(lease), seconds)

    def sessions(self, owner: str | None, *, all_owners: bool = False) -> list[Session]:
        with self._lock:
            alive = [one for one in self._sessions.values() if not one.ended and (all_owners or one.owner == owner)]
            return sorted(alive, key=lambda one: (one.created_at, one.id), reverse=True)

    def end_left_sessions(self, *, at_most: int = 100) -> list[str]:
        with self._lock:
            now = self._clock.now()
            left = [one.id for one in self._sessions.values() if not one.ended and self._due[one.id] < now]
            for session_id in left[:at_most]:
                self._end(self._sessions[session_id])
            return left[:at_most]

    def _end(self, session: Session, seconds: float = 0.0) -> str | None:
        job_id = str(uuid7()) if session.options.save and session.stored else None
        if job_id is None and not seconds:
            self._utterances[session.id], self._pieces[session.id] = {}, []
        self._due[session.id] = self._clock.now() + seconds
        self._fences[session.id] += 1
        self._sessions[session.id] = replace(session, ended=True, job_id=job_id)
        return job_id

    def _held(self, lease: SessionLease) -> Session:
        session = self._sessions.get(lease.session.id)
        if session is None or session.ended or self._fences[session.id] != lease.fence:
            raise LeaseLost
        return session

    def _changed(self, session: Session, **values: Any) -> SessionLease:
        self._sessions[session.id] = changed = replace(session, **values)
        return SessionLease(session=changed, fence=self._fences[session.id])
