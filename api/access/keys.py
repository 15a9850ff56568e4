"""Keys of the table and of API_KEYS, and the sessions of browsers: the authenticator in use, and what administrators do."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from starlette.requests import HTTPConnection

from api.access.credentials import Credential, credential_of, for_this_machine
from api.access.identity import Identity, Open
from api.access.key_table import KeyTable
from core.errors import Forbidden, KeyInSettings, KeyNotFound, NoAdminLeft, Unauthorized
from core.keys import ADMIN, NO_LIMITS, TOKEN, Key, KeyLimits, KeyState, Session, digest
from core.store.protocols import Keys

SESSION_HOURS = 12
"""A browser shows its key again after this."""

NOBODYS = digest("")
"""Compared with where there is no such key: that takes as long as with one."""

ELSEWHERE = (
    "Without keys this service answers only requests for localhost, and no other page's. Behind a proxy it needs a key "
    "(parascribe keys create), or ALLOW_OPEN=true."
)

Now = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class KeyAuthenticator:
    """Where there is any key, everybody needs one; where there is none, everybody is the local owner.

    limits: of keys that say nothing of their own. open_without_keys: whether people may come in while there is none;
    this_machine_only: then only who asks for one of this machine's own names
    """

    def __init__(
        self,
        table: KeyTable,
        *,
        limits: KeyLimits = NO_LIMITS,
        open_without_keys: bool = True,
        this_machine_only: bool = False,
        now: Now = _now,
    ) -> None:
        self._this_machine_only = this_machine_only
        self._table, self._limits, self._open_without_keys, self._now = table, limits, open_without_keys, now
        self._identities: dict[str, tuple[Key, Identity]] = {}  # making one takes longer than all the rest

    async def identify(self, request: HTTPConnection) -> Identity:
        state = await self._table.state()
        if not state.keys and self._open_without_keys:
            if self._this_machine_only and not for_this_machine(request):
                raise Forbidden(ELSEWHERE)
            return Open.LOCAL
        credential = credential_of(request)
        identity = self._known(state, credential)
        if identity is None:
            # a key or a session may be younger than what is known here; for all that fails alike, so that time tells nothing
            identity = self._known(await self._table.look(), credential)
        if identity is None:
            raise Unauthorized
        return identity

    def _known(self, state: KeyState, credential: Credential) -> Identity | None:
        if credential.cookie:
            session = state.sessions.get(digest(credential.text))
            if session is None or session.expires_at <= self._now() or session.key_id not in state.keys:
                return None
            return self._admitted(state.keys[session.key_id], session.digest)
        found = TOKEN.fullmatch(credential.text)
        key_id, secret = found.groups() if found else ("", credential.text)
        key = state.keys.get(key_id)
        right = hmac.compare_digest(digest(secret), NOBODYS if key is None else key.digest)
        return self._admitted(key, None) if key is not None and right else None

    def _admitted(self, key: Key, session: str | None) -> Identity:
        """Raises Unauthorized. It says why: the secret was right."""
        if not key.good_at(self._now()):
            raise Unauthorized("This key has been revoked." if key.revoked_at else "This key has expired.")
        self._table.used(key)
        made_of, identity = self._identities.get(key.id, (None, None))
        if identity is None or made_of is not key:
            limits = key.limits.over(self._limits)
            identity = Identity(owner=key.owner, scopes=key.scopes, key_id=key.id, limits=limits)
            self._identities[key.id] = key, identity
        return identity if session is None else replace(identity, session=session)


class Sessions:
    """Cookies for browsers, which then need not keep the key."""

    def __init__(self, store: Keys, *, now: Now = _now) -> None:
        self._store, self._now = store, now

    def open(self, key_id: str) -> tuple[str, Session]:
        """A new cookie's value, and what is kept of it."""
        cookie = secrets.token_urlsafe(32)
        session = Session(digest=digest(cookie), key_id=key_id, expires_at=self._now() + timedelta(hours=SESSION_HOURS))
        self._store.open_session(session)
        return cookie, session

    def close(self, session: str) -> None:
        """session: the digest"""
        self._store.close_session(session)


class KeptKeys:
    """What administrators do with keys. given: those of API_KEYS, which are in no table"""

    def __init__(self, store: Keys, given: Sequence[Key]) -> None:
        self._store, self._given = store, tuple(given)

    def list(self) -> tuple[Key, ...]:
        """All there ever were, oldest first, then those of API_KEYS."""
        return (*self._store.keys(), *self._given)

    def is_first(self, who: Identity) -> bool:
        """Whether a key that is made now would be the first. Raises Unauthorized for who was let in without one, when there has
        been one for a moment."""
        if who.key_id is not None:
            return False
        if self._store.has_keys():
            raise Unauthorized
        return True

    def add(self, key: Key, who: Identity, *, force: bool) -> Key:
        """Keep a new one. Raises NoAdminLeft for a first one that is none of an administrator. force: without asking that"""
        if self.is_first(who) and ADMIN not in key.scopes and not force:
            raise NoAdminLeft
        return self._store.add_key(key)

    def revoke(self, key_id: str, who: Identity, *, force: bool) -> Key:
        """End one. Raises KeyNotFound, KeyInSettings, NoAdminLeft. force: the last administrator's too"""
        if any(key.id == key_id for key in self._given):
            raise KeyInSettings
        if self.is_first(who):
            raise KeyNotFound
        return self._store.revoke(key_id, leave_admin=not force)
