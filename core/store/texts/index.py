"""The search index on SQL: for each job that is not deleted, one row of `search` and one of `search_index`.

`search` has what a hit is shown with, and its words in order; `search_index` finds rows by their words: an FTS5 table on SQLite,
a `tsvector` on PostgreSQL. Both are given words that `core.transcript.search` has made, so that all databases find the same.
Of an owner's job each word is there a second time, marked with its owner: a search among one's own jobs touches nothing of others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    bindparam,
    column,
    delete,
    select,
    table,
    text,
    update,
)

from core.store.database import Database
from core.store.tables import job, search
from core.transcript.search.document import Document, spaced
from core.transcript.search.words import words_of

FOUND = table("search_index", column("rowid", BigInteger), column("terms", Text))
"""Made in the migrations: no two databases have the same."""

BREAK = "|"
"""Stands between name, metadata and text: no word, so that no phrase reaches across."""

MOST_BYTES = 1_000_000
"""Of the different words of one job, as a `tsvector` takes just under 1 MiB: 40,000, more than a day of talk has. The others
are not found."""

# made once: making a statement takes longer than executing it
_ADD = text(
    "INSERT INTO search (id, job_id, text, places, words, due) VALUES (:id, :job_id, '', '[]', :words, false) "
    "ON CONFLICT (id) DO NOTHING"
)
_PUT_ARRAY = text("INSERT INTO search_index (rowid, terms) VALUES (:number, array_to_tsvector(CAST(:terms AS text[])))")
_PUT_TEXT = text("INSERT INTO search_index (rowid, terms) VALUES (:number, :terms)")
_DUE = update(search).where(search.c.job_id == bindparam("of_job")).values(due=True)


def owner_mark(owner: str) -> str:
    """What the words begin with that are there for this owner alone: as no word does, and always as long."""
    return f"{hashlib.sha256(owner.encode()).hexdigest()[:8]}_"


def add(connection: Connection, database: Database, row: Row[Any]) -> None:
    """A new job, to be found by its name. row: of the table `job`, as it is now"""
    number, words = _moment(row.created_at), _words(row, None)
    values = {"job_id": row.id, "words": _line(words)}
    while not connection.execute(_ADD, {"id": number, **values}).rowcount:
        number += 1  # several in one millisecond
    _put(connection, database, number, _terms(row.owner, words))


def write(connection: Connection, database: Database, row: Row[Any], document: Document | None) -> None:
    """What a job is found by. row: of the table `job`, held by the caller's transaction; None: by its name alone"""
    number = connection.scalar(select(search.c.id).where(search.c.job_id == row.id))
    if number is None:
        add(connection, database, row)
        number = connection.scalar(select(search.c.id).where(search.c.job_id == row.id))
    words = _words(row, document)
    shown = {"text": document.text, "places": list(document.places)} if document else {"text": "", "places": []}
    connection.execute(update(search).where(search.c.id == number).values(**shown, words=_line(words), due=False))
    connection.execute(delete(FOUND).where(FOUND.c.rowid == number))
    _put(connection, database, int(number or 0), _terms(row.owner, words))


def drop(connection: Connection, which: ColumnElement[bool]) -> None:
    """They are not found any more. which: of the table `job`"""
    numbers = select(search.c.id).join(job, job.c.id == search.c.job_id).where(which)
    connection.execute(delete(FOUND).where(FOUND.c.rowid.in_(numbers)))
    connection.execute(delete(search).where(search.c.job_id.in_(select(job.c.id).where(which))))


def mark(connection: Connection, database: Database, job_id: str) -> None:
    """There is a new text, to be written when somebody has time."""
    if not connection.execute(_DUE, {"of_job": job_id}).rowcount:
        # made by an older version beside this one, which knows of no index
        add(connection, database, connection.execute(select(job).where(job.c.id == job_id)).one())
        connection.execute(_DUE, {"of_job": job_id})


def mark_all(connection: Connection, database: Database) -> int:
    """Every job is to be written anew; what is missing is added. Returns how many."""
    drop(connection, job.c.deleted_at.is_not(None))
    missing = select(job).where(job.c.deleted_at.is_(None), job.c.id.not_in(select(search.c.job_id)))
    for row in connection.execute(missing.order_by(job.c.created_at, job.c.id)).all():
        add(connection, database, row)
    return connection.execute(update(search).values(due=True)).rowcount


def document_of(row: Row[Any]) -> Document:
    """row: of the table `search`"""
    return Document(text=row.text, places=row.places, words=row.words.rpartition(f" {BREAK}")[2] or " ")


def _words(row: Row[Any], document: Document | None) -> list[list[str]]:
    """Of the name, of the metadata, of the text."""
    name, own = (
        [found.word for found in words_of(said)] for said in (row.filename, " ".join(_said(row.params.get("metadata"))))
    )
    return [name, own, document.words.split() if document else []]


def _said(value: Any) -> Iterator[str]:
    """Names and values in an object of JSON, all as text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _said(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _said(inner)
    elif value is not None:
        yield str(value)


def _line(words: list[list[str]]) -> str:
    return BREAK.join(spaced(part) for part in words)


def _terms(owner: str | None, words: list[list[str]]) -> list[str]:
    terms: list[str] = []
    room, own = MOST_BYTES, "" if owner is None else owner_mark(owner)
    for word in dict.fromkeys(word for part in words for word in part):
        forms = [word] if owner is None else [word, own + word]
        room -= sum(len(form.encode()) for form in forms)
        if room < 0:
            break
        terms += forms
    return terms


def _put(connection: Connection, database: Database, number: int, terms: list[str]) -> None:
    if database.postgres:
        connection.execute(_PUT_ARRAY, {"number": number, "terms": terms})
    else:
        connection.execute(_PUT_TEXT, {"number": number, "terms": " ".join(terms)})


def _moment(created_at: datetime) -> int:
    """Rows are numbered by the time, in ms: in order, and a number tells nobody how many others there are."""
    return int(created_at.timestamp() * 1000)
