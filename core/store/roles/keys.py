"""Keys on SQL: who may come in."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select, update

from core.errors import KeyNotFound, NoAdminLeft
from core.keys import ADMIN, Key, KeyLimits, KeyState, Session
from core.store.roles.rows import Role
from core.store.tables import api_key, meta, session

STATE = "keys"
"""Key of `meta` that says which version of keys and sessions this is."""


class SqlKeys(Role):
    def add_key(self, key: Key) -> Key:
        row = self.database.insert(api_key).values(
            id=key.id,
            name=key.name,
            owner=key.owner,
            scopes=sorted(key.scopes),
            digest=key.digest,
            limits=key.limits.to_dict(),
            created_at=self.database.wall(),
            expires_at=key.expires_at,
        )
        with self.database.write() as connection:
            made = connection.execute(row.on_conflict_do_nothing(index_elements=["id"]).returning(api_key)).first()
            if made is None:
                raise ValueError(f"there is a key with the id {key.id} already")
            self._changed(connection)
            return _to_key(made)

    def keys(self) -> list[Key]:
        with self.database.read() as connection:
            return [
                _to_key(row) for row in connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id))
            ]

    def has_keys(self) -> bool:
        with self.database.read() as connection:
            return connection.execute(select(api_key.c.id).limit(1)).first() is not None

    def revoke(self, key_id: str, *, leave_admin: bool = False) -> Key:
        with self.database.write() as connection:
            this, standing = api_key.c.id == key_id, api_key.c.revoked_at.is_(None)
            if leave_admin:
                # all of them are locked, or two administrators could revoke each other at once
                good = or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > self.database.wall())
                keys = select(api_key.c.id, api_key.c.scopes).where(standing, good).order_by(api_key.c.id)
                admins = {row.id for row in connection.execute(keys.with_for_update()) if ADMIN in row.scopes}
                if admins == {key_id}:
                    raise NoAdminLeft
            connection.execute(update(api_key).where(this, standing).values(revoked_at=self.database.wall()))
            row = connection.execute(select(api_key).where(this)).first()
            if row is None:
                raise KeyNotFound
            connection.execute(delete(session).where(session.c.key_id == key_id))
            self._changed(connection)
            return _to_key(row)

    def key_state(self, known: str | None) -> KeyState | None:
        with self.database.read() as connection:
            version = str(connection.scalar(select(meta.c.value).where(meta.c.key == STATE)) or "")
            if version == known:
                return None
            keys = [_to_key(row) for row in connection.execute(select(api_key))]
            live = select(session).where(session.c.expires_at > self.database.wall())
            sessions = [
                Session(digest=row.digest, key_id=row.key_id, expires_at=row.expires_at)
                for row in connection.execute(live)
            ]
        return KeyState(
            version=version, keys={key.id: key for key in keys}, sessions={one.digest: one for one in sessions}
        )

    def used(self, key_ids: Collection[str]) -> None:
        with self.database.write() as connection:
            used = update(api_key).where(api_key.c.id.in_(key_ids))
            connection.execute(used.values(used_at=self.database.wall()))

    def open_session(self, one: Session) -> None:
        with self.database.write() as connection:
            connection.execute(delete(session).where(session.c.expires_at <= self.database.wall()))
            connection.execute(
                self.database.insert(session).values(digest=one.digest, key_id=one.key_id, expires_at=one.expires_at)
            )
            self._changed(connection)

    def close_session(self, digest: str) -> None:
        with self.database.write() as connection:
            if connection.execute(delete(session).where(session.c.digest == digest)).rowcount:
                self._changed(connection)

    def _changed(self, connection: Connection) -> None:
        version = str(uuid.uuid4())
        row = self.database.insert(meta).values(key=STATE, value=version)
        connection.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": version}))


def _to_key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        owner=row.owner,
        scopes=frozenset(row.scopes),
        digest=row.digest,
        limits=KeyLimits.from_dict(row.limits),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )
