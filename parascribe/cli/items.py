"""Files on their way to transcripts, one by one: what is given, how it fares, where its transcript goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from core.jobs.job import TERMINAL
from core.transcript.formats import FileFormat
from parascribe.cli.journal import FileRequest, Journal
from parascribe.client.bodies import Job, Look
from parascribe.client.client import Client
from parascribe.client.errors import ApiError
from parascribe.screen.outputs import Fetch, Outputs
from parascribe.screen.render import outcome, printable


@dataclass(kw_only=True, eq=False)
class Item:
    """One file and how it fared. status: that of the job, `refused` when it never became one, `skipped` when it was not to."""

    file: Path
    #: the service is to fetch it from there; `file` only stands for it
    url: str | None = None
    status: str = "waiting"
    job: Job | None = None
    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    #: what was in the way: an ApiError where the service refused it; where `error` is None, nothing to do with this file
    failure: Exception | None = None
    #: what was in the way is no fault of the file and may pass
    passes: bool = False
    partial: bool = False
    written: list[Path] = field(default_factory=list)
    #: files that lie where its transcripts belong, and were not written by us
    others: list[Path] = field(default_factory=list)
    #: None for what is remembered nowhere, such as stdin
    request: FileRequest | None = None

    @property
    def name(self) -> str:
        """What the file is called on the screen: as it was given, if that can be printed."""
        return printable(self.where)

    @property
    def where(self) -> Path | str:
        """The file, or its address; the query of that may be a secret."""
        return self.url.partition("?")[0] if self.url else self.file

    @property
    def missed(self) -> bool:
        """There is no transcript, or one with gaps: the exit code tells of it."""
        return self.error is not None or self.partial

    @property
    def running(self) -> bool:
        """It has a job that has not ended, as far as we know."""
        return self.job is not None and self.status not in TERMINAL

    def refuse(self, code: str, message: str, status: str = "refused", *, passes: bool = False) -> None:
        """It comes to nothing."""
        self.status, self.error, self.passes = status, {"code": code, "message": message}, passes

    def to_dict(self) -> dict[str, Any]:
        """The shape of `transcribe --json`."""
        return {
            "file": str(self.where),
            "status": self.status,
            "partial": self.partial,
            "error": self.error,
            "outputs": [str(path) for path in self.written],
            "job": self.job,
            "result": self.result,
        }


Deliver = Callable[[Item, Fetch], None]
"""Puts one finished file's transcript where it belongs and notes it in the item."""


def deliver_to(outputs: Outputs, journal: Journal | None = None) -> Deliver:
    """Write as planned; a file that cannot be written fails its item, not the others."""

    def deliver(item: Item, fetch: Fetch) -> None:
        try:
            item.written = outputs.deliver(item.file, fetch, item.name)
            if journal and item.request:
                for path in item.written:
                    journal.wrote(path, item.request)
        except BrokenPipeError:
            raise
        except OSError as error:
            item.refuse("output", f"cannot write the transcript: {error}", "failed", passes=True)

    return deliver


def still_to_write(outputs: Outputs, items: Sequence[Item], journal: Journal, *, force: bool = False) -> Outputs:
    """Leaves out what is done, and what is there and not ours; items of which nothing is left are `skipped`. Raises JournalFault.

    force: nothing is left out
    """
    assert outputs.targets is not None
    left: dict[Path, tuple[tuple[FileFormat, Path], ...]] = {}
    for item in items:
        pairs = []
        for kind, path in outputs.targets[item.file]:
            if force or not os.path.lexists(path):
                pairs.append((kind, path))
                continue
            made_from = journal.made_from(path)
            if made_from is None:
                item.others.append(path)
            elif item.request is None or made_from != item.request.made_from:
                pairs.append((kind, path))
        left[item.file] = tuple(pairs)
        if not pairs:
            item.status = "skipped"
    return replace(outputs, targets=left)


def keep(item: Item, fetch: Fetch) -> None:
    """Keep the JSON transcript in the item (`--json` without files)."""
    item.result = fetch("json")


def from_service(client: Client, job_id: str, look: Look | None = None, revision: int | str = "latest") -> Fetch:
    """Fetches a finished job's transcript in any format."""
    return lambda kind: client.result(job_id, cast(Any, kind), revision=revision, **(look or Look()))


def words_for(item: Item, job: dict[str, Any]) -> str:
    """How a file fared, in one line."""
    if item.error:
        said = isinstance(item.failure, ApiError)  # its words end with the code
        return f"{item.status}: {item.error['message']}" + ("" if said else f" ({item.error['code']})")
    return outcome(job) + "".join(f"; wrote {printable(path)}" for path in item.written)


def file_of(url: str) -> Path:
    """What a file at an address is called: by the last part of its path, else by its host."""
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path).replace("\0", "")).name
    return Path(name if name not in ("", "..") else parts.hostname or "download")
