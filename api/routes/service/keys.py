"""Keys, for administrators: as `parascribe keys` makes, lists and revokes them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.access.identity import Identity
from api.access.scopes import needs
from api.deps import NO_QUERY, NO_REPEATS, PREFIX, Base, PartsDep, Who
from api.http.json_body import SmallBody
from api.http.problems import responses
from api.schemas import Body
from core.keys import ADMIN, Key, KeyLimits, KeyStanding, key_of, name_of, new_token

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["keys"], dependencies=[needs(ADMIN)], route_class=SmallBody)

MOST = 10**9
"""Of any limit, and a hundred years short of the last date in seconds."""

KeyId = Annotated[str, Path(description="Id of the key.", max_length=64)]


class LimitsForm(BaseModel):
    """How much a key may ask for. null: what the installation says (`LIMIT_*`); 0: as much as it likes."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: int | None = Field(default=None, ge=0, le=MOST)
    jobs_waiting: int | None = Field(default=None, ge=0, le=MOST, description="Queued at once, of the key's owner.")
    audio_seconds_per_day: float | None = Field(
        default=None, ge=0, le=MOST, description="Audio of the owner's jobs of the last 24 hours."
    )
    upload_mb: float | None = Field(default=None, ge=0, le=MOST, description="Size of one file.")

    @staticmethod
    def of(limits: KeyLimits) -> LimitsForm:
        return LimitsForm.model_validate(limits.to_dict())


class KeyForm(BaseModel):
    """What is said of a new key; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=128, description="Who or what it is for: no comma, no colon.", examples=["anna"]
    )
    owner: str | None = Field(
        None, min_length=1, max_length=128, description="Whose jobs its jobs are; null: those of its name."
    )
    scopes: set[Literal["jobs", "models", "admin"]] = Field(
        {"jobs", "models"}, min_length=1, description="What it is for. `admin` includes the others."
    )
    expires_in: float | None = Field(
        None, gt=0, le=MOST, description="Seconds that it is good for; null: for ever.", examples=[7776000]
    )
    limits: LimitsForm = LimitsForm()

    @field_validator("name", "owner")
    @classmethod
    def _is_name(cls, word: str | None) -> str | None:
        return None if word is None else name_of(word)


class ForceQuery(BaseModel):
    """Parameters of what can leave nobody in charge; others are refused."""

    model_config = ConfigDict(extra="forbid")

    force: bool = Field(False, description="Even if no key with the scope `admin` is left then.")


class KeyBody(Body):
    """What is known of a key: nothing that opens anything."""

    id: str = Field(examples=["7x2k90bq"])
    name: str = Field(examples=["anna"])
    owner: str = Field(description="Whose jobs its jobs are.", examples=["anna"])
    scopes: list[str] = Field(examples=[["jobs", "models"]])
    limits: LimitsForm
    state: KeyStanding
    created_at: datetime | None = Field(description="null for one of API_KEYS.")
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None = Field(description="To within a minute or so; null also for one of API_KEYS.")
    in_settings: bool = Field(description="From API_KEYS: it ends when it is taken out there.")
    current: bool = Field(description="The one that this request was made with.")

    @staticmethod
    def of(key: Key, who: Identity) -> KeyBody:
        return KeyBody(
            id=key.id,
            name=key.name,
            owner=key.owner,
            scopes=sorted(key.scopes),
            limits=LimitsForm.of(key.limits),
            state=key.state_at(datetime.now(UTC)),
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            used_at=key.used_at,
            in_settings=key.created_at is None,
            current=key.id == who.key_id,
        )


class NewKeyBody(KeyBody):
    """With the key itself, which is shown once."""

    key: str = Field(examples=["psk_7x2k90bq_" + "x" * 32])


class KeysBody(Body):
    """All there ever were, oldest first, then those of API_KEYS."""

    items: list[KeyBody]
    limits: LimitsForm = Field(description="Of keys that say nothing of their own (`LIMIT_*`).")


@router.get("/keys", dependencies=[NO_QUERY], responses=responses("validation"))
def list_keys(parts: PartsDep, who: Who) -> KeysBody:
    """Who may come in, what for and how much."""
    return KeysBody(
        items=[KeyBody.of(key, who) for key in parts.keys.list()], limits=LimitsForm.of(parts.deps.settings.key_limits)
    )


@router.post(
    "/keys",
    status_code=201,
    dependencies=[NO_REPEATS],
    responses=responses("validation", "no_admin_left", "too_large", "upload_too_slow"),
)
def create_key(
    form: KeyForm, query: Annotated[ForceQuery, Query()], parts: PartsDep, who: Who, base: Base, response: Response
) -> NewKeyBody:
    """Make a key. It is shown now and never again: what is kept of it is a checksum.

    **From the first one on nobody uses this service without a key**, whoever asks now included. It has to have the scope `admin`
    (else `no_admin_left`), unless `force` says so.
    """
    token = new_token()
    expires_at = None if form.expires_in is None else datetime.now(UTC) + timedelta(seconds=form.expires_in)
    limits = KeyLimits(**form.limits.model_dump())
    key = key_of(token, form.name, owner=form.owner, scopes=form.scopes, limits=limits, expires_at=expires_at)
    made = parts.keys.add(key, who, force=query.force)
    log.info("Key %s was made by %s", made.id, f"key {who.key_id}" if who.key_id else "somebody without one: the first")
    response.headers["Location"] = f"{base}/keys"
    response.headers["Cache-Control"] = "no-store"
    return NewKeyBody(**KeyBody.of(made, who).model_dump(), key=token)


@router.delete(
    "/keys/{key_id}",
    dependencies=[NO_REPEATS],
    responses=responses("key_not_found", "key_in_settings", "no_admin_left", "validation"),
)
def revoke_key(key_id: KeyId, query: Annotated[ForceQuery, Query()], parts: PartsDep, who: Who) -> KeyBody:
    """End a key and the sessions that were begun with it, within a second or two. Its jobs stay, and it stays in the list.

    The last one with the scope `admin` is not revoked (`no_admin_left`), unless `force` says so.
    """
    revoked = parts.keys.revoke(key_id, who, force=query.force)
    log.info("Key %s was revoked by key %s", revoked.id, who.key_id)
    return KeyBody.of(revoked, who)
