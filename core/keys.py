"""Keys: who may come in over the network, what for and how much. A key is shown once; what is kept of it opens nothing."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

JOBS, MODELS, ADMIN = "jobs", "models", "admin"

SCOPES = frozenset({JOBS, MODELS, ADMIN})
"""All there are: one's own jobs; the models; everybody's jobs, and the figures. `admin` includes the others."""

DEFAULT_SCOPES = frozenset({JOBS, MODELS})
"""Those of a key that is made without naming any."""

ID_CHARACTERS = string.ascii_lowercase + string.digits
SECRET_CHARACTERS = string.ascii_letters + string.digits
ID_LENGTH, SECRET_LENGTH = 8, 32
"""32 letters and digits are 190 bits: no guessing, and a plain SHA-256 is enough to keep them by."""

TOKEN = re.compile(rf"psk_([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})", re.ASCII)
"""As it is handed out: its id, and the secret."""

NAME = re.compile(r"[^\x00-\x1f\x7f,:]{1,128}")
"""Of a key and of an owner."""

KeyStanding = Literal["good", "expired", "revoked"]


@dataclass(frozen=True, kw_only=True)
class KeyLimits:
    """How much one key may ask for. None: what the installation says (`LIMIT_*`); 0: as much as it likes."""

    requests_per_minute: int | None = None
    #: queued at once, of the key's owner
    jobs_waiting: int | None = None
    #: seconds of audio of the owner's jobs of the last 24 hours
    audio_seconds_per_day: float | None = None
    #: size of one file, in MiB
    upload_mb: float | None = None

    def over(self, defaults: KeyLimits) -> KeyLimits:
        """What is None here, filled in."""
        return replace(defaults, **{name: value for name, value in asdict(self).items() if value is not None})

    def to_dict(self) -> dict[str, float]:
        """What is said, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> KeyLimits:
        """Names that a newer version may know are left out."""
        return KeyLimits(**{name: values[name] for name in LIMITS if name in values})


LIMITS = tuple(asdict(KeyLimits()))
NO_LIMITS = KeyLimits(requests_per_minute=0, jobs_waiting=0, audio_seconds_per_day=0.0, upload_mb=0.0)


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is known of a key."""

    id: str
    name: str
    #: whose jobs its jobs are; several keys may be one owner's
    owner: str
    scopes: frozenset[str]
    #: SHA-256 of the secret part, in hex
    digest: str = field(repr=False)
    limits: KeyLimits = field(default_factory=KeyLimits)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    #: to within a minute or so
    used_at: datetime | None = None

    def good_at(self, now: datetime) -> bool:
        """Whether it lets anybody in."""
        return self.state_at(now) == "good"

    def state_at(self, now: datetime) -> KeyStanding:
        """How it stands."""
        if self.revoked_at is not None:
            return "revoked"
        return "good" if self.expires_at is None or now < self.expires_at else "expired"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A browser that has shown its key: it has a cookie instead."""

    #: SHA-256 of the cookie, in hex
    digest: str = field(repr=False)
    key_id: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """All keys and sessions as they stood at one moment. version: another one whenever anything of it is changed"""

    version: str
    #: by id, those that are revoked or expired too
    keys: Mapping[str, Key]
    #: by digest
    sessions: Mapping[str, Session]


def new_token() -> str:
    """A key nobody has yet: `psk_<id>_<secret>`."""
    return f"psk_{_random(ID_CHARACTERS, ID_LENGTH)}_{_random(SECRET_CHARACTERS, SECRET_LENGTH)}"


def key_of(
    token: str,
    name: str,
    *,
    owner: str | None = None,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    limits: KeyLimits | None = None,
    expires_at: datetime | None = None,
) -> Key:
    """What is to be kept of a token. owner: None = the name, so that two keys of one name are one owner's

    Raises ValueError for what is no token, no name or no scope.
    """
    found = TOKEN.fullmatch(token)
    if found is None:
        raise ValueError("a key is psk_<8 letters or digits>_<32 letters or digits>")
    for word in (name, name if owner is None else owner):
        name_of(word)
    if unknown := sorted(set(scopes) - SCOPES):
        raise ValueError(f"no such scope: {', '.join(unknown)}; there are {', '.join(sorted(SCOPES))}")
    return Key(
        id=found[1],
        name=name,
        owner=name if owner is None else owner,
        scopes=frozenset(scopes),
        digest=digest(found[2]),
        limits=limits or KeyLimits(),
        expires_at=expires_at,
    )


def name_of(word: str) -> str:
    """The word, which may be a name of a key or of an owner. Raises ValueError."""
    if not NAME.fullmatch(word) or word != word.strip():
        raise ValueError(f"{word!r} is no name: 1 to 128 characters, no comma and no colon")
    return word


def keys_in(text: str) -> tuple[Key, ...]:
    """Of `name:psk_...`, separated by commas or, in a file, by lines. Raises ValueError without showing any of it."""
    keys = []
    for number, part in enumerate(filter(str.strip, text.replace("\n", ",").split(",")), 1):
        name, _, token = part.strip().partition(":")
        try:
            keys.append(key_of(token.strip(), name.strip()))
        except ValueError:
            raise ValueError(f"number {number} is not name:psk_<8 letters or digits>_<32 letters or digits>") from None
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("two keys have the same id")
    return tuple(keys)


def masked(text: str) -> str:
    """Without the secrets of keys, for logs: their ids stay."""
    return TOKEN.sub(r"psk_\1_...", text) if "psk_" in text else text


def digest(secret: str) -> str:
    """SHA-256 in hex, as it is kept of a secret that is random enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _random(characters: str, length: int) -> str:
    return "".join(secrets.choice(characters) for _ in range(length))
