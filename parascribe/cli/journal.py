"""What became of which file, kept across runs of the command line: a small SQLite database in the user's state folder.

It is written before and after each step, so that neither kill -9 nor Ctrl-C makes a file be done twice or be forgotten.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import platformdirs

from parascribe.client.errors import ClientError

FILE = "files.db"
INTERRUPTED = "interrupted"
"""The code of a file whose job a Ctrl-C has cancelled."""
WAIT_SECONDS = 30.0
"""For another command that writes at the moment."""

_TABLES = """
CREATE TABLE IF NOT EXISTS file (
    request TEXT PRIMARY KEY, version TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL,
    job_id TEXT, done TEXT NOT NULL DEFAULT '', code TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS output (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, made_from TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """A file as it is at present, and what is asked of it. Of another version it is another request in the same place."""

    path: str
    id: str
    version: str
    #: how its transcripts look, which is no matter of the job
    look: str

    @classmethod
    def of(
        cls, file: Path | str, params: Mapping[str, Any], look: Mapping[str, Any], *, service: str, kept: bool
    ) -> Self:
        """Raises OSError.

        file: one on disk, or an address; kept: what is done stays done, and is not asked for anew by the next run
        """
        path = file if isinstance(file, str) else str(file.absolute())
        asked = json.dumps([service, path, kept, params], sort_keys=True)
        return cls(
            path=path.partition("?")[0] if isinstance(file, str) else path,
            id=hashlib.sha256(asked.encode()).hexdigest(),
            version="" if isinstance(file, str) else stamp_of(file.stat()),
            look=json.dumps(look, sort_keys=True),
        )

    @property
    def made_from(self) -> str:
        """Says of a transcript what it was made from."""
        return f"{self.id} {self.version} {self.look}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a request stands. key: for its upload; job_id: when there is one; done: formats that were delivered; code: why it failed"""

    key: str
    job_id: str | None
    done: frozenset[str]
    code: str | None

    @property
    def gave_up(self) -> bool:
        """It failed, and not because of a Ctrl-C."""
        return self.code not in (None, INTERRUPTED)


def stamp_of(found: os.stat_result) -> str:
    """By which it is told whether a file has changed: size and time of change."""
    return f"{found.st_size}:{found.st_mtime_ns}"


class JournalFault(ClientError):
    """What was done cannot be noted."""


class Journal:
    """Safe to use from several threads, and by several commands at a time. Every method may raise JournalFault."""

    def __init__(self, path: Path | None = None) -> None:
        """path: None = the user's state folder. Raises JournalFault when it cannot be kept there."""
        path = path or state_folder() / FILE
        self._where = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.executescript(_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def entry(self, request: FileRequest) -> Entry:
        """How it stands; a new one when nothing is known of this version. What another command began is taken up."""
        self._run(
            "INSERT INTO file (request, version, path, key) VALUES (?, ?, ?, ?) ON CONFLICT (request) DO UPDATE SET "
            "version = excluded.version, key = excluded.key, job_id = NULL, done = '', code = NULL "
            "WHERE version <> excluded.version",
            (request.id, request.version, _text(request.path), str(uuid.uuid4())),
        )
        found = self.known(request)
        return found or self.entry(request)  # another command forgot it at this moment

    def known(self, request: FileRequest) -> Entry | None:
        """How it stands, if anything is known."""
        rows = self._run(
            "SELECT key, job_id, done, code FROM file WHERE request = ? AND version = ?", (request.id, request.version)
        )
        for key, job_id, done, code in rows:
            return Entry(key=key, job_id=job_id, done=frozenset(done.split()), code=code)
        return None

    def sent(self, request: FileRequest, job_id: str) -> None:
        """There is a job for it."""
        self._set(request, "job_id = ?, code = NULL", job_id)

    def done(self, request: FileRequest, formats: Collection[str]) -> None:
        """These were delivered."""
        before = self.known(request)
        self._set(request, "done = ?, code = NULL", " ".join(sorted({*formats} | (before.done if before else set()))))

    def failed(self, request: FileRequest, code: str) -> None:
        """It is not tried again by itself."""
        self._set(request, "code = ?", code)

    def renew(self, request: FileRequest) -> Entry:
        """Begin from the beginning."""
        self.forget(request)
        return self.entry(request)

    def forget(self, request: FileRequest) -> None:
        """Whoever asks next begins from the beginning."""
        self._run("DELETE FROM file WHERE request = ? AND version = ?", (request.id, request.version))

    def wrote(self, output: Path, request: FileRequest) -> None:
        """This transcript was written by us. Says so as long as nobody changes it."""
        values = (_text(str(output.absolute())), stamp_of(output.stat()), request.made_from)
        self._run("INSERT OR REPLACE INTO output (path, stamp, made_from) VALUES (?, ?, ?)", values)

    def made_from(self, output: Path) -> str | None:
        """`FileRequest.made_from` of what it was made from; None for what is not ours, or not as we wrote it."""
        rows = self._run("SELECT stamp, made_from FROM output WHERE path = ?", (_text(str(output.absolute())),))
        with contextlib.suppress(OSError):  # a link into nowhere, for one
            return next((made_from for stamp, made_from in rows if stamp == stamp_of(output.stat())), None)
        return None

    def _set(self, request: FileRequest, what: str, value: str) -> None:
        self._run(f"UPDATE file SET {what} WHERE request = ? AND version = ?", (value, request.id, request.version))  # noqa: S608 (what: a constant)

    def _run(self, statement: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> JournalFault:
        return JournalFault(f"what was done cannot be noted in {self._where}: {error}")


def state_folder() -> Path:
    """Where the command line remembers things (XDG_STATE_HOME)."""
    return platformdirs.user_state_path("parascribe")


def _text(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
