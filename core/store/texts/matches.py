"""Which jobs have what somebody looks for, on SQL: newest first, page by page, with bounded work for each page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Text, and_, bindparam, case, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import TSQUERY

from core.errors import ValidationFailed
from core.store.database import Database
from core.store.tables import job, search
from core.store.texts.index import FOUND, owner_mark
from core.transcript.search.query import Query

EXAMINED = 1000
"""Jobs that have all the words and are looked at for the phrases and the status, for one page: it may then have fewer, or
none, and others after it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Numbers of rows of `search`, and the last of those that were looked at; None: there are no more."""

    numbers: Sequence[int]
    reached: int | None


def matching(
    connection: Connection,
    database: Database,
    query: Query,
    *,
    scope: str | None,
    conditions: Sequence[ColumnElement[bool]],
    narrow: bool,
    before: int | None,
    limit: int,
) -> Page:
    """The next of those jobs that fulfil the query and the conditions.

    scope: the owner whose words are looked through; None: everybody's
    narrow: the conditions may leave out some that the words are right for
    """
    examined = EXAMINED if narrow or query.phrases else limit + 1
    words = select(FOUND.c.rowid).where(_has_words(database, query, scope))
    if before is not None:
        words = words.where(FOUND.c.rowid < before)
    found = list(connection.scalars(words.order_by(FOUND.c.rowid.desc()).limit(examined)))
    if not found:
        return Page(numbers=(), reached=None)
    # as a case: by an owner's or a state's index SQLite would walk all that the owner has
    fulfilled = case((and_(true(), *conditions), 1), else_=0) == 1
    right = (
        select(search.c.id)
        .join(job, job.c.id == search.c.job_id)
        .where(search.c.id.in_(found), fulfilled, *_has_phrases(database, query))
        .order_by(search.c.id.desc())
        .limit(limit + 1)
    )
    numbers: list[int] = list(connection.scalars(right))
    if len(numbers) > limit:
        return Page(numbers=numbers[:limit], reached=numbers[limit - 1])
    return Page(numbers=numbers, reached=found[-1] if len(found) == examined else None)


def cursor(page: Page) -> str | None:
    return None if page.reached is None else str(page.reached)


def read_cursor(given: str | None) -> int | None:
    """Raises ValidationFailed."""
    if given is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", given):
        raise ValidationFailed("`after` is not a cursor of this search.")
    return int(given)


def _has_words(database: Database, query: Query, scope: str | None) -> ColumnElement[bool]:
    mark = "" if scope is None else owner_mark(scope)
    terms = [(mark + word, begins) for word, begins in query.terms]
    # there is nothing in a word that either database would take for more than a letter
    if database.postgres:
        asked = " & ".join(f"'{word}':*" if begins else f"'{word}'" for word, begins in terms)
        return FOUND.c.terms.op("@@", is_comparison=True)(cast(bindparam(None, asked, Text, unique=True), TSQUERY))
    asked = " AND ".join(f'"{word}"*' if begins else f'"{word}"' for word, begins in terms)
    return literal_column("search_index", Text).op("MATCH", is_comparison=True)(
        bindparam(None, asked, Text, unique=True)
    )


def _has_phrases(database: Database, query: Query) -> list[ColumnElement[bool]]:
    where = func.strpos if database.postgres else func.instr
    return [where(search.c.words, needle.spelled) > 0 for needle in query.phrases]
