"""For browsers: a key is shown once, and a cookie takes its place for half a day."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

from fastapi import APIRouter, Request, Response

from api.access.credentials import COOKIE
from api.access.identity import Identity
from api.access.scopes import needs
from api.deps import NO_QUERY, PREFIX, PartsDep, Who
from api.http.problems import responses
from api.schemas import SessionBody
from core.errors import Forbidden

router = APIRouter(prefix=PREFIX, tags=["session"], dependencies=[needs(), NO_QUERY], responses=responses("validation"))


class CookieAttributes(TypedDict):
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["strict"]


@router.post("/session")
def log_in(who: Who, parts: PartsDep, request: Request, response: Response) -> SessionBody:
    """Send the key in a header, as with any request, and get a cookie that stands for it.

    Where nobody needs a key, no cookie is set.
    """
    if who.session is not None:
        raise Forbidden("A session is begun with a key.")
    if who.key_id is None:
        return _body(who)
    cookie, session = parts.sessions.open(who.key_id)
    response.set_cookie(COOKIE, cookie, expires=session.expires_at, **_attributes(request))
    return _body(who, session.expires_at)


@router.get("/session")
def get_session(who: Who) -> SessionBody:
    """Who asks, and what for."""
    return _body(who)


@router.delete("/session", status_code=204)
def log_out(who: Who, parts: PartsDep, request: Request, response: Response) -> None:
    """End the session; its cookie opens nothing any more."""
    if who.session is not None:
        parts.sessions.close(who.session)
    response.delete_cookie(COOKIE, **_attributes(request))


def _attributes(request: Request) -> CookieAttributes:
    return {
        "path": str(request.scope.get("root_path", "")).rstrip("/") or "/",
        "secure": request.url.scheme == "https",
        "httponly": True,
        "samesite": "strict",
    }


def _body(who: Identity, expires_at: datetime | None = None) -> SessionBody:
    return SessionBody(needed=who.key_id is not None, owner=who.owner, scopes=sorted(who.scopes), expires_at=expires_at)
