"""Folders whose media files are transcribed as they appear. What `parascribe watch` does.

The folders are looked through every so often, which works over networks too. A file is taken when it was the same in two looks, one
after the other. What became of it is in the journal, by path, size and time of change: a file that has changed is another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import httpx

from core.transcript.formats import FileFormat
from parascribe.cli.folders import files_in
from parascribe.cli.items import Item, deliver_to, still_to_write, words_for
from parascribe.cli.journal import FileRequest, Journal, stamp_of, state_folder
from parascribe.cli.pipeline import Pipeline, passes
from parascribe.client.bodies import Look, Params
from parascribe.client.errors import ApiError, ServiceUnreachable
from parascribe.screen.outputs import OutputError, Outputs
from parascribe.screen.progress import Reporter
from parascribe.screen.render import printable

PAUSE_SECONDS = 60.0

FILE_FAULTS = frozenset({"empty_upload", "not_media", "too_large"})
"""What a file is refused for because of itself."""


class Occupied(Exception):
    """Another command watches this folder."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be watched, and what is wanted of it. output: folder for the transcripts, ends in `/`; None = beside the files"""

    folder: Path
    recursive: bool
    formats: tuple[FileFormat, ...]
    output: str | None
    params: Params
    look: Look
    service: str


@dataclass(kw_only=True)
class Tally:
    """How many came to what. put_off: for a reason that may pass"""

    done: int = 0
    partial: int = 0
    failed: int = 0
    put_off: int = 0


class Watch:
    """Looks, takes, delivers."""

    def __init__(
        self, asked: Asked, journal: Journal, pipeline: Pipeline, report: Reporter, *, pause: float = PAUSE_SECONDS
    ) -> None:
        """pause: seconds until something is tried again that was in the way of a file and is no fault of it"""
        self._pause = pause
        self._asked, self._journal, self._pipeline, self._report = asked, journal, pipeline, report
        self.tally = Tally()
        self._seen: dict[Path, str] = {}
        #: the version of each file that was seen to, one way or the other
        self._taken: dict[Path, str] = {}
        self._under_way: dict[Path, Outputs] = {}
        #: when what was put off is looked at again
        self._again: dict[Path, float] = {}
        self._said: set[str] = set()

    def run(self, interval: float) -> None:
        """Look every `interval` seconds, for ever. Raises as `once`, but bears that the service or the folder is away."""
        while True:
            try:
                self._look()
            except OSError as error:
                self._warn(str(error))
            end = time.monotonic() + interval
            while (left := end - time.monotonic()) > 0:
                item = self._pipeline.ended(left)
                try:
                    if item:
                        self._settle(item)
                except ServiceUnreachable as error:
                    assert item
                    self._warn(str(error))
                    self._put_off(item, "")

    def once(self, interval: float) -> None:
        """Two looks, `interval` seconds apart, then until what was taken has ended.

        Raises OSError for a folder that cannot be read, ServiceUnreachable, JournalFault, ApiError for what is wrong with all
        files, such as an option or a key.
        """
        self._look()
        time.sleep(interval)
        self._look()
        while self._under_way:
            if item := self._pipeline.ended():
                self._settle(item)

    def _look(self) -> None:
        """See what is there, and take what has stood still since the look before."""
        now: dict[Path, str] = {}

        def unreadable(error: OSError) -> None:
            if error.filename == str(self._asked.folder):
                raise error
            self._warn(str(error))

        for file, found in files_in(self._asked.folder, recursive=self._asked.recursive, on_error=unreadable):
            now[file] = stamp_of(found)
        still = [file for file, stamp in now.items() if self._seen.get(file) == stamp and self._wants(file, stamp)]
        self._seen = now
        self._taken = {file: stamp for file, stamp in self._taken.items() if file in now}
        self._again = {file: when for file, when in self._again.items() if file in now}
        if not still:
            return
        places = {file.parent for file in still}
        try:
            outputs = Outputs.plan(
                [file for file in now if file.parent in places],  # names depend on the neighbours
                self._asked.formats,
                self._asked.output,
                stdout=False,
                check=False,
                below={file: file.relative_to(self._asked.folder).parent for file in now},
            )
        except OutputError as error:  # what was a folder is none any more
            raise OSError(str(error)) from error
        for file in still:
            self._taken[file] = now[file]
            self._take(file, outputs)

    def _wants(self, file: Path, stamp: str) -> bool:
        waits = self._again.get(file, 0.0) > time.monotonic()
        return self._taken.get(file) != stamp and file not in self._under_way and not waits

    def _take(self, file: Path, outputs: Outputs) -> None:
        asked = self._asked
        try:
            request = FileRequest.of(file, asked.params, asked.look, service=asked.service, kept=True)
        except OSError:  # gone in this moment
            return
        entry = self._journal.known(request)
        if entry and (entry.gave_up or entry.done.issuperset(asked.formats)):
            return
        item = Item(file=file, request=request)
        left = still_to_write(outputs, [item], self._journal)
        if item.others:
            names = ", ".join(printable(Path(path.name)) for path in item.others)
            self._report.note(f"{item.name}: {names} was not written by us, and stays")
        if item.status != "skipped":
            self._under_way[file] = left
            self._pipeline.add(item)

    def _settle(self, item: Item) -> None:
        assert item.request
        if item.failure and not item.error:
            if isinstance(item.failure, ApiError) and passes(item.failure):
                self._put_off(item, item.failure.explain())
                return
            raise item.failure
        outputs = self._under_way[item.file]
        self._pipeline.deliver(item, deliver_to(outputs, self._journal), self._asked.look)
        if item.error is None:
            del self._under_way[item.file]
            self._journal.done(item.request, self._asked.formats)
            self.tally.done += 1
            self.tally.partial += item.partial
            self._said.clear()  # what comes after this is news
            self._pipeline.say(item)
        elif item.passes:
            gone = item.status == "refused" and not item.file.exists()
            self._put_off(item, "" if gone else words_for(item, {}))
        elif isinstance(item.failure, ApiError) and not _blames(item.failure):
            raise item.failure
        else:
            self._give_up(item)

    def _give_up(self, item: Item) -> None:
        assert item.request
        assert item.error
        del self._under_way[item.file]
        self._journal.failed(item.request, item.error["code"])
        self.tally.failed += 1
        self._pipeline.say(item)

    def _put_off(self, item: Item, words: str) -> None:
        del self._under_way[item.file]
        self._taken.pop(item.file, None)
        self._again[item.file] = time.monotonic() + self._pause
        self.tally.put_off += 1
        if words and self._is_news(f"{item.name}: {words}"):
            self._report.end(item.name, words, failed=True)
        else:
            self._report.end(item.name, "")

    def _warn(self, words: str) -> None:
        if self._is_news(words):
            self._report.end(printable(self._asked.folder), words, failed=True)

    def _is_news(self, words: str) -> bool:
        """Each is told once, until something has gone well again."""
        news = words not in self._said
        self._said.add(words)
        return news


def _blames(refusal: ApiError) -> bool:
    """It is about this file, and not about all of them."""
    return refusal.code in FILE_FAULTS or refusal.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else of this user watches this folder. Raises Occupied."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    place = state_folder()
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(place / f"watch-{name}.lock", blocking=False))
        except filelock.Timeout:
            raise Occupied from None
        yield
